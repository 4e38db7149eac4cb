//! The rows of a block, as they are stored, as they are hashed and as a proof spells them. The order of fields is the order of
//! columns; a proof leaves out what no hash covers.

use chrono::serde::{ts_microseconds, ts_microseconds_option};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, Type};
use uuid::Uuid;

use crate::account::Account;

/// `ledger.accounts`, at its opening.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.accounts")]
pub(crate) struct AccountRow {
    pub id: i64,
    #[serde(skip)]
    pub shard: i16,
    #[serde(skip)]
    pub block_height: i64,
    pub code: i16,
    pub normal_side: String,
    pub no_overdraft: bool,
    pub unit: String,
    pub owner_id: Option<Uuid>,
    pub lot_id: Option<Uuid>,
    #[serde(serialize_with = "ts_microseconds_option::serialize")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub debits_posted_nanos: i64,
    #[serde(skip)]
    pub credits_posted_nanos: i64,
    #[serde(skip)]
    pub debits_pending_nanos: i64,
    #[serde(skip)]
    pub credits_pending_nanos: i64,
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
    pub first_group_seq: i64,
    #[serde(skip)]
    pub groups_count: i32,
    #[serde(skip)]
    pub accounts_count: i32,
    #[serde(skip)]
    pub transfers_count: i32,
    #[serde(skip)]
    pub facts_count: i32,
    pub accounts_total: i64,
    pub open_from_seq: i64,
    #[serde(serialize_with = "hexadecimal")]
    pub prev_hash: Vec<u8>,
    #[serde(serialize_with = "hexadecimal")]
    pub hash: Vec<u8>,
}

/// `ledger.groups`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.groups")]
pub(crate) struct GroupRow {
    #[serde(skip)]
    pub shard: i16,
    pub seq: i64,
    #[serde(skip)]
    pub block_height: i64,
    pub link_id: Uuid,
    pub recipe: String,
    #[serde(serialize_with = "hexadecimal")]
    pub body_hash: Vec<u8>,
    #[serde(serialize_with = "ts_microseconds::serialize")]
    pub event_at: DateTime<Utc>,
    #[serde(serialize_with = "ts_microseconds_option::serialize")]
    pub expires_at: Option<DateTime<Utc>>,
    pub reference: Option<String>,
}

/// `ledger.transfers`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.transfers")]
pub(crate) struct TransferRow {
    #[serde(skip)]
    pub shard: i16,
    pub group_seq: i64,
    pub position: i16,
    pub id: Uuid,
    pub kind: String,
    pub debit_account_id: i64,
    pub credit_account_id: i64,
    pub amount_nanos: i64,
    pub pending_id: Option<Uuid>,
    pub bucket: Option<String>,
    pub tenant_id: Option<Uuid>,
    pub model: Option<String>,
    pub node_id: Option<Uuid>,
    pub provider_id: Option<Uuid>,
    pub product_line: Option<String>,
}

/// `ledger.usage_facts`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Type, Serialize)]
#[sqlx(type_name = "ledger.usage_facts")]
pub(crate) struct FactRow {
    #[serde(skip)]
    pub shard: i16,
    pub group_seq: i64,
    pub job_id: Uuid,
    pub segment: i16,
    pub meter: String,
    pub tenant_id: Uuid,
    pub model: String,
    pub node_id: Uuid,
    pub provider_id: Uuid,
    pub quantity: i64,
    pub price_id: Uuid,
    pub amount_nanos: i64,
    #[serde(serialize_with = "ts_microseconds::serialize")]
    pub event_at: DateTime<Utc>,
}

fn hexadecimal<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex::encode(bytes))
}

/// Bytes on their way into SHA-256; the form is described in [`crate::block`].
pub(crate) struct Canonical(pub Sha256);

impl Canonical {
    pub fn i16(&mut self, value: i16) {
        self.0.update(value.to_le_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.0.update(value.to_le_bytes());
    }

    pub fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("no list in a block has four billion rows");
        self.0.update(count.to_le_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn uuid(&mut self, uuid: Uuid) {
        self.0.update(uuid.as_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    pub fn instant(&mut self, instant: DateTime<Utc>) {
        self.i64(instant.timestamp_micros());
    }

    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.update([u8::from(value.is_some())]);
        if let Some(value) = value {
            write(self, value);
        }
    }
}

impl AccountRow {
    pub fn opened(account: &Account, shard: i16, block_height: i64) -> Self {
        let key = account.key;
        Self {
            id: account.id.0,
            shard,
            block_height,
            code: key.code.number(),
            normal_side: key.code.side().as_str().to_owned(),
            no_overdraft: key.code.no_overdraft(),
            unit: key.unit.as_str().to_owned(),
            owner_id: key.owner,
            lot_id: key.lot,
            expires_at: account.expires_at,
            debits_posted_nanos: 0,
            credits_posted_nanos: 0,
            debits_pending_nanos: 0,
            credits_pending_nanos: 0,
        }
    }

    pub fn write(&self, out: &mut Canonical) {
        out.i64(self.id);
        out.i16(self.code);
        out.text(&self.normal_side);
        out.bytes(&[u8::from(self.no_overdraft)]);
        out.text(&self.unit);
        out.option(self.owner_id, Canonical::uuid);
        out.option(self.lot_id, Canonical::uuid);
        out.option(self.expires_at, Canonical::instant);
    }
}

impl GroupRow {
    pub fn write(&self, out: &mut Canonical) {
        out.i64(self.seq);
        out.uuid(self.link_id);
        out.text(&self.recipe);
        out.bytes(&self.body_hash);
        out.instant(self.event_at);
        out.option(self.expires_at, Canonical::instant);
        out.option(self.reference.as_deref(), Canonical::text);
    }
}

impl TransferRow {
    pub fn write(&self, out: &mut Canonical) {
        out.i64(self.group_seq);
        out.i16(self.position);
        out.uuid(self.id);
        out.text(&self.kind);
        out.i64(self.debit_account_id);
        out.i64(self.credit_account_id);
        out.i64(self.amount_nanos);
        out.option(self.pending_id, Canonical::uuid);
        out.option(self.bucket.as_deref(), Canonical::text);
        out.option(self.tenant_id, Canonical::uuid);
        out.option(self.model.as_deref(), Canonical::text);
        out.option(self.node_id, Canonical::uuid);
        out.option(self.provider_id, Canonical::uuid);
        out.option(self.product_line.as_deref(), Canonical::text);
    }
}

impl FactRow {
    pub fn write(&self, out: &mut Canonical) {
        out.i64(self.group_seq);
        out.uuid(self.job_id);
        out.i16(self.segment);
        out.text(&self.meter);
        out.uuid(self.tenant_id);
        out.text(&self.model);
        out.uuid(self.node_id);
        out.uuid(self.provider_id);
        out.i64(self.quantity);
        out.uuid(self.price_id);
        out.i64(self.amount_nanos);
        out.instant(self.event_at);
    }
}
