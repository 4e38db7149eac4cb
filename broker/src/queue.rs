//! The queue of one model: class, then fair share, then the earliest deadline; bounded.
//!
//! *Source*: fair share is the virtual token counter (VTC) of arXiv 2401.00588: the tenant served least goes first, a
//! prompt's token weighs one and an output's two, a job is charged by estimate when it leaves the queue and corrected
//! when it ends, and a tenant that comes back is lifted to those who stayed, so that nobody saves up idle time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{JobId, TenantId};

use crate::Settings;
use crate::cell::{Average, millis};
use crate::job::{Class, Job};

const INPUT_WEIGHT: u64 = 1;
const OUTPUT_WEIGHT: u64 = 2;
/// Expected output of a model's first job. *Units*: tokens.
const OUTPUT_TOKENS_PRIOR: f64 = 128.0;
/// Expected time of a model's first job.
const JOB_MS_PRIOR: f64 = 1_000.0;
/// Jobs looked at for one free slot, in all and of one tenant: what does not fit must not hold up what does.
const LOOK_MAX: usize = 64;
const LOOK_TENANT_MAX: usize = 32;
/// Late jobs looked at besides.
const LOOK_LATE_MAX: usize = 4;
/// Jobs with a deadline looked at on either side of a new one's.
const LOOK_DUE_MAX: usize = 256;
/// A job is taken in when its first token is expected within this share of the time it has.
const DOOR_SHARE: f64 = 0.85;
/// Of so many jobs that leave the queue one is late, while there are any: they are not starved by those that come.
const LATE_ONE_IN: u64 = 100;
/// A job that waits for so many times the time it had is given up.
const GIVEN_UP_AFTER: i32 = 10;
/// Tenants whose counters are as close as what the cells compute in this time take turns by deadline. *Units*: ms.
const WINDOW_MS: f64 = 5_000.0;

/// A job's place in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub job_id: JobId,
    pub tenant_id: TenantId,
    pub class: Class,
    /// Orders a tenant's jobs.
    pub due: DateTime<Utc>,
    pub prompt_tokens: u64,
    /// Output that was expected when it came. *Units*: tokens.
    pub output_estimate: u64,
    /// It has begun and goes before all that have not.
    pub ahead: bool,
    /// Tokens of its prompt that not even the best cell's cache holds, if it has a deadline to make.
    pub work_tokens: Option<f64>,
    /// Its deadline cannot be made any more: it goes behind all that can.
    pub late: bool,
    /// A job with a deadline that has not begun by then is given up.
    pub ends_at: Option<DateTime<Utc>>,
}

impl Ticket {
    fn charge(&self) -> u64 {
        INPUT_WEIGHT * self.prompt_tokens + OUTPUT_WEIGHT * self.output_estimate
    }

    fn place(&self) -> (DateTime<Utc>, JobId) {
        (self.due, self.job_id)
    }
}

/// A cell as a job that comes now sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lane {
    /// Until it could begin another prompt. *Units*: ms.
    pub free_ms: f64,
    /// What a prompt takes beside its tokens. *Units*: ms.
    pub start_ms: f64,
    /// *Units*: ms for a prompt's token.
    pub token_ms: f64,
    /// The way back of a first token. *Units*: ms.
    pub back_ms: f64,
    /// Jobs that it could take now.
    pub slots_free: u32,
    /// Jobs that it may have at once.
    pub slots: u32,
}

type Places = BTreeMap<(DateTime<Utc>, JobId), Ticket>;

/// The jobs that wait for one model.
#[derive(Debug)]
pub(crate) struct Queue {
    ahead: Places,
    /// Late jobs, by deadline.
    late: Places,
    /// Jobs with a deadline that they can still make, the earliest first.
    due: BTreeMap<(DateTime<Utc>, JobId), f64>,
    shares: BTreeMap<TenantId, Share>,
    /// Tenants with waiting jobs by how little they were served, for each class.
    ready: [BTreeSet<(u64, TenantId)>; 2],
    /// Where a tenant that comes back starts, for each class.
    floors: [u64; 2],
    sweep_at: usize,
    jobs: usize,
    /// Tenants whose counters are so close take turns by deadline. *Units*: weighted tokens.
    window: u64,
    /// Jobs that left the queue for a cell so far.
    taken: u64,
    prompt_tokens: u64,
    output_tokens: Average,
    job_ms: Average,
}

