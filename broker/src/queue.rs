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
/// A late job waits for so many times the time it had before it goes first.
const AGED_AFTER: i32 = 4;

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
    /// Its deadline cannot be made any more: it goes behind all that can, until `aged_at`.
    pub late: bool,
    /// From then on it goes before those that are not late, so that none waits for ever.
    pub aged_at: DateTime<Utc>,
}

impl Ticket {
    fn charge(&self) -> u64 {
        INPUT_WEIGHT * self.prompt_tokens + OUTPUT_WEIGHT * self.output_estimate
    }

    fn place(&self) -> (DateTime<Utc>, JobId) {
        (if self.late { self.aged_at } else { self.due }, self.job_id)
    }
}

type Places = BTreeMap<(DateTime<Utc>, JobId), Ticket>;

/// The jobs that wait for one model.
#[derive(Debug)]
pub(crate) struct Queue {
    ahead: Places,
    /// Late jobs, by when they have aged.
    late: Places,
    shares: BTreeMap<TenantId, Share>,
    /// Tenants with waiting jobs by how little they were served, for each class.
    ready: [BTreeSet<(u64, TenantId)>; 2],
    /// Where a tenant that comes back starts, for each class.
    floors: [u64; 2],
    sweep_at: usize,
    jobs: usize,
    prompt_tokens: u64,
    /// Of those, the ones of late jobs.
    late_tokens: u64,
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
            shares: BTreeMap::new(),
            ready: [BTreeSet::new(), BTreeSet::new()],
            floors: [0; 2],
            sweep_at: 64,
            jobs: 0,
            prompt_tokens: 0,
            late_tokens: 0,
            output_tokens: Average::new(0.02),
            job_ms: Average::new(0.05),
        }
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.jobs
    }

    /// Prompt tokens that go before those of a job that comes now, at most.
    pub fn tokens_in_time(&self) -> u64 {
        self.prompt_tokens - self.late_tokens
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

    /// When there should be room again, at the rate at which jobs end now.
    pub fn retry_after(&self, slots: u32) -> Duration {
        let rounds = self.jobs as f64 / f64::from(slots.max(1));
        let seconds = rounds * self.job_ms.get().unwrap_or(JOB_MS_PRIOR) / 1_000.0;
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
            late: false,
            aged_at: now + (due - now).max(TimeDelta::zero()) * (crate::knob("K_AGED", f64::from(AGED_AFTER)) as i32),
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
    pub fn next(&self, now: DateTime<Utc>, mut fits: impl FnMut(&Ticket) -> bool) -> Option<Ticket> {
        let by_class = [Class::Interactive, Class::Batch].into_iter().flat_map(|class| {
            let tenants = self.ready[class as usize].iter().filter_map(|(_, tenant)| self.shares.get(tenant));
            tenants.flat_map(move |share| share.waiting[class as usize].values().take(crate::knob("K_TENANT", LOOK_TENANT_MAX as f64) as usize))
        });
        let aged = self.late.values().take_while(|ticket| ticket.aged_at <= now);
        let patient = self.late.values().skip_while(|ticket| ticket.aged_at <= now);
        let late = patient.take(crate::knob("K_LATE", LOOK_LATE_MAX as f64) as usize);
        let in_turn = self.ahead.values().chain(aged.take(LOOK_LATE_MAX)).chain(by_class).take(LOOK_MAX);
        in_turn.chain(late).find(|ticket| fits(ticket)).cloned()
    }

    /// A job leaves the queue for a cell; its tenant is charged by estimate.
    pub fn take(&mut self, ticket: &Ticket) {
        self.leave(ticket);
        if ticket.ahead {
            return;
        }
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
        if ticket.ahead {
            self.ahead.insert(ticket.place(), ticket);
        } else if ticket.late {
            self.late_tokens += ticket.prompt_tokens;
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
        if ticket.ahead {
            self.ahead.remove(&ticket.place());
        } else if ticket.late {
            self.late_tokens -= ticket.prompt_tokens;
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
            output_tokens_max: 1,
            stop: vec![],
            sampling: primitives::node_protocol::Sampling::greedy(),
            grammar: None,
            logprobs: None,
            cache_salt: None,
            class: Class::Interactive,
            deadline,
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
