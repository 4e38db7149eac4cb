//! A drill: real processes, a bad network, nodes that die, hang, lie and are cut off, and an oracle that counts tokens and money.
//!
//! Some jobs with every test run; `TOKENGRID_DRILL_JOBS=1000 cargo xtask test -- -E 'test(drill)'` is the drill. What it saw is printed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sqlx::PgConnection;
use tests::bad_link::{BadLink, Faults};
use tests::books::{self, JobRow};
use tests::client::{Chat, Client, ask_at_length, streamed};
use tests::node::NodeSettings;
use tests::system::TestSystem;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Jobs of an ordinary test run.
const JOBS: usize = 48;
/// Clients at once.
const CLIENTS: usize = 16;
/// The most tokens that a client asks for.
const TOKENS_MAX: u32 = 48;
/// One client in so many hangs up in the middle.
const HANGS_UP_EVERY: usize = 12;
/// How long a client waits for the next part of an answer: longer than any wait of the broker's.
const PATIENCE: Duration = Duration::from_secs(120);

/// Far more often than in life.
const FAULTS: Faults = Faults { cut: 0.0005, lose: 0.0005, late: 0.002, double: 0.02, garble: 0.0005, lie: 0.0 };
/// A node that lies besides.
const LYING: Faults = Faults { lie: 0.01, ..FAULTS };

#[tokio::test]
async fn no_token_is_lost_doubled_or_billed_wrongly_over_a_bad_network_between_nodes_that_die() {
    let jobs = jobs_wanted();
    let slow = NodeSettings::default().tokens_per_second_max(40).slots(8);
    let mut system = TestSystem::builder()
        .node(slow.clone())
        .setting("TOKENGRID_REQUESTS_PER_MINUTE_MAX", 1_000_000)
        .setting("TOKENGRID_TOKENS_PER_MINUTE_MAX", 1_000_000_000)
        .start()
        .await;
    let truth = Truth::find(&system).await;
    let mut links = vec![];
    for (seed, faults) in (1..).zip([FAULTS, FAULTS, LYING]) {
        let link = BadLink::open(system.control_plane.address, faults, seed).await;
        system.add_node_by_way_of(link.address, &slow).await;
        links.push(link);
    }
    let (client, mischief) = (system.client(), Cell::new(0));
    let seen = tokio::select! {
        seen = ask_all(&client, &truth, jobs) => seen,
        () = make_mischief(&mut system, &links, &mischief) => unreachable!("mischief does not end by itself"),
    };
    system.nodes.iter().for_each(|node| node.program.resume());
    links.iter().for_each(BadLink::heal);
    system.settled().await;

    let mut database = system.database().await;
    for answer in &seen {
        answer.check(&books::job(&mut database, &answer.id).await, &truth);
    }
    tell(&seen, &links, &mut database).await;
    println!("nodes killed, stopped or cut off: {}", mischief.get());
    let recorded = books::jobs(&mut database).await.len();
    assert_eq!(recorded, seen.len() + 1, "one job for each request, and the undisturbed one");
    let whole = seen.iter().filter(|answer| answer.end == End::Whole).count();
    assert!(whole * 10 >= jobs * 8, "{whole} of {jobs} ended well");
    system.end().await;
}

/// The one true output, and how long its first n tokens are as text.
struct Truth {
    text: String,
    lengths: Vec<usize>,
}

impl Truth {
    /// Asks once, before anything goes wrong.
    async fn find(system: &TestSystem) -> Self {
        let question = ask_at_length().max_tokens(TOKENS_MAX).with("logprobs", true);
        let whole = system.client().patient_stream(&streamed(&question), PATIENCE).await.expect("a node is there");
        let whole = whole.rest().await;
        assert!(whole.done && whole.error.is_none(), "{whole:?}");
        let lengths = whole.logprobs.iter().scan(0, |length, told| {
            *length += told["token"].as_str().expect("a token has a text").len();
            Some(*length)
        });
        let lengths: Vec<usize> = std::iter::once(0).chain(lengths).collect();
        assert_eq!((lengths.len(), lengths.last()), (TOKENS_MAX as usize + 1, Some(&whole.text.len())));
        Self { text: whole.text, lengths }
    }

    /// The text of the first so many tokens.
    fn of(&self, tokens: i64) -> &str {
        &self.text[..self.lengths[usize::try_from(tokens).expect("no fewer than none")]]
    }
}

/// How a client's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Whole,
    Failed,
    HungUp,
}

/// What a client was told.
#[derive(Debug)]
struct Seen {
    id: String,
    asked: u32,
    text: String,
    end: End,
    completion_tokens: Option<i64>,
}

/// Asks for so many outputs, some at a time.
async fn ask_all(client: &Client, truth: &Truth, jobs: usize) -> Vec<Seen> {
    let (mut asking, mut seen) = (JoinSet::new(), vec![]);
    let mut random = ChaCha20Rng::seed_from_u64(7);
    for number in 0..jobs {
        if asking.len() == CLIENTS {
            seen.extend(asking.join_next().await.map(|answer| answer.expect("no client panics")));
        }
        let (client, asked) = (client.clone(), random.random_range(2..=TOKENS_MAX));
        let hangs_up_after = number.is_multiple_of(HANGS_UP_EVERY).then(|| truth.of(i64::from(asked) / 2).len());
        asking.spawn(async move { listen(&client, asked, hangs_up_after).await });
    }
    while let Some(answer) = asking.join_next().await {
        seen.push(answer.expect("no client panics"));
    }
    seen
}

