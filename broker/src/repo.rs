//! All the room's SQL.

mod capability;
mod earnings;
mod jobs;
mod leases;
mod nodes;
mod presences;
mod supply;
mod trust;

use std::fmt::Display;

pub(crate) use capability::{
    cell_certify, cell_get, cell_insert, cell_of_provider, cell_state, cells_of_nodes, cells_page, certificate_find,
    certificate_insert, models_of_weights, node_cell_put, node_keys,
};
pub(crate) use earnings::{
    holdback_change, holdback_insert, holdbacks_due, holdbacks_forfeit, holdbacks_lapsed, holdbacks_of, provider_days,
    provider_days_add, provider_days_read, provider_days_read_to, provider_nodes_total,
};
pub(crate) use jobs::{
    job_find, job_finish, job_insert, job_refuse, job_streaming, jobs_ended, jobs_other_choices, jobs_page,
    jobs_replicas, jobs_unfinished, jobs_unfinished_of, jobs_usage,
};
pub(crate) use leases::{leases_abandon, leases_end, leases_insert, leases_of, receipts_insert};
pub(crate) use nodes::{
    join_token_revoke, join_tokens, node_drain, node_event_insert, node_events, node_rename, node_score, node_state,
    node_status_before, node_step, nodes_probation, nodes_proven,
};
pub(crate) use presences::{presences_extend, presences_forget, presences_reported, presences_unreported};
pub(crate) use supply::{
    ask_insert, asks_current, asks_history, join_token_find, join_token_insert, join_token_use, model_find, model_list,
    model_upsert, node_find, node_insert, node_list, node_of_token, node_touch, nodes_some, provider_find,
    provider_insert,
};

pub(crate) use trust::{
    audit_insert, audits_judged, audits_open, conviction_appeal, conviction_decide, conviction_find, conviction_insert,
    convictions_due, convictions_page, convictions_uphold, node_evidence,
};

use crate::{Error, Result};

/// A row being read: what cannot be read in it is named.
struct Row<'a> {
    table: &'static str,
    id: &'a dyn Display,
}

impl Row<'_> {
    fn read<T>(&self, column: &'static str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::BrokenRow { table: self.table, column, id: self.id.to_string() })
    }

    fn number(&self, column: &'static str, value: i64) -> Result<u32> {
        self.read(column, u32::try_from(value).ok())
    }

    fn word<T: Copy>(&self, column: &'static str, word: &str, all: &[T], as_str: fn(T) -> &'static str) -> Result<T> {
        self.read(column, all.iter().copied().find(|value| as_str(*value) == word))
    }

    fn bytes<const N: usize>(&self, column: &'static str, bytes: Vec<u8>) -> Result<[u8; N]> {
        self.read(column, bytes.try_into().ok())
    }
}

/// Names the constraint that a statement broke, if that is what failed.
fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}
