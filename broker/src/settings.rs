//! The broker's limits and waits.

use chrono::TimeDelta;
use primitives::money::Currency;

use crate::trust::audit::AuditRules;

/// Limits and waits of one broker; the defaults suit interactive work on nodes a continent apart.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Asks in another currency get no work: prices are compared, never converted.
    pub currency: Currency,
    /// A node answers an offer within this, or the next cell is asked.
    pub offer_expiry: TimeDelta,
    /// A cell that declined or ignored an offer is left alone for this long.
    pub offer_rest: TimeDelta,
    /// A lease ends unless a sign of life renews it within this.
    pub lease_ttl: TimeDelta,
    /// The first token comes within this of the commit, or the job goes elsewhere.
    pub first_token_max: TimeDelta,
    /// A first token is expected to take this long on a cell that has not been measured.
    pub first_token_prior: TimeDelta,
    /// A node that says nothing for this long is gone.
    pub node_silence_max: TimeDelta,
    /// A job that no connected node can serve any more waits this long for one.
    pub nodes_gone_wait: TimeDelta,
    /// An interactive job waits at most this long for its first lease, or for its next.
    pub interactive_wait_max: TimeDelta,
    /// A batch job waits at most this long for its first lease, or for its next; less than its hold lasts.
    pub batch_wait_max: TimeDelta,
    /// In the queue a job counts as due at most this long after it came, so that no later job outruns it for ever.
    pub ageing: TimeDelta,
    /// A consumer that takes nothing for this long while something waits for it loses its job.
    pub consumer_stall_max: TimeDelta,
    /// Leases a job may have.
    pub attempts_max: u32,
    /// Jobs bound to a cell beyond its slots.
    pub backlog: u32,
    /// Jobs that wait for one model.
    pub queue_jobs_max: usize,
    /// Jobs of one tenant that wait for one model.
    pub queue_tenant_jobs_max: usize,
    /// Prompt tokens that wait for one model.
    pub queue_tokens_max: u64,
    /// Bytes of text that a token may bring, on average over a job.
    pub token_text_bytes_max: u64,
    /// Which jobs are audited; none by default.
    pub audits: AuditRules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            currency: Currency::USD,
            offer_expiry: TimeDelta::milliseconds(250),
            offer_rest: TimeDelta::milliseconds(250),
            lease_ttl: TimeDelta::seconds(3),
            first_token_max: TimeDelta::seconds(30),
            first_token_prior: TimeDelta::milliseconds(500),
            node_silence_max: TimeDelta::seconds(6),
            nodes_gone_wait: TimeDelta::seconds(10),
            interactive_wait_max: TimeDelta::seconds(60),
            batch_wait_max: TimeDelta::hours(1),
            ageing: TimeDelta::seconds(10),
            consumer_stall_max: TimeDelta::seconds(30),
            attempts_max: 3,
            backlog: 0,
            queue_jobs_max: 4_096,
            queue_tenant_jobs_max: 1_024,
            queue_tokens_max: 16_777_216,
            token_text_bytes_max: 1_024,
            audits: AuditRules::default(),
        }
    }
}