/// One tenant's part.
#[derive(Debug, Default)]
struct Share {
    counter: u64,
    waiting: [Places; 2],
    /// Jobs that left the queue and have not ended.
    taken: u32,
}

impl Share {
    fn waiting_jobs(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }
}

impl Queue {
    pub fn new() -> Self {
        Self {
            ahead: BTreeMap::new(),
            late: BTreeMap::new(),
            due: BTreeMap::new(),
            shares: BTreeMap::new(),
            ready: [BTreeSet::new(), BTreeSet::new()],
            floors: [0; 2],
            sweep_at: 64,
            jobs: 0,
            window: 0,
            taken: 0,
            prompt_tokens: 0,
            output_tokens: Average::new(0.02),
            job_ms: Average::new(0.05),
        }
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.jobs
    }

    /// By how much a job that comes now would miss its deadline, were those that are due earlier begun first; or by how much it
    /// would make a shorter job miss its own that is due later and could make it. Nothing when there is room. *Units*: ms.
    ///
    /// *Source*: J. M. Moore, 1968: by deadline, and where one must be given up, the longest.
    pub fn late_by(&self, ticket: &Ticket, now: DateTime<Utc>, lanes: &[Lane]) -> Option<f64> {
        let own = ticket.work_tokens?;
        let place = ticket.place();
        let mut lanes = Lanes::new(lanes, self.job_ms.get());
        for tokens in self.due.range(..place).map(|(_, tokens)| *tokens).take(LOOK_DUE_MAX) {
            lanes.lay(tokens);
        }
        let mut without = lanes.clone();
        let late = |first_ms: f64, due: DateTime<Utc>| first_ms - DOOR_SHARE * millis(due - now);
        let own_late = late(lanes.lay(own), ticket.due);
        if own_late > 0.0 {
            return Some(own_late);
        }
        self.due.range(place..).take(LOOK_DUE_MAX).find_map(|((due, _), tokens)| {
            let (before, after) = (late(without.lay(*tokens), *due), late(lanes.lay(*tokens), *due));
            (*tokens < own && before <= 0.0 && after > 0.0).then_some(after)
        })
    }

    /// The cells compute so many tokens together. *Units*: prompt tokens a ms.
    pub fn drains_at(&mut self, speed: f64) {
        self.window = (speed * WINDOW_MS) as u64;
    }

