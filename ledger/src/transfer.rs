//! Transfers: the kinds, the economics tags, and how their identifiers come about.

use primitives::id::{NodeId, ProviderId, TenantId, TransferId};
use primitives::money::Nanos;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::account::AccountKey;

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Moves money.
    Posted,
    /// Holds money until it is captured or voided.
    Pending,
    /// Moves at most what a hold holds, and releases the rest.
    Capture,
    /// Releases all that a hold holds.
    Void,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Posted, Self::Pending, Self::Capture, Self::Void];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Pending => "pending",
            Self::Capture => "capture",
            Self::Void => "void",
        }
    }

    /// The kind of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where a revenue leg belongs in token economics; each has exactly one.
///
/// *Source*: `token-economics.md` §4. A bucket joins when the first recipe uses it; the database knows them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Enters scale × efficiency × value.
    Productive,
}

impl Bucket {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Productive => "PRODUCTIVE",
        }
    }
}

/// The dimensions of a revenue or cost leg: the leaf of every economics report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub tenant_id: TenantId,
    pub model: String,
    pub node_id: NodeId,
    pub provider_id: ProviderId,
    pub product_line: String,
}

/// A transfer as a recipe writes it, before accounts have numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub movement: Movement,
    pub debit: AccountKey,
    pub credit: AccountKey,
    pub amount: Nanos,
    pub bucket: Option<Bucket>,
    pub leaf: Option<Leaf>,
}

/// What a draft does, with the hold that it resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    Posted,
    Pending,
    Capture { of: TransferId, held: Nanos },
    Void { of: TransferId, held: Nanos },
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
    pub fn resolves(self) -> Option<TransferId> {
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

/// The identifier of a group's transfer: the same group gives the same identifiers however often it is tried.
///
/// *Shape*: a UUIDv7 with the first 48 bits (the time) of the link and 74 bits of SHA-256 over link, recipe and position.
pub(crate) fn transfer_id(link: Uuid, recipe: &str, position: i16) -> TransferId {
    let mut hasher = Sha256::new();
    hasher.update(link.as_bytes());
    hasher.update(recipe.as_bytes());
    hasher.update(position.to_le_bytes());
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&link.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&digest[..10]);
    TransferId(uuid::Builder::from_bytes(bytes).with_version(uuid::Version::SortRand).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfers_identifier_is_a_v7_of_its_links_time() {
        let link: Uuid = "01920000-1234-7000-8000-000000000001".parse().unwrap();
        let (a, b) = (transfer_id(link, "job_hold", 0).0, transfer_id(link, "job_hold", 1).0);
        assert_eq!(a, transfer_id(link, "job_hold", 0).0);
        assert_ne!(a, b);
        assert_ne!(a, transfer_id(link, "job_void", 0).0);
        assert_eq!(a.get_version(), Some(uuid::Version::SortRand));
        assert_eq!(a.get_timestamp(), link.get_timestamp());
    }
}
