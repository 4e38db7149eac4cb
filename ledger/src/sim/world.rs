//! The simulated world: who asks, which writers live, what fails, step by step.

use std::cell::RefCell;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::Outcome;
use super::database::{Database, Refusal, Tables};
use super::mail::Mail;
use super::oracle::Oracle;
use super::workload::{Wish, Workload, below};
use crate::block::{Block, BlockRef};
use crate::core::Needs;
use crate::error::Error;
use crate::hold::HoldPart;
use crate::replica::letter::Kept;
use crate::writer::pipeline::{Caller, Command, Pipeline};

/// How many requests one writer hears of at once.
const TOGETHER_MAX: u64 = 4;
/// How long things may take to come to rest. *Units*: rounds.
const REST_MAX: usize = 100_000;

/// Who waits for what becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    /// Who asked this process, by the number of the asking.
    Here(usize),
    /// Who asked another one: a place in a letter that arrived.
    There { letter: usize, place: usize },
}

/// Answers as they come.
type Answers = Rc<RefCell<Vec<(Whom, Result<Kept, Error>)>>>;

struct Ask {
    whom: Whom,
    parts: Vec<HoldPart>,
    answers: Answers,
}

impl Caller for Ask {
    fn decided(&mut self, parts: Vec<HoldPart>) {
        self.parts = parts;
    }

    fn durable(self, block: BlockRef) {
        self.answers.borrow_mut().push((self.whom, Ok(Kept { block, parts: self.parts })));
    }

    fn refused(self, error: Error) {
        self.answers.borrow_mut().push((self.whom, Err(error)));
    }
}

/// A writer with what it has under way.
struct Writer {
    epoch: i64,
    /// The replica whose it is.
    replica: usize,
    pipeline: Pipeline<Ask>,
    posting: Option<Block>,
    flushing: bool,
}