    /// Every ticket that waits, in no useful order.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        let shares = self.shares.values().flat_map(|share| &share.waiting).flat_map(BTreeMap::values);
        self.ahead.values().chain(self.late.values()).chain(shares)
    }

    /// True when one more job of this tenant would pass a bound.
    pub fn is_full(&self, tenant_id: TenantId, prompt_tokens: u64, settings: &Settings) -> bool {
        let of_tenant = self.shares.get(&tenant_id).map_or(0, Share::waiting_jobs);
        self.jobs >= settings.queue_jobs_max
            || of_tenant >= settings.queue_tenant_jobs_max
            || self.prompt_tokens + prompt_tokens > settings.queue_tokens_max
    }

    /// Jobs that somebody waits for, and the tokens of their prompts.
    pub fn interactive(&self) -> (usize, u64) {
        let waiting = self.tickets().filter(|ticket| ticket.class == Class::Interactive);
        waiting.fold((0, 0), |(jobs, tokens), ticket| (jobs + 1, tokens + ticket.prompt_tokens))
    }

    /// What a job takes, lately. *Units*: ms.
    pub fn job_ms(&self) -> f64 {
        self.job_ms.get().unwrap_or(JOB_MS_PRIOR)
    }

    /// When there should be room again, at the rate at which jobs end now.
    pub fn retry_after(&self, slots: u32) -> Duration {
        let rounds = self.jobs as f64 / f64::from(slots.max(1));
        let seconds = rounds * self.job_ms() / 1_000.0;
        Duration::from_secs(seconds.ceil().clamp(1.0, 3_600.0) as u64)
    }

    /// A place for a new job; it counts as due at most `ageing` after it came.
    pub fn ticket(&self, job: &Job, now: DateTime<Utc>, ageing: TimeDelta) -> Ticket {
        let expected = self.output_tokens.get().unwrap_or(OUTPUT_TOKENS_PRIOR) as u64;
        let due = job.deadline.map_or(now + ageing, |deadline| deadline.min(now + ageing));
        Ticket {
            job_id: job.job_id,
            tenant_id: job.tenant_id,
            class: job.class,
            due,
            prompt_tokens: job.prompt.len() as u64,
            output_estimate: expected.min(u64::from(job.output_tokens_max)),
            ahead: false,
            work_tokens: None,
            late: false,
            ends_at: job.deadline.map(|deadline| now + (deadline - now).max(TimeDelta::zero()) * GIVEN_UP_AFTER),
        }
    }

    /// A new job waits.
    pub fn push(&mut self, ticket: Ticket) {
        self.sweep();
        let floor = self.floors[ticket.class as usize];
        let share = self.shares.entry(ticket.tenant_id).or_default();
        if share.waiting_jobs() == 0 {
            share.counter = share.counter.max(floor);
        }
        self.enter(ticket);
    }

    /// The job whose turn it is among those that `fits` takes.
    pub fn next(&self, mut fits: impl FnMut(&Ticket) -> bool) -> Option<Ticket> {
        let classes = [Class::Interactive, Class::Batch].into_iter();
        let in_turn = classes.flat_map(|class| self.near_by_deadline(class).into_iter().chain(self.by_share(class)));
        let late = || self.late.values().take(LOOK_LATE_MAX);
        let late_first = late().filter(|_| self.taken.is_multiple_of(LATE_ONE_IN));
        let first = self.ahead.values().chain(late_first).chain(in_turn).take(LOOK_MAX);
        first.chain(late()).find(|ticket| fits(ticket)).cloned()
    }

    /// Jobs with deadlines of the tenants that were served about as little as the one served least, the earliest first: between
    /// them a deadline counts more than a fine difference.
    fn near_by_deadline(&self, class: Class) -> Vec<&Ticket> {
        let near = self.near(class).filter_map(|tenant| self.shares.get(tenant));
        let tickets = near.flat_map(|share| share.waiting[class as usize].values().take(LOOK_TENANT_MAX));
        let mut tickets: Vec<&Ticket> = tickets.filter(|ticket| ticket.work_tokens.is_some()).collect();
        tickets.sort_by_key(|ticket| ticket.place());
        tickets
    }

    /// The other jobs, those of the tenant served least first.
    fn by_share(&self, class: Class) -> impl Iterator<Item = &Ticket> {
        let nearest = self.ready[class as usize].first().map_or(0, |(counter, _)| *counter);
        let tenants = self.ready[class as usize].iter();
        let tenants = tenants
            .filter_map(move |(counter, tenant)| Some((counter - nearest <= self.window, self.shares.get(tenant)?)));
        tenants.flat_map(move |(near, share)| {
            let tickets = share.waiting[class as usize].values().take(LOOK_TENANT_MAX);
            tickets.filter(move |ticket| !(near && ticket.work_tokens.is_some()))
        })
    }

    fn near(&self, class: Class) -> impl Iterator<Item = &TenantId> {
        let nearest = self.ready[class as usize].first().map_or(0, |(counter, _)| *counter);
        let near = self.ready[class as usize].iter().take_while(move |(counter, _)| counter - nearest <= self.window);
        near.map(|(_, tenant)| tenant).take(LOOK_MAX)
    }

    /// A job leaves the queue for a cell; its tenant is charged by estimate.
    pub fn take(&mut self, ticket: &Ticket) {
        self.leave(ticket);
        if ticket.ahead {
            return;
        }
        self.taken += 1;
        let class = ticket.class as usize;
        let least = self.ready[class].first().map(|(counter, _)| *counter);
        let before = self.shares.get(&ticket.tenant_id).map_or(0, |share| share.counter);
        self.floors[class] = self.floors[class].max(least.map_or(before, |least| least.min(before)));
        self.recount(ticket.tenant_id, |share| {
            share.counter += ticket.charge();
            share.taken += 1;
        });
        if self.ready[class].is_empty() {
            self.floors[class] = self.floors[class].max(before + ticket.charge());
        }
    }

    /// A job comes back unbegun, to the place it had.
    pub fn put_back(&mut self, ticket: Ticket) {
        if !ticket.ahead {
            self.recount(ticket.tenant_id, |share| {
                share.counter = share.counter.saturating_sub(ticket.charge());
                share.taken -= 1;
            });
        }
        self.enter(ticket);
    }

    /// A job that was taken and has begun waits again, before all that have not begun.
    pub fn resume(&mut self, ticket: &mut Ticket) {
        ticket.ahead = true;
        self.enter(ticket.clone());
    }

    /// A waiting job cannot make its deadline any more.
    pub fn fall_behind(&mut self, ticket: &mut Ticket) {
        if !ticket.ahead && !ticket.late {
            self.leave(ticket);
            ticket.late = true;
            self.enter(ticket.clone());
        }
    }

    /// A waiting job is gone.
    pub fn remove(&mut self, ticket: &Ticket) {
        self.leave(ticket);
    }

    /// A job that was taken ended: the estimate becomes the fact.
    pub fn settle(&mut self, ticket: &Ticket, output_tokens: u64) {
        self.recount(ticket.tenant_id, |share| {
            let charged = share.counter + OUTPUT_WEIGHT * output_tokens;
            share.counter = charged.saturating_sub(OUTPUT_WEIGHT * ticket.output_estimate);
            share.taken -= 1;
        });
    }

    /// Learns from a job that ended as it should.
    pub fn learn(&mut self, output_tokens: u64, took: TimeDelta) {
        self.output_tokens.add(output_tokens as f64);
        self.job_ms.add(millis(took));
    }

    fn enter(&mut self, ticket: Ticket) {
        self.jobs += 1;
        self.prompt_tokens += ticket.prompt_tokens;
        if let Some(work) = ticket.work_tokens.filter(|_| !ticket.ahead && !ticket.late) {
            self.due.insert(ticket.place(), work);
        }
        if ticket.ahead {
            self.ahead.insert(ticket.place(), ticket);
        } else if ticket.late {
            self.late.insert(ticket.place(), ticket);
        } else {
            self.recount(ticket.tenant_id, |share| {
                share.waiting[ticket.class as usize].insert(ticket.place(), ticket);
            });
        }
    }

    fn leave(&mut self, ticket: &Ticket) {
        self.jobs -= 1;
        self.prompt_tokens -= ticket.prompt_tokens;
        if ticket.work_tokens.is_some() && !ticket.ahead && !ticket.late {
            self.due.remove(&ticket.place());
        }
        if ticket.ahead {
            self.ahead.remove(&ticket.place());
        } else if ticket.late {
            self.late.remove(&ticket.place());
        } else {
            self.recount(ticket.tenant_id, |share| {
                share.waiting[ticket.class as usize].remove(&ticket.place());
            });
        }
    }

    /// Changes a tenant's share and keeps `ready` true to it.
    fn recount(&mut self, tenant_id: TenantId, change: impl FnOnce(&mut Share)) {
        let share = self.shares.entry(tenant_id).or_default();
        let before = share.counter;
        change(share);
        for (ready, waiting) in self.ready.iter_mut().zip(&share.waiting) {
            ready.remove(&(before, tenant_id));
            if !waiting.is_empty() {
                ready.insert((share.counter, tenant_id));
            }
        }
    }

    /// Forgets tenants that a newcomer's start would not tell apart; now and then, so that it costs little a job.
    fn sweep(&mut self) {
        if self.shares.len() < self.sweep_at {
            return;
        }
        let floor = self.floors.into_iter().max().unwrap_or(0);
        self.shares.retain(|_, share| share.taken > 0 || share.waiting_jobs() > 0 || share.counter > floor);
        self.sweep_at = 2 * self.shares.len() + 64;
    }
}

