//! The rows of a block, as they are stored, as they are hashed and as a proof spells them. The order of fields is the order of
//! columns; a proof leaves out what no hash covers.

use chrono::serde::{ts_microseconds, ts_microseconds_option};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{FromRow, Type};
use uuid::Uuid;

use crate::account::Account;
use crate::leaf::Leaf;

/// `ledger.accounts`, at its opening.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.accounts")]
pub(crate) struct AccountRow {
    pub id: i64,
    #[serde(skip)]
    pub block_height: i64,
    pub code: i16,
    pub normal_side: String,
    pub no_overdraft: bool,
    pub unit: String,
    pub owner_id: Option<Uuid>,
    pub lot_id: Option<Uuid>,
    pub priority: i16,
    #[serde(serialize_with = "ts_microseconds_option::serialize")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub debits_posted: i64,
    #[serde(skip)]
    pub credits_posted: i64,
    #[serde(skip)]
    pub debits_pending: i64,
    #[serde(skip)]
    pub credits_pending: i64,
    #[serde(skip)]
    pub last_seq: i64,
    #[serde(skip)]
    pub transfers_count: i64,
    #[serde(skip)]
    pub state: String,
    #[serde(skip)]
    pub floor: Option<i64>,
}

impl AccountRow {
    pub fn opened(account: &Account, block_height: i64) -> Self {
        let key = account.key;
        Self {
            id: account.id.0,
            block_height,
            code: key.code.number(),
            normal_side: key.code.side().as_str().to_owned(),
            no_overdraft: key.code.no_overdraft(),
            unit: key.unit.as_str().to_owned(),
            owner_id: key.owner,
            lot_id: key.lot,
            priority: account.terms.priority.0,
            expires_at: account.terms.expires_at,
            debits_posted: 0,
            credits_posted: 0,
            debits_pending: 0,
            credits_pending: 0,
            last_seq: 0,
            transfers_count: 0,
            state: String::new(),
            floor: None,
        }
    }
}

/// `ledger.blocks`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.blocks")]
pub(crate) struct BlockRow {
    #[serde(skip)]
    pub shard: i16,
    pub height: i64,
    pub epoch: i64,
    #[serde(serialize_with = "ts_microseconds::serialize")]
    pub at: DateTime<Utc>,
    pub first_seq: i64,
    #[serde(skip)]
    pub transfers_count: i32,
    #[serde(skip)]
    pub accounts_count: i32,
    #[serde(skip)]
    pub leaves_count: i32,
    #[serde(skip)]
    pub usage_count: i32,
    #[serde(skip)]
    pub capacity_count: i32,
    #[serde(skip)]
    pub states_count: i32,
    #[serde(skip)]
    pub periods_count: i32,
    pub accounts_total: i64,
    pub leaves_total: i32,
    pub open_from_seq: i64,
    #[serde(serialize_with = "hexadecimal")]
    pub prev_hash: Vec<u8>,
    #[serde(serialize_with = "hexadecimal")]
    pub hash: Vec<u8>,
}

/// `ledger.leaves`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.leaves")]
pub(crate) struct LeafRow {
    #[serde(skip)]
    pub shard: i16,
    pub id: i32,
    pub bucket: String,
    pub tenant_id: Option<Uuid>,
    pub model: Option<String>,
    pub node_id: Option<Uuid>,
    pub provider_id: Option<Uuid>,
    pub product_line: String,
    pub meter: Option<String>,
    pub waste: Option<String>,
    pub price_id: Option<Uuid>,
    pub of_period: Option<i16>,
}

impl LeafRow {
    pub fn new(shard: i16, id: i32, leaf: &Leaf) -> Self {
        Self {
            shard,
            id,
            bucket: leaf.bucket.as_str().to_owned(),
            tenant_id: leaf.tenant_id.map(Uuid::from),
            model: leaf.model.clone(),
            node_id: leaf.node_id.map(Uuid::from),
            provider_id: leaf.provider_id.map(Uuid::from),
            product_line: leaf.product_line.clone(),
            meter: leaf.meter.clone(),
            waste: leaf.waste.map(|waste| waste.as_str().to_owned()),
            price_id: leaf.price_id.map(Uuid::from),
            of_period: leaf.of_period.map(|month| month.number()),
        }
    }
}

/// `ledger.transfers`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.transfers")]
pub(crate) struct TransferRow {
    pub seq: i64,
    pub debit_account_id: i64,
    pub credit_account_id: i64,
    pub amount: i64,
    pub debit_prev_seq: i64,
    pub credit_prev_seq: i64,
    pub leaf_id: Option<i32>,
    pub kind: i16,
    pub recipe: Option<i16>,
    pub period: Option<i16>,
    pub pending_seq: Option<i64>,
    #[serde(serialize_with = "ts_microseconds_option::serialize")]
    pub event_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "ts_microseconds_option::serialize")]
    pub expires_at: Option<DateTime<Utc>>,
    pub reverses_seq: Option<i64>,
    pub link_id: Option<Uuid>,
    pub body: Option<i64>,
    pub reference: Option<String>,
}

/// `ledger.usage_facts`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.usage_facts")]
pub(crate) struct UsageRow {
    pub seq: i64,
    pub quantity: i64,
    pub amount: i64,
    pub leaf_id: i32,
    pub compute_ms: i32,
    pub line: i16,
    pub segment: i16,
}

/// `ledger.capacity_facts`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.capacity_facts")]
pub(crate) struct CapacityRow {
    pub seq: i64,
    pub leaf_id: i32,
    pub line: i16,
    pub share_ppm: i32,
    pub rcu_milli: i32,
    #[serde(serialize_with = "ts_microseconds::serialize")]
    pub from_at: DateTime<Utc>,
    #[serde(serialize_with = "ts_microseconds::serialize")]
    pub to_at: DateTime<Utc>,
}

/// `ledger.account_states`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.account_states")]
pub(crate) struct StateRow {
    pub seq: i64,
    pub account_id: i64,
    pub state: String,
    pub floor: Option<i64>,
}

/// `ledger.period_states`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.period_states")]
pub(crate) struct PeriodRow {
    pub seq: i64,
    pub period: i16,
    pub state: String,
}

/// `ledger.checkpoints`: derived, so no hash covers it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type)]
#[sqlx(type_name = "ledger.checkpoints")]
pub(crate) struct CheckpointRow {
    pub account_id: i64,
    pub seq: i64,
    pub debits_posted: i64,
    pub credits_posted: i64,
    pub debits_pending: i64,
    pub credits_pending: i64,
}

impl CheckpointRow {
    /// What an account has after its last transfer.
    pub fn of(account: &Account) -> Self {
        Self {
            account_id: account.id.0,
            seq: account.last_seq,
            debits_posted: account.debits_posted,
            credits_posted: account.credits_posted,
            debits_pending: account.debits_pending,
            credits_pending: account.credits_pending,
        }
    }
}

fn hexadecimal<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex::encode(bytes))
}