/// Everything there is.
pub(super) struct World {
    random: ChaCha20Rng,
    now: DateTime<Utc>,
    database: Database,
    workload: Workload,
    writers: Vec<Writer>,
    /// What lies between the replicas.
    pub(super) mail: Mail,
    /// The replica whose writer took the shard last.
    pub(super) owner: usize,
    /// Every asking, with its answer's arrival.
    pub(super) asked: Vec<(Wish, bool)>,
    answers: Answers,
    oracle: Oracle,
    pub(super) outcome: Outcome,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            random: ChaCha20Rng::seed_from_u64(seed),
            now: "2026-10-28T12:00:00Z".parse().expect("it is an instant"),
            database: Database::default(),
            workload: Workload::new(),
            writers: Vec::new(),
            mail: Mail::default(),
            owner: 0,
            asked: Vec::new(),
            answers: Answers::default(),
            oracle: Oracle::default(),
            outcome: Outcome::default(),
        };
        world.take_over();
        world
    }

    /// Lets one thing happen, and checks what was promised.
    pub fn step(&mut self) {
        match self.below(100) {
            0..30 => self.ask_new(),
            30..38 => self.ask_again(),
            38..76 => self.work(),
            76..86 => self.carry(),
            86..91 => self.fail(),
            91..92 => self.crash(),
            92..93 => self.kill(),
            93..95 => self.take_over(),
            95..97 => self.sweep(),
            _ => self.now += TimeDelta::seconds(below(&mut self.random, 100_000) as i64),
        }
        self.hear();
    }

    /// Ends all faults, waits until nothing is under way, asks again what was never answered, and checks the books.
    pub fn rest(mut self) -> Outcome {
        if self.writers.last().is_none_or(|writer| writer.epoch != self.database.epoch) {
            self.take_over();
        }
        self.settle();
        for number in 0..self.asked.len() {
            let (wish, answered) = self.asked[number].clone();
            if !answered {
                let last = self.writers.len() - 1;
                self.ask(last, &[(Whom::Here(number), wish)]);
            }
        }
        self.settle();
        let silent: Vec<&Wish> = self.asked.iter().filter(|(_, answered)| !answered).map(|(wish, _)| wish).collect();
        assert!(silent.is_empty(), "requests that were never answered: {silent:?}");
        self.oracle.close(&self.database);
        let head = self.database.head();
        self.outcome.blocks = head.height;
        self.outcome.head = head.hash_hex();
        self.outcome.transfers = self.database.blocks().iter().map(|block| block.rows.transfers.len() as u64).sum();
        self.outcome
    }

    fn settle(&mut self) {
        for _ in 0..REST_MAX {
            self.hear();
            let busy = |writer: &Writer| !writer.pipeline.idle() || writer.posting.is_some() || writer.flushing;
            match self.writers.iter().position(busy) {
                Some(at) => self.progress(at),
                None if self.arrive() => {}
                None => return,
            }
        }
        panic!("it never comes to rest");
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        below(&mut self.random, limit)
    }

    /// A writer to ask: the last one as a rule, any that lives now and then.
    fn somebody(&mut self) -> Option<usize> {
        let count = self.writers.len() as u64;
        if count == 0 {
            return None;
        }
        let any = self.below(count) as usize;
        Some(if self.below(10) == 0 { any } else { count as usize - 1 })
    }

    fn ask_new(&mut self) {
        let Some(writer) = self.somebody() else { return };
        let first = self.asked.len();
        for _ in 0..1 + self.below(TOGETHER_MAX) {
            let wish = self.workload.wish(&mut self.random, self.now);
            self.asked.push((wish, false));
        }
        self.ask_any(writer, (first..self.asked.len()).collect());
    }

    /// Asks that writer, or any replica, wherever the writer is.
    fn ask_any(&mut self, writer: usize, numbers: Vec<usize>) {
        if self.below(2) == 0 {
            let replica = self.below(Mail::REPLICAS) as usize;
            return self.ask_replica(replica, numbers);
        }
        let wishes: Vec<_> =
            numbers.into_iter().map(|number| (Whom::Here(number), self.asked[number].0.clone())).collect();
        self.ask(writer, &wishes);
    }

    /// An old request arrives late or again, word for word or with another body.
    fn ask_again(&mut self) {
        let Some(writer) = self.somebody() else { return };
        if self.asked.is_empty() {
            return;
        }
        let old = self.below(self.asked.len() as u64) as usize;
        let wish = self.asked[old].0.clone();
        let wish = if self.below(4) == 0 { wish.altered() } else { wish };
        self.asked.push((wish, false));
        self.ask_any(writer, vec![self.asked.len() - 1]);
    }

    /// The writer of a replica, whatever it believes of its shard.
    pub(super) fn writer_of(&self, replica: usize) -> Option<usize> {
        self.writers.iter().rposition(|writer| writer.replica == replica)
    }

    /// Asks a writer; false when it finds that its shard was taken, and ends.
    pub(super) fn ask(&mut self, writer: usize, wishes: &[(Whom, Wish)]) -> bool {
        for (whom, wish) in wishes {
            self.outcome.asked += 1;
            let caller = Ask { whom: *whom, parts: Vec::new(), answers: self.answers.clone() };
            let command = Command { request: wish.request(), caller };
            if self.writers[writer].pipeline.room() == 0 {
                // The queue holds it back; whoever asked will ask again.
                continue;
            }
            // What a writer believes is the truth as long as nobody has taken its shard.
            let view = if self.writers[writer].epoch == self.database.epoch { self.view(writer) } else { None };
            let before = self.answers.borrow().len();
            if !self.take(writer, vec![command], false) {
                return false;
            }
            if let Some(view) = view {
                let refused = self.answers.borrow().get(before).and_then(|(_, answer)| match answer {
                    Err(Error::InsufficientFunds { available, .. }) => Some(*available),
                    Err(_) | Ok(_) => None,
                });
                self.oracle.judge(&view, wish, refused, self.now);
            }
        }
        true
    }

    /// What the rows will make once all that a writer has decided is posted.
    fn view(&self, writer: usize) -> Option<Tables> {
        let Writer { pipeline, posting, .. } = &self.writers[writer];
        let drafted = pipeline.core().drafted(self.now);
        let blocks: Vec<Block> = posting.iter().cloned().chain(drafted).collect();
        self.database.tables().with(&blocks)
    }

    /// False when the writer finds that its shard was taken, and ends.
    fn take(&mut self, at: usize, commands: Vec<Command<Ask>>, forgetful: bool) -> bool {
        let writer = &mut self.writers[at];
        let needs = writer.pipeline.needs(&commands, forgetful);
        if needs != Needs::default() {
            if writer.epoch != self.database.epoch {
                self.writers.remove(at);
                return false;
            }
            let knowledge = self.database.knowledge(&needs);
            writer.pipeline.learn(needs, knowledge);
        }
        writer.pipeline.take(commands, self.now);
        true
    }

    fn work(&mut self) {
        if !self.writers.is_empty() {
            let writer = self.below(self.writers.len() as u64) as usize;
            self.progress(writer);
        }
    }

    /// Lets one writer do one of the things that it could do.
    fn progress(&mut self, at: usize) {
        let flushes_first = self.below(2) == 0;
        let writer = &mut self.writers[at];
        if writer.pipeline.begin_flush() {
            writer.flushing = true;
        } else if writer.flushing && (flushes_first || writer.posting.is_none()) {
            self.database.flush();
            writer.flushing = false;
            writer.pipeline.flushed();
        } else if let Some(block) = writer.posting.take() {
            match self.database.post(&block) {
                Ok(()) => writer.pipeline.posted(),
                Err(Refusal::Deposed) => drop(self.writers.remove(at)),
                Err(Refusal::Broken(reason)) => self.resolve(at, Some(reason)),
            }
        } else {
            self.depart(at);
        }
    }

    fn depart(&mut self, at: usize) {
        let mut alone = false;
        while let Some(command) = self.writers[at].pipeline.next_alone() {
            if !self.take(at, vec![command], true) {
                return;
            }
            alone = true;
        }
        let writer = &mut self.writers[at];
        writer.posting = writer.pipeline.depart(self.now, alone);
    }

    /// A connection breaks: the post or flush under way may have taken effect or not.
    fn fail(&mut self) {
        if self.writers.is_empty() {
            return;
        }
        let at = self.below(self.writers.len() as u64) as usize;
        let took_effect = self.below(2) == 0;
        let writer = &mut self.writers[at];
        if writer.posting.is_none() && !writer.flushing {
            return;
        }
        self.outcome.faults += 1;
        if let Some(block) = writer.posting.take()
            && took_effect
            && self.database.post(&block) == Err(Refusal::Deposed)
        {
            self.writers.remove(at);
            return;
        }
        self.resolve(at, None);
    }

    /// A writer lost track: it loads the truth, unless somebody took its shard.
    fn resolve(&mut self, at: usize, refused: Option<&'static str>) {
        let writer = &mut self.writers[at];
        (writer.posting, writer.flushing) = (None, false);
        if writer.epoch != self.database.epoch {
            self.writers.remove(at);
            return;
        }
        let core = self.database.load(writer.epoch);
        let refused = refused.map(|reason| Error::Database(sqlx::Error::Protocol(reason.into())));
        let again = writer.pipeline.resolve(core, self.database.head(), refused);
        let kept = self.take(at, again, true);
        assert!(kept, "it has just seen that the shard is its own");
    }

    /// The database loses power: what was not flushed is gone, and every connection with it.
    fn crash(&mut self) {
        self.outcome.crashes += 1;
        self.database.crash();
        self.oracle.after_crash(&self.database);
        for at in (0..self.writers.len()).rev() {
            self.resolve(at, None);
        }
    }

    /// A writer's process dies; nobody hears from it again.
    fn kill(&mut self) {
        if !self.writers.is_empty() {
            let at = self.below(self.writers.len() as u64) as usize;
            let Writer { posting, .. } = self.writers.remove(at);
            // Its last post may still arrive.
            if let Some(block) = posting.filter(|_| self.below(2) == 0) {
                let _ = self.database.post(&block);
            }
        }
    }

    /// Another writer takes the shard over, whether or not the last one lives.
    fn take_over(&mut self) {
        self.outcome.takeovers += 1;
        let epoch = self.database.raise_epoch();
        let core = self.database.load(epoch);
        let replica = self.below(Mail::REPLICAS) as usize;
        self.writers.push(Writer { epoch, replica, pipeline: Pipeline::new(core), posting: None, flushing: false });
        self.owner = replica;
    }

    /// The sweeper voids what has expired.
    fn sweep(&mut self) {
        let Some(writer) = self.somebody() else { return };
        let expired = |(_, head, _): &&(_, crate::row::TransferRow, i64)| head.expires_at <= Some(self.now);
        let mut links: Vec<uuid::Uuid> =
            self.database.tables().holds.values().filter(expired).filter_map(|(_, head, _)| head.link_id).collect();
        links.sort_unstable();
        links.dedup();
        let epoch = self.writers[writer].epoch;
        for link in links {
            // It may have found that its shard was taken.
            if self.writers.get(writer).is_none_or(|writer| writer.epoch != epoch) {
                return;
            }
            let wish = Wish::VoidLink { link };
            self.asked.push((wish.clone(), false));
            self.ask(writer, &[(Whom::Here(self.asked.len() - 1), wish)]);
        }
    }

    /// Reads the answers that came, and checks each; those for others go into a reply.
    fn hear(&mut self) {
        let answers = std::mem::take(&mut *self.answers.borrow_mut());
        for (whom, answer) in answers {
            match whom {
                Whom::Here(number) => self.told(number, answer.map(|kept| kept.block)),
                Whom::There { letter, place } => self.mail.note(letter, place, answer),
            }
        }
    }

    /// An asking has its answer.
    pub(super) fn told(&mut self, number: usize, answer: Result<BlockRef, Error>) {
        let (wish, answered) = &mut self.asked[number];
        *answered = true;
        match answer {
            Ok(block) => {
                self.outcome.kept += 1;
                self.oracle.kept(&self.database, &wish.request(), block);
            }
            Err(_) => self.outcome.refused += 1,
        }
    }
}
