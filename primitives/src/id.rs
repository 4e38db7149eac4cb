//! Typed identifiers: UUIDv7 inside, a prefix and 32 hexadecimal digits where people see them.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Clock;

/// A replica of the control plane, by the number of its start: one that was declared gone and comes back has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "postgres", derive(sqlx::Type))]
#[cfg_attr(feature = "postgres", sqlx(transparent))]
pub struct ReplicaId(pub i32);

/// What every identifier type can do.
pub trait Id: Copy + From<Uuid> + Into<Uuid> + fmt::Display + FromStr<Err = BadId> {
    /// The letters before the underscore.
    const PREFIX: &'static str;
}

/// A text that is not an identifier of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an identifier such as `{prefix}_0192…` (32 hexadecimal digits after the prefix)")]
pub struct BadId {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "postgres", derive(sqlx::Type))]
        #[cfg_attr(feature = "postgres", sqlx(transparent))]
        pub struct $name(pub Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { prefix: $prefix };
                let digits = text.strip_prefix(concat!($prefix, "_")).ok_or(bad.clone())?;
                if digits.len() != 32 {
                    return Err(bad);
                }
                Uuid::try_parse(digits).map(Self).map_err(|_| bad)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A secret that opens the APIs for one project; this is its public handle.
    ApiKeyId = "key";
    /// A provider's price for a model on a node.
    AskId = "ask";
    /// What can serve a model: its weights on an engine and a chip.
    CellId = "cell";
    /// A signed statement of a cell's alignment.
    CertificateId = "cert";
    /// A finding that a node runs another model than it says.
    ConvictionId = "conv";
    /// A code on its way to an address, to prove it.
    EmailChallengeId = "chal";
    /// One unit of work: a request that becomes tokens and money.
    JobId = "job";
    /// A one-time right to join a node to a provider.
    JoinTokenId = "jtk";
    /// One machine that does work.
    NodeId = "node";
    /// A price of the price book, immutable.
    PriceId = "price";
    /// A tenant's budget and key scope.
    ProjectId = "proj";
    /// Who supplies nodes.
    ProviderId = "prov";
    /// A signed-in browser.
    SessionId = "sess";
    /// Who pays.
    TenantId = "ten";
    /// One balanced debit and credit.
    TransferId = "tr";
    /// A person.
    UserId = "user";
}

/// The program's source of identifiers and secrets; clones share one generator.
#[derive(Clone)]
pub struct Ids {
    clock: Clock,
    generator: Arc<Mutex<ChaCha20Rng>>,
}

impl Ids {
    /// Unpredictable identifiers, seeded by the operating system.
    pub fn random(clock: Clock) -> Self {
        Self::from_generator(clock, rand::make_rng())
    }

    /// The same identifiers for the same seed and clock, for tests.
    pub fn seeded(clock: Clock, seed: u64) -> Self {
        Self::from_generator(clock, ChaCha20Rng::seed_from_u64(seed))
    }

    fn from_generator(clock: Clock, generator: ChaCha20Rng) -> Self {
        Self { clock, generator: Arc::new(Mutex::new(generator)) }
    }

    /// A fresh identifier that sorts by its time of making.
    pub fn next<T: Id>(&self) -> T {
        let millis = self.clock.now().timestamp_millis().unsigned_abs();
        T::from(uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid())
    }

    /// Fresh random bytes, fit for secrets.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back_from_its_text() {
        let ids = Ids::seeded(Clock::system(), 1);
        let id: JobId = ids.next();
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        assert_eq!(serde_json::from_str::<JobId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }

    #[test]
    fn an_identifier_of_another_kind_is_refused() {
        let ids = Ids::seeded(Clock::system(), 1);
        let node: NodeId = ids.next();
        let error = node.to_string().parse::<JobId>().unwrap_err();
        assert!(error.to_string().contains("job_"), "{error}");
        assert!("job_12".parse::<JobId>().is_err());
    }

    #[test]
    fn identifiers_sort_by_time() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000));
        let ids = Ids::seeded(clock.clone(), 2);
        let first: JobId = ids.next();
        clock.advance(chrono::TimeDelta::milliseconds(1));
        assert!(ids.next::<JobId>() > first);
    }

    #[test]
    fn the_same_seed_gives_the_same_identifiers() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let (a, b) = (Ids::seeded(clock.clone(), 7), Ids::seeded(clock, 7));
        assert_eq!(a.next::<TenantId>(), b.next::<TenantId>());
    }
}