/// Cells, and what is laid out over them.
#[derive(Clone, Debug)]
struct Lanes {
    lanes: Vec<Lane>,
    /// When each one's next slot is free. *Units*: ms from now.
    slot_ms: Vec<f64>,
    /// What a job takes in its slot, by those that ended; unknown before the first, and then no slot is waited for. *Units*: ms.
    job_ms: f64,
}

impl Lanes {
    fn new(lanes: &[Lane], job_ms: Option<f64>) -> Self {
        let job_ms = job_ms.unwrap_or(0.0);
        let slot_ms = |lane: &Lane| if lane.slots_free > 0 { 0.0 } else { job_ms / f64::from(lane.slots.max(1)) };
        Self { lanes: lanes.to_vec(), slot_ms: lanes.iter().map(slot_ms).collect(), job_ms }
    }

    /// Gives a prompt to the lane that ends it first; tells when its first token is here. *Units*: ms from now.
    fn lay(&mut self, tokens: f64) -> f64 {
        let here = |(lane, slot_ms): (&Lane, &f64)| {
            lane.free_ms.max(*slot_ms) + lane.start_ms + tokens * lane.token_ms + lane.back_ms
        };
        let each = self.lanes.iter().zip(&self.slot_ms).map(here).enumerate();
        let Some((place, here_ms)) = each.min_by(|one, other| one.1.total_cmp(&other.1)) else { return f64::MAX };
        let (lane, slot_ms) = (&mut self.lanes[place], &mut self.slot_ms[place]);
        lane.free_ms = here_ms - lane.back_ms;
        lane.slots_free = lane.slots_free.saturating_sub(1);
        if lane.slots_free == 0 {
            *slot_ms += self.job_ms / f64::from(lane.slots.max(1));
        }
        here_ms
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn ticket(n: u128, tenant: u128, due_s: i64) -> Ticket {
        Ticket {
            job_id: JobId(Uuid::from_u128(n)),
            tenant_id: TenantId(Uuid::from_u128(tenant)),
            class: Class::Interactive,
            due: DateTime::UNIX_EPOCH + TimeDelta::seconds(due_s),
            prompt_tokens: 100,
            output_estimate: 50,
            ahead: false,
            work_tokens: None,
            late: false,
            ends_at: None,
        }
    }

    fn order(queue: &mut Queue) -> Vec<u128> {
        std::iter::from_fn(|| {
            let ticket = queue.next(|_| true)?;
            queue.take(&ticket);
            Some(ticket.job_id.0.as_u128())
        })
        .collect()
    }

    #[test]
    fn a_tenants_jobs_go_by_deadline() {
        let mut queue = Queue::new();
        [(1, 30), (2, 10), (3, 20)].into_iter().for_each(|(n, due)| queue.push(ticket(n, 1, due)));
        assert_eq!(order(&mut queue), [2, 3, 1]);
    }

    #[test]
    fn interactive_goes_before_batch() {
        let mut queue = Queue::new();
        queue.push(Ticket { class: Class::Batch, ..ticket(1, 1, 0) });
        queue.push(ticket(2, 2, 99));
        assert_eq!(order(&mut queue), [2, 1]);
    }

    #[test]
    fn a_flooding_tenant_shares_with_a_small_one() {
        let mut queue = Queue::new();
        (1..=6).for_each(|n| queue.push(ticket(n, 1, 0)));
        (7..=8).for_each(|n| queue.push(ticket(n, 2, 0)));
        assert_eq!(order(&mut queue), [1, 7, 2, 8, 3, 4, 5, 6]);
    }

    #[test]
    fn a_tenant_that_comes_back_has_saved_up_nothing() {
        let mut queue = Queue::new();
        (1..=10).for_each(|n| queue.push(ticket(n, 1, 0)));
        for _ in 0..4 {
            let next = queue.next(|_| true).unwrap();
            queue.take(&next);
        }
        (11..=14).for_each(|n| queue.push(ticket(n, 2, 0)));
        // Tenant 2 may be one job ahead, not four.
        assert_eq!(order(&mut queue)[..5], [11, 5, 12, 6, 13]);
    }

    #[test]
    fn what_a_job_really_used_is_what_counts() {
        let mut queue = Queue::new();
        (1..=2).for_each(|n| queue.push(ticket(n, 1, 0)));
        (3..=4).for_each(|n| queue.push(ticket(n, 2, 0)));
        let (first, second) = (ticket(1, 1, 0), ticket(3, 2, 0));
        queue.take(&first);
        queue.take(&second);
        queue.settle(&first, 500);
        queue.settle(&second, 1);
        assert_eq!(order(&mut queue), [4, 2]);
    }

    #[test]
    fn an_offer_that_came_to_nothing_costs_nothing() {
        let mut queue = Queue::new();
        queue.push(ticket(1, 1, 0));
        queue.push(ticket(2, 2, 0));
        queue.take(&ticket(1, 1, 0));
        queue.put_back(ticket(1, 1, 0));
        assert_eq!(order(&mut queue), [1, 2]);
    }

    #[test]
    fn a_job_that_has_begun_goes_first() {
        let mut queue = Queue::new();
        queue.push(ticket(1, 1, 90));
        queue.take(&ticket(1, 1, 90));
        queue.push(ticket(2, 2, 0));
        queue.resume(&mut ticket(1, 1, 90));
        assert_eq!(order(&mut queue), [1, 2]);
    }

    #[test]
    fn what_does_not_fit_does_not_hold_up_what_does() {
        let mut queue = Queue::new();
        queue.push(ticket(1, 1, 0));
        queue.push(ticket(2, 1, 1));
        let next = queue.next(|ticket| ticket.job_id.0.as_u128() != 1).unwrap();
        assert_eq!(next.job_id.0.as_u128(), 2);
    }

    #[test]
    fn a_far_deadline_ages_so_that_later_jobs_do_not_outrun_it_for_ever() {
        let queue = Queue::new();
        let job = |deadline| Job {
            job_id: JobId(Uuid::nil()),
            tenant_id: TenantId(Uuid::nil()),
            model: "m".into(),
            prompt: vec![1],
            embed: vec![],
            output_tokens_max: 1,
            stop: vec![],
            sampling: primitives::node_protocol::Sampling::greedy(),
            grammar: None,
            logprobs: None,
            cache_salt: None,
            prompt_blocks: vec![],
            pays_prompt: true,
            grade: primitives::certificate::Grade::Exact,
            class: Class::Interactive,
            deadline,
            step_max: None,
        };
        let start = DateTime::UNIX_EPOCH;
        let patient = queue.ticket(&job(Some(start + TimeDelta::days(1))), start, MINUTE);
        let hasty = queue.ticket(&job(Some(start + MINUTE * 2)), start + MINUTE * 2, MINUTE);
        assert!(patient.due < hasty.due);
    }

    #[test]
    fn the_bounds_hold() {
        let settings =
            Settings { queue_jobs_max: 3, queue_tenant_jobs_max: 2, queue_tokens_max: 350, ..Settings::default() };
        let mut queue = Queue::new();
        let (one, two) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        (1..=2).for_each(|n| queue.push(ticket(n, 1, 0)));
        assert!(queue.is_full(one, 1, &settings), "its own bound");
        assert!(!queue.is_full(two, 100, &settings));
        assert!(queue.is_full(two, 151, &settings), "the tokens' bound");
        queue.push(ticket(3, 2, 0));
        assert!(queue.is_full(two, 1, &settings), "the jobs' bound");
        queue.remove(&ticket(1, 1, 0));
        assert!(!queue.is_full(one, 1, &settings));
    }

    proptest::proptest! {
        /// *Source*: the bound of arXiv 2401.00588, theorem 4.4.
        #[test]
        fn tenants_with_work_waiting_are_served_alike(sizes in proptest::collection::vec((1..2_000_u64, 1..500_u64), 40)) {
            let mut queue = Queue::new();
            for (n, (prompt_tokens, output_estimate)) in (0..).zip(&sizes) {
                let (prompt_tokens, output_estimate) = (*prompt_tokens, *output_estimate);
                queue.push(Ticket { prompt_tokens, output_estimate, ..ticket(n, n % 2, 0) });
            }
            let bound = 2 * sizes.iter().map(|(input, output)| input + OUTPUT_WEIGHT * output).max().unwrap_or(0);
            let mut served = [0_u64; 2];
            while queue.shares.values().all(|share| share.waiting_jobs() > 0) {
                let next = queue.next(|_| true).unwrap();
                queue.take(&next);
                queue.settle(&next, next.output_estimate);
                served[(next.tenant_id.0.as_u128()) as usize] += next.charge();
                proptest::prop_assert!(served[0].abs_diff(served[1]) <= bound);
            }
        }
    }

    fn due(n: u128, tenant: u128, due_s: i64, tokens: f64) -> Ticket {
        Ticket { work_tokens: Some(tokens), ..ticket(n, tenant, due_s) }
    }

    #[test]
    fn tenants_that_were_served_about_alike_take_turns_by_deadline() {
        let mut queue = Queue::new();
        queue.drains_at(1.0);
        [(1, 1, 30), (2, 2, 20), (3, 1, 10)]
            .into_iter()
            .for_each(|(n, tenant, s)| queue.push(due(n, tenant, s, 100.0)));
        assert_eq!(order(&mut queue), [3, 2, 1]);
        let mut queue = Queue::new();
        queue.drains_at(1.0);
        queue.push(due(1, 1, 10, 100.0));
        queue.push(due(2, 2, 20, 100.0));
        queue.recount(TenantId(Uuid::from_u128(1)), |share| share.counter += 10_000);
        assert_eq!(order(&mut queue), [2, 1], "one that was served far more waits");
    }

    #[test]
    fn a_late_job_goes_behind_those_that_are_not_and_is_not_starved_by_them() {
        let mut queue = Queue::new();
        (1..=250).for_each(|n| queue.push(due(n, 1, n as i64, 100.0)));
        for n in [1, 2, 3] {
            queue.fall_behind(&mut due(n, 1, n as i64, 100.0));
        }
        let order = order(&mut queue);
        let places: Vec<_> = [1, 2, 3].iter().map(|late| order.iter().position(|n| n == late).unwrap()).collect();
        assert_eq!(places, [0, 100, 200], "one in a hundred");
    }

    /// One cell that computes a token in a ms.
    const LANE: Lane =
        Lane { free_ms: 0.0, start_ms: 0.0, token_ms: 1.0, back_ms: 0.0, slots_free: 1_000, slots: 1_000 };

    #[test]
    fn there_is_room_for_a_job_that_can_be_begun_after_those_due_earlier() {
        let mut queue = Queue::new();
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(queue.late_by(&due(1, 1, 1, 800.0), now, &[LANE]), None);
        queue.push(due(1, 1, 1, 800.0));
        assert!(queue.late_by(&due(2, 1, 1, 400.0), now, &[LANE]).is_some_and(|ms| ms > 100.0));
        assert_eq!(queue.late_by(&due(2, 1, 1, 400.0), now, &[LANE, LANE]), None, "a second cell has room");
        assert_eq!(queue.late_by(&due(2, 1, 9, 400.0), now, &[LANE]), None, "it has time");
    }

    #[test]
    fn a_longer_job_is_not_taken_in_at_the_cost_of_a_shorter_one() {
        let mut queue = Queue::new();
        queue.push(due(1, 1, 2, 500.0));
        let now = DateTime::UNIX_EPOCH;
        let in_1_900_ms = |tokens| Ticket { due: now + TimeDelta::milliseconds(1_900), ..due(2, 1, 0, tokens) };
        assert!(queue.late_by(&in_1_900_ms(1_500.0), now, &[LANE]).is_some());
        queue.remove(&due(1, 1, 2, 500.0));
        queue.push(due(1, 1, 2, 1_600.0));
        assert_eq!(queue.late_by(&in_1_900_ms(1_000.0), now, &[LANE]), None);
    }

    #[test]
    fn a_cell_whose_slots_are_taken_is_waited_for_as_long_as_jobs_take() {
        let now = DateTime::UNIX_EPOCH;
        let full = Lane { slots_free: 0, slots: 2, ..LANE };
        let mut queue = Queue::new();
        assert_eq!(queue.late_by(&due(1, 1, 1, 10.0), now, &[full]), None, "nobody knows yet how long a job takes");
        queue.learn(10, TimeDelta::seconds(4));
        let late = |queue: &Queue, lane: Lane, s| queue.late_by(&due(9, 9, s, 10.0), now, &[lane]);
        assert_eq!(late(&queue, full, 1), Some(2_010.0 - 850.0), "a slot of two is free every two seconds");
        assert_eq!(late(&queue, Lane { slots_free: 1, ..full }, 1), None);
        queue.push(due(1, 1, 1, 10.0));
        assert!(late(&queue, Lane { slots_free: 1, ..full }, 2).is_some(), "another takes the free one before it");
        assert_eq!(late(&queue, Lane { slots_free: 1, ..full }, 3), None);
    }

    #[test]
    fn tenants_that_are_gone_are_forgotten() {
        let mut queue = Queue::new();
        for n in 1..=1_000 {
            queue.push(ticket(n, n, 0));
            queue.take(&ticket(n, n, 0));
            queue.settle(&ticket(n, n, 0), 50);
        }
        assert!(queue.shares.len() <= 256, "{}", queue.shares.len());
    }
}
