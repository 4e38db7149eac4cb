//! The writer's protocol without its connections: which requests wait for which block, what is posted, what is durable, and what
//! has to be decided again. Pure, so that the simulator drives the same code as the task.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use crate::block::{Block, BlockRef};
use crate::core::{Core, Knowledge, Needs};
use crate::error::Error;
use crate::hold::HoldPart;
use crate::recipe::Request;

/// How many requests one block takes.
const BLOCK_REQUESTS_MAX: usize = 4_096;
/// How many blocks may wait for the disk.
const FLIGHTS_MAX: usize = 64;

/// Who waits for what becomes of a request.
pub(crate) trait Caller {
    /// The request was allowed; it is not durable yet.
    fn decided(&mut self, parts: Vec<HoldPart>);
    /// The request is kept.
    fn durable(self, block: BlockRef);
    /// The request was refused.
    fn refused(self, error: Error);
}

/// A request with who waits for it.
#[derive(Debug)]
pub(crate) struct Command<C> {
    pub request: Request,
    pub caller: C,
}

/// A block on its way to the disk.
#[derive(Debug)]
struct Flight<C> {
    block: BlockRef,
    waiting: Vec<Command<C>>,
    /// True for a block of one request that had been refused in company.
    alone: bool,
}

/// One shard's requests and blocks on their way.
#[derive(Debug)]
pub(crate) struct Pipeline<C> {
    core: Core,
    /// Decided, for the next block.
    building: Vec<Command<C>>,
    /// Blocks that are not known to be durable, the oldest first.
    flights: VecDeque<Flight<C>>,
    /// True while the last flight is being posted.
    posting: bool,
    /// How many flights the flush under way makes durable, when one is.
    flushing: Option<usize>,
    /// Requests of a block that the database refused, to be posted one by one.
    alone: VecDeque<Command<C>>,
}

impl<C: Caller> Pipeline<C> {
    pub fn new(core: Core) -> Self {
        Self {
            core,
            building: Vec::new(),
            flights: VecDeque::new(),
            posting: false,
            flushing: None,
            alone: VecDeque::new(),
        }
    }

    /// The core, for those who hold it against a model.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// How many more requests may be decided before the next block leaves.
    pub fn room(&self) -> usize {
        if self.alone.is_empty() { BLOCK_REQUESTS_MAX.saturating_sub(self.building.len()) } else { 0 }
    }

    /// True when nothing is on its way.
    pub fn idle(&self) -> bool {
        self.flights.is_empty() && self.building.is_empty() && self.alone.is_empty()
    }

    /// What must be learned before these are decided.
    pub fn needs(&self, commands: &[Command<C>], forgetful: bool) -> Needs {
        let mut needs = Needs::default();
        for command in commands {
            let more = self.core.needs(&command.request, forgetful);
            needs.owners.extend(more.owners);
            needs.links.extend(more.links);
        }
        for asked in [&mut needs.owners, &mut needs.links] {
            asked.sort();
            asked.dedup();
        }
        needs
    }

    pub fn learn(&mut self, needs: Needs, knowledge: Knowledge) {
        self.core.learn(needs, knowledge);
    }

    /// Refuses the requests whose needs could not be learned; gives back those that need nothing.
    pub fn refuse_needy(&self, commands: Vec<Command<C>>, forgetful: bool) -> Vec<Command<C>> {
        let needy = |command: &Command<C>| self.core.needs(&command.request, forgetful) != Needs::default();
        let (needy, rest): (Vec<_>, Vec<_>) = commands.into_iter().partition(needy);
        needy.into_iter().for_each(|command| command.caller.refused(Error::Unavailable));
        rest
    }

    /// Decides requests in their order, once what they need is learned.
    pub fn take(&mut self, commands: Vec<Command<C>>, now: DateTime<Utc>) {
        for mut command in commands {
            match self.core.decide(&command.request, now) {
                Err(error) => command.caller.refused(error),
                Ok(decision) => {
                    command.caller.decided(decision.parts);
                    let flight = self.flights.iter_mut().find(|flight| flight.block.height == decision.height);
                    match (decision.block, flight) {
                        // First: a block that was read back from the database may still wait for the disk.
                        (_, Some(flight)) => flight.waiting.push(command),
                        (Some(block), None) => command.caller.durable(block),
                        (None, None) => self.building.push(command),
                    }
                }
            }
        }
    }

    /// A request that has to go alone, when the next block has to be of one.
    pub fn next_alone(&mut self) -> Option<Command<C>> {
        if self.full() || self.core.has_draft() { None } else { self.alone.pop_front() }
    }

    /// The next block to post, unless one is under way, too many wait for the disk, or nothing was decided. `alone` says that it
    /// holds one request that had been refused in company.
    pub fn depart(&mut self, at: DateTime<Utc>, alone: bool) -> Option<Block> {
        if self.full() {
            return None;
        }
        let (reference, block) = self.core.seal(at)?;
        let waiting = std::mem::take(&mut self.building);
        self.flights.push_back(Flight { block: reference, waiting, alone });
        self.posting = true;
        Some(block)
    }

    /// True when no block may leave: one is under way, or too many wait for the disk.
    fn full(&self) -> bool {
        self.posting || self.flights.len() >= FLIGHTS_MAX
    }

    /// Notes that the block under way is posted.
    pub fn posted(&mut self) {
        assert!(std::mem::take(&mut self.posting), "only what was under way is posted");
    }

    /// True when posted blocks wait for the disk and no flush is under way; the caller begins one.
    pub fn begin_flush(&mut self) -> bool {
        let posted = self.flights.len() - usize::from(self.posting);
        if posted == 0 || self.flushing.is_some() {
            return false;
        }
        self.flushing = Some(posted);
        true
    }

    /// Notes that what was posted when the flush began is durable, and tells those who waited.
    pub fn flushed(&mut self) {
        for _ in 0..self.flushing.take().expect("only a flush under way ends") {
            let flight = self.flights.pop_front().expect("what is flushed was posted");
            self.core.committed(flight.block);
            acknowledge(flight);
        }
    }

    /// Goes on from the truth after a post or a flush failed: blocks up to `head` are durable, those above it are not and never
    /// will be. Gives back the requests to be decided again, forgetfully; when the database refused the block (`refused`), they
    /// go one by one instead.
    pub fn resolve(&mut self, core: Core, head: BlockRef, refused: Option<Error>) -> Vec<Command<C>> {
        self.core = core;
        (self.posting, self.flushing) = (false, None);
        let (mut again, by_one) = (Vec::new(), refused.is_some() || !self.alone.is_empty());
        let mut refused = refused;
        for mut flight in std::mem::take(&mut self.flights) {
            if flight.block.height <= head.height {
                acknowledge(flight);
                continue;
            }
            if flight.alone
                && let Some(error) = refused.take()
            {
                flight.waiting.remove(0).caller.refused(error);
            }
            again.append(&mut flight.waiting);
        }
        again.append(&mut self.building);
        if !by_one {
            return again;
        }
        self.alone = again.into_iter().chain(std::mem::take(&mut self.alone)).collect();
        Vec::new()
    }
}

fn acknowledge<C: Caller>(flight: Flight<C>) {
    metrics::counter!("ledger_blocks_total").increment(1);
    metrics::counter!("ledger_groups_total").increment(flight.waiting.len() as u64);
    for command in flight.waiting {
        command.caller.durable(flight.block);
    }
}
