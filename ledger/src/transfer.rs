//! Transfers: the kinds, and a transfer as a recipe writes it.

use primitives::id::TransferId;
use primitives::money::Nanos;
use uuid::Uuid;

use crate::account::AccountKey;
use crate::leaf::Leaf;

/// Transfers of one shard are numbered from `shard × SEQS_PER_SHARD + 1` on.
pub(crate) const SEQS_PER_SHARD: i64 = 1_000_000_000_000_000;

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Kind {
    /// Moves an amount.
    Posted = 1,
    /// Holds an amount until it is captured or voided.
    Pending = 2,
    /// Moves at most what a hold holds, and releases the rest.
    Capture = 3,
    /// Releases all that a hold holds.
    Void = 4,
    /// Moves nothing and heads a group of facts alone.
    Note = 5,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Posted, Self::Pending, Self::Capture, Self::Void, Self::Note];

    /// The number stored.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The word shown; `ledger.kinds` has the same.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Pending => "pending",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Note => "note",
        }
    }

    /// The kind of that number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// A transfer as a recipe writes it, before it and its accounts have numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub movement: Movement,
    pub debit: AccountKey,
    pub credit: AccountKey,
    pub amount: Nanos,
    pub leaf: Option<Leaf>,
}

impl Draft {
    /// Moves an amount.
    pub fn posted(debit: AccountKey, credit: AccountKey, amount: Nanos, leaf: Option<Leaf>) -> Self {
        Self { movement: Movement::Posted, debit, credit, amount, leaf }
    }
}

/// What a draft does, with the hold that it resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    Posted,
    Pending,
    Capture { of: i64, held: Nanos },
    Void { of: i64, held: Nanos },
}

impl Movement {
    pub fn kind(self) -> Kind {
        match self {
            Self::Posted => Kind::Posted,
            Self::Pending => Kind::Pending,
            Self::Capture { .. } => Kind::Capture,
            Self::Void { .. } => Kind::Void,
        }
    }

    /// The hold that it resolves.
    pub fn resolves(self) -> Option<i64> {
        match self {
            Self::Posted | Self::Pending => None,
            Self::Capture { of, .. } | Self::Void { of, .. } => Some(of),
        }
    }

    /// What it adds to both sides' posted and pending totals.
    pub fn deltas(self, amount: Nanos) -> (i64, i64) {
        match self {
            Self::Posted => (amount.0, 0),
            Self::Pending => (0, amount.0),
            Self::Capture { held, .. } => (amount.0, -held.0),
            Self::Void { held, .. } => (0, -held.0),
        }
    }
}

/// A transfer's identifier where people see it: its number, in the shape of other identifiers.
///
/// *Shape*: a UUIDv8 whose last 62 bits are the number.
pub(crate) fn transfer_id(seq: i64) -> TransferId {
    let number = u64::try_from(seq).expect("transfers are numbered from 1 on");
    let bytes = (u128::from(number)).to_be_bytes();
    TransferId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The identifier of an event that is named by others: a UUIDv8 of SHA-256 over what names it.
pub(crate) fn named_link(parts: &[&[u8]]) -> Uuid {
    use sha2::{Digest, Sha256};

    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfers_identifier_ends_with_its_number() {
        assert_eq!(transfer_id(0x1234).0.to_string(), "00000000-0000-8000-8000-000000001234");
        let last = transfer_id(99 * SEQS_PER_SHARD + SEQS_PER_SHARD - 1);
        assert_ne!(last, transfer_id(98 * SEQS_PER_SHARD + SEQS_PER_SHARD - 1));
        assert_eq!(last.0.get_version(), Some(uuid::Version::Custom));
    }
}