/// One client: asks, and reads to the end or until it has so much text.
async fn listen(client: &Client, asked: u32, hangs_up_after: Option<usize>) -> Seen {
    let question: Chat = streamed(&ask_at_length().max_tokens(asked));
    let mut stream = match client.patient_stream(&question, PATIENCE).await {
        Ok(stream) => stream,
        Err(refused) => panic!("a request was refused: {} {}", refused.status, refused.body),
    };
    if let Some(characters) = hangs_up_after {
        let id = stream.headers["x-request-id"].to_str().expect("an id is text").to_owned();
        let mut text = String::new();
        while text.len() < characters
            && let Ok(Some(event)) = stream.next().await
        {
            text.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
        return Seen { id, asked, text, end: End::HungUp, completion_tokens: None };
    }
    let rest = stream.rest().await;
    assert!(rest.done && !rest.broke, "the control plane does not break: {rest:?}");
    let end = if rest.error.is_none() { End::Whole } else { End::Failed };
    let completion_tokens = rest.usage.and_then(|usage| usage["completion_tokens"].as_i64());
    Seen { id: rest.id, asked, text: rest.text, end, completion_tokens }
}

impl Seen {
    /// Panics unless the job's record says what the client saw.
    fn check(&self, job: &JobRow, truth: &Truth) {
        let billed = job.output_tokens.unwrap_or(0);
        match self.end {
            End::Whole => {
                assert_eq!(self.text, truth.of(self.asked.into()), "{self:?} {job:?}");
                assert_eq!(self.completion_tokens, Some(self.asked.into()), "{self:?} {job:?}");
                assert_eq!((job.status.as_str(), billed), ("done", self.asked.into()), "{self:?}");
            }
            End::Failed => {
                assert_eq!((job.status.as_str(), &*self.text), ("failed", truth.of(billed)), "{self:?} {job:?}");
            }
            // What came after it had gone is billed as well, and never more than it asked for.
            End::HungUp => {
                assert!(
                    truth.text.starts_with(&self.text) && self.text.len() <= truth.of(billed).len(),
                    "{self:?} {job:?}"
                );
                assert!(billed <= self.asked.into(), "{self:?} {job:?}");
            }
        }
    }
}

/// One node after the other, of those behind a bad link, dies and comes back, hangs, or is cut off: for shorter and for longer than it takes to be missed.
async fn make_mischief(system: &mut TestSystem, links: &[BadLink], done: &Cell<usize>) {
    for round in 0.. {
        let place = round % links.len();
        let (node, link) = (&mut system.nodes[1 + place], &links[place]);
        // Three seconds lose the job, six the node.
        let lasts = Duration::from_secs([1, 4, 7][round / links.len() % 3]);
        sleep(Duration::from_secs(1)).await;
        done.set(round + 1);
        match round % 4 {
            0 | 2 => {
                node.program.kill().await;
                node.restart().await;
            }
            1 => {
                node.program.pause();
                sleep(lasts).await;
                node.program.resume();
            }
            _ => {
                link.part();
                sleep(lasts).await;
                link.heal();
            }
        }
    }
}

/// Prints what happened, and what came of it.
async fn tell(seen: &[Seen], links: &[BadLink], database: &mut PgConnection) {
    let mut faults = BTreeMap::<&str, u64>::new();
    for (what, count) in links.iter().flat_map(BadLink::count) {
        *faults.entry(what).or_default() += count;
    }
    let mut ends = BTreeMap::<End, usize>::new();
    seen.iter().for_each(|answer| *ends.entry(answer.end).or_default() += 1);
    let outcomes: Vec<(String, i64)> =
        sqlx::query_as("SELECT outcome, count(*) FROM broker.leases GROUP BY outcome ORDER BY outcome")
            .fetch_all(&mut *database)
            .await
            .expect("leases can be counted");
    let mismatched = "SELECT count(*) FROM broker.receipts WHERE mismatch IS NOT NULL";
    let resumed = "SELECT count(*) FROM (SELECT FROM broker.leases GROUP BY job_id HAVING count(*) > 1) AS moved";
    let codes: Vec<(String, i64)> =
        sqlx::query_as("SELECT error_code, count(*) FROM broker.jobs WHERE error_code IS NOT NULL GROUP BY error_code")
            .fetch_all(&mut *database)
            .await
            .expect("jobs can be counted");
    println!("jobs: {} {ends:?} {codes:?}", seen.len());
    println!("faults of messages: {faults:?}");
    println!("leases: {outcomes:?}");
    println!("jobs of several leases: {}", books::number(database, resumed).await);
    println!("receipts that differ: {}", books::number(database, mismatched).await);
}

#[expect(clippy::disallowed_methods, reason = "cargo's test programs have no command line of their own")]
fn jobs_wanted() -> usize {
    std::env::var("TOKENGRID_DRILL_JOBS").map_or(JOBS, |jobs| jobs.parse().expect("TOKENGRID_DRILL_JOBS is a number"))
}
