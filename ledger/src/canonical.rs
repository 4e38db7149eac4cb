//! Bytes on their way into SHA-256: the canonical form of rows and requests. [`crate::block`] describes it.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::account::AccountKey;
use crate::leaf::Leaf;
use crate::row::{AccountRow, CapacityRow, LeafRow, PeriodRow, StateRow, TransferRow, UsageRow};

/// Bytes that are hashed as they come.
pub(crate) struct Canonical(Sha256);

impl Canonical {
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    pub fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub fn i16(&mut self, value: i16) {
        self.0.update(value.to_le_bytes());
    }

    pub fn i32(&mut self, value: i32) {
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

    pub fn key(&mut self, key: &AccountKey) {
        self.i16(key.code.number());
        self.option(key.owner, Self::uuid);
        self.option(key.lot, Self::uuid);
        self.text(key.unit.as_str());
    }

    pub fn leaf(&mut self, leaf: &Leaf) {
        LeafRow::new(0, 0, leaf).write(self);
    }

    pub fn rows<R: Hashed>(&mut self, rows: &[R]) {
        self.count(rows.len());
        rows.iter().for_each(|row| row.write(self));
    }
}

/// A row that a block's hash covers.
pub(crate) trait Hashed {
    /// Its columns in their order.
    fn write(&self, out: &mut Canonical);
}

impl Hashed for AccountRow {
    fn write(&self, out: &mut Canonical) {
        out.i64(self.id);
        out.i16(self.code);
        out.text(&self.normal_side);
        out.bytes(&[u8::from(self.no_overdraft)]);
        out.text(&self.unit);
        out.option(self.owner_id, Canonical::uuid);
        out.option(self.lot_id, Canonical::uuid);
        out.i16(self.priority);
        out.option(self.expires_at, Canonical::instant);
    }
}

impl Hashed for LeafRow {
    fn write(&self, out: &mut Canonical) {
        out.i32(self.id);
        out.text(&self.bucket);
        out.option(self.tenant_id, Canonical::uuid);
        out.option(self.model.as_deref(), Canonical::text);
        out.option(self.node_id, Canonical::uuid);
        out.option(self.provider_id, Canonical::uuid);
        out.text(&self.product_line);
        out.option(self.meter.as_deref(), Canonical::text);
        out.option(self.waste.as_deref(), Canonical::text);
        out.option(self.price_id, Canonical::uuid);
        out.option(self.of_period, Canonical::i16);
    }
}

impl Hashed for TransferRow {
    fn write(&self, out: &mut Canonical) {
        out.i64(self.seq);
        out.i64(self.debit_account_id);
        out.i64(self.credit_account_id);
        out.i64(self.amount);
        out.i64(self.debit_prev_seq);
        out.i64(self.credit_prev_seq);
        out.option(self.leaf_id, Canonical::i32);
        out.i16(self.kind);
        out.option(self.recipe, Canonical::i16);
        out.option(self.period, Canonical::i16);
        out.option(self.pending_seq, Canonical::i64);
        out.option(self.event_at, Canonical::instant);
        out.option(self.expires_at, Canonical::instant);
        out.option(self.reverses_seq, Canonical::i64);
        out.option(self.link_id, Canonical::uuid);
        out.option(self.body, Canonical::i64);
        out.option(self.reference.as_deref(), Canonical::text);
    }
}

impl Hashed for UsageRow {
    fn write(&self, out: &mut Canonical) {
        out.i64(self.seq);
        out.i64(self.quantity);
        out.i64(self.amount);
        out.i32(self.leaf_id);
        out.i32(self.compute_ms);
        out.i16(self.line);
        out.i16(self.segment);
    }
}

impl Hashed for CapacityRow {
    fn write(&self, out: &mut Canonical) {
        out.i64(self.seq);
        out.i32(self.leaf_id);
        out.i16(self.line);
        out.i32(self.share_ppm);
        out.i32(self.rcu_milli);
        out.instant(self.from_at);
        out.instant(self.to_at);
    }
}

impl Hashed for StateRow {
    fn write(&self, out: &mut Canonical) {
        out.i64(self.seq);
        out.i64(self.account_id);
        out.text(&self.state);
        out.option(self.floor, Canonical::i64);
    }
}

impl Hashed for PeriodRow {
    fn write(&self, out: &mut Canonical) {
        out.i64(self.seq);
        out.i16(self.period);
        out.text(&self.state);
    }
}
