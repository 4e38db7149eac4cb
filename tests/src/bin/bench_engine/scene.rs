//! What is asked of a side, and what comes of it: each scene is one measurement.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::plan::Plan;
use crate::side::{Answer, Ask, Server};

/// Makes requests that are the same for every side of a round.
pub struct Writer<'a> {
    plan: &'a Plan,
    generator: SmallRng,
}

impl<'a> Writer<'a> {
    /// Of a scene in a round, both by number.
    pub fn new(plan: &'a Plan, round: usize, scene: u64) -> Self {
        Self { plan, generator: SmallRng::seed_from_u64(1_000 * round as u64 + scene) }
    }

    /// Random tokens that stand for text.
    pub fn tokens(&mut self, count: usize) -> Vec<u32> {
        // Behind the single bytes, before the control tokens.
        let ids = 256..self.plan.vocabulary - 3;
        (0..count).map(|_| self.generator.random_range(ids.clone())).collect()
    }

    fn ask(&self, prompt: Vec<u32>, output: u32, salt: Option<String>) -> Ask {
        Ask { prompt, output, end: self.plan.vocabulary - 1, salt }
    }

    /// A request that has nothing in common with others.
    fn alone(&mut self) -> Ask {
        let prompt = self.tokens(self.plan.prompt);
        self.ask(prompt, self.plan.output, None)
    }

    /// When requests come that know nothing of each other. *Units*: seconds from the beginning.
    fn arrivals(&mut self, count: usize, per_second: f64) -> Vec<f64> {
        let mut at = 0.0;
        let mut next = || {
            let share: f64 = self.generator.random_range(f64::EPSILON..1.0);
            at -= share.ln() / per_second;
            at
        };
        (0..count).map(|_| next()).collect()
    }
}

/// Tokens a second, with so many callers of whom each asks again as soon as it is answered.
pub async fn plain(server: &Server, writer: &mut Writer<'_>, callers: usize, each: usize) -> anyhow::Result<f64> {
    let asks: Vec<Vec<Ask>> = (0..callers).map(|_| (0..each).map(|_| writer.alone()).collect()).collect();
    let began = Instant::now();
    let callers = asks.iter().map(|asks| async move {
        for ask in asks {
            server.ask(ask, || ()).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(callers).await?;
    let tokens: u32 = asks.iter().flatten().map(|ask| ask.output).sum();
    Ok(f64::from(tokens) / began.elapsed().as_secs_f64())
}

/// A burst of requests that begin alike and were never seen: until the last answer, and the first token's mean. *Units*: ms.
pub async fn burst(server: &Server, writer: &mut Writer<'_>, requests: usize) -> anyhow::Result<(f64, f64)> {
    let shared = writer.tokens(writer.plan.shared);
    let salt = format!("burst {:?}", &shared[..4]);
    let asks: Vec<Ask> = (0..requests)
        .map(|_| {
            let own = writer.tokens(writer.plan.prompt / 2);
            writer.ask([shared.clone(), own].concat(), writer.plan.output, Some(salt.clone()))
        })
        .collect();
    let began = Instant::now();
    let answers = try_join_all(asks.iter().map(|ask| server.ask(ask, || ()))).await?;
    let first: f64 = answers.iter().map(|answer| milliseconds(answer.first_token())).sum();
    Ok((milliseconds(began.elapsed()), first / requests as f64))
}

/// Conversations that outnumber the slots, each going on as soon as it is answered, until all have ended. *Units*: ms.
pub async fn sessions(server: &Server, writer: &mut Writer<'_>) -> anyhow::Result<f64> {
    let plan = writer.plan;
    let scripts: Vec<Vec<Vec<u32>>> = (0..plan.sessions)
        .map(|_| {
            let lengths = std::iter::once(plan.session_prompt).chain((1..plan.turns).map(|_| plan.prompt / 2));
            lengths.map(|length| writer.tokens(length)).collect()
        })
        .collect();
    let writer = &*writer;
    let began = Instant::now();
    let sessions = scripts.iter().enumerate().map(|(number, script)| async move {
        let mut so_far = Vec::new();
        let salt = Some(format!("session {number} {:?}", &script[0][..4]));
        for said in script {
            so_far.extend(said);
            let answer = server.ask(&writer.ask(so_far.clone(), plan.output / 2, salt.clone()), || ()).await?;
            so_far.extend(answer.ids);
        }
        anyhow::Ok(())
    });
    try_join_all(sessions).await?;
    Ok(milliseconds(began.elapsed()))
}

/// The longest that a running stream waits for its next token while a long prompt joins. *Units*: ms.
pub async fn gap(server: &Server, writer: &mut Writer<'_>) -> anyhow::Result<f64> {
    let plan = writer.plan;
    // Longer than the joining takes.
    let output = (plan.context - plan.prompt).min(256) as u32;
    let streams: Vec<Ask> = (0..plan.streams)
        .map(|_| {
            let prompt = writer.tokens(plan.prompt);
            writer.ask(prompt, output, None)
        })
        .collect();
    let prompt = writer.tokens(plan.joining);
    let joining = writer.ask(prompt, 4, None);
    let (flowing, all_flow) = (Cell::new(0), Notify::new());
    let run = streams.iter().map(|ask| {
        let (flowing, all_flow) = (&flowing, &all_flow);
        async move {
            let mut heard = 0;
            let answer = server.ask(ask, || {
                heard += 1;
                if heard == 4 {
                    flowing.set(flowing.get() + 1);
                    if flowing.get() == plan.streams {
                        all_flow.notify_one();
                    }
                }
            });
            answer.await
        }
    });
    let join = async {
        all_flow.notified().await;
        server.ask(&joining, || ()).await
    };
    let (ran, joined) = tokio::try_join!(try_join_all(run), join)?;
    let (from, to) = (joined.asked, joined.asked + joined.first_token());
    let gaps = ran.iter().flat_map(|answer| answer.came.windows(2));
    let meanwhile = gaps.filter(|pair| pair[1] >= from && pair[0] <= to).map(|pair| pair[1] - pair[0]);
    Ok(milliseconds(meanwhile.max().unwrap_or_default()))
}

/// Requests that come by chance, so many a second on average, whether or not others are done.
pub async fn arriving(
    server: &Server,
    writer: &mut Writer<'_>,
    requests: usize,
    per_second: f64,
) -> anyhow::Result<Vec<Answer>> {
    let arrivals = writer.arrivals(requests, per_second);
    let asks: Vec<(f64, Ask)> = arrivals.into_iter().map(|at| (at, writer.alone())).collect();
    let began = tokio::time::Instant::now();
    let each = asks.iter().map(|(at, ask)| async move {
        sleep_until(began + Duration::from_secs_f64(*at)).await;
        server.ask(ask, || ()).await
    });
    try_join_all(each).await
}

/// *Units*: milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
