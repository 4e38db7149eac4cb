//! Letters: what replicas say to each other about the books. Requests go to the owner of a shard, and what became of them comes back.

use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::block::BlockRef;
use crate::error::Error;
use crate::hold::HoldPart;
use crate::recipe::Request;

/// How many requests one letter has at most.
pub(crate) const LETTER_REQUESTS_MAX: usize = 256;

/// Carries letters to other replicas, whatever it is that lies between.
pub trait Carrier: Send + Sync + 'static {
    /// Brings a letter to the replica at that address, and its reply back.
    fn carry<'a>(&'a self, address: &'a str, letter: Vec<u8>) -> Carried<'a>;
}

/// A letter under way.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, NotCarried>> + Send + 'a>>;

/// No reply came: whether the letter arrived is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no reply came from the other replica")]
pub struct NotCarried;

/// A text that is no letter.
#[derive(Debug, thiserror::Error)]
#[error("this is no letter to the ledger")]
pub struct BadLetter(#[from] serde_json::Error);

/// Requests to the owner of a shard.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub shard: i16,
    pub requests: Vec<Request>,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// What became of each request, in their order.
    Answers(Vec<Result<Kept, Error>>),
    /// The shard is not here; nothing was asked of anybody.
    NotHere,
}

/// A request that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub block: BlockRef,
    /// What a hold took from each lot.
    pub parts: Vec<HoldPart>,
}

impl Letter {
    /// The letter as it travels.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("requests are data all through")
    }

    /// Reads one. *Errors*: [`BadLetter`], also for more requests than a letter has.
    pub fn read(letter: &[u8]) -> Result<Self, BadLetter> {
        let letter: Self = serde_json::from_slice(letter)?;
        if letter.requests.len() > LETTER_REQUESTS_MAX {
            return Err(BadLetter(serde::de::Error::custom("too many requests")));
        }
        Ok(letter)
    }
}

impl Reply {
    /// The reply as it travels.
    pub fn write(self) -> Vec<u8> {
        let reply = match self {
            Self::Answers(answers) => {
                Self::Answers(answers.into_iter().map(|answer| answer.map_err(Error::for_others)).collect())
            }
            Self::NotHere => Self::NotHere,
        };
        serde_json::to_vec(&reply).expect("what has no name elsewhere was replaced")
    }

    /// Reads one.
    pub fn read(reply: &[u8]) -> Result<Self, BadLetter> {
        Ok(serde_json::from_slice(reply)?)
    }
}

#[cfg(test)]
mod tests {
    use primitives::id::{JobId, TenantId};
    use primitives::money::{Currency, Nanos};
    use uuid::Uuid;

    use super::*;
    use crate::account::AccountId;
    use crate::chart::Code;
    use crate::recipe::state::PeriodChange;

    fn cross(error: Error) -> Error {
        let reply = Reply::Answers(vec![Err(error)]).write();
        let Reply::Answers(mut answers) = Reply::read(&reply).unwrap() else { panic!("answers are answers") };
        answers.remove(0).unwrap_err()
    }

    #[test]
    fn a_refusal_is_the_same_on_the_other_side() {
        let (id, account) = (Uuid::from_u128(7), AccountId(200_084_000_000_000_001));
        let (tenant_id, job_id, month) = (TenantId(id), JobId(id), "2026-11".parse().unwrap());
        let (debit, credit, amount) = (Code::Bank, Code::PaidCredits, Nanos(i64::MIN));
        let refusals = [
            Error::InsufficientFunds { tenant_id, needed: Nanos(i64::MAX), available: amount },
            Error::BadAmount { what: "charge", amount },
            Error::NoOpenHold { link: id },
            Error::StrangersHold { link: id, tenant_id },
            Error::ChargeAboveHold { link: id, held: Nanos(1), charge: Nanos(2) },
            Error::UsageMismatch { job_id, charge: Nanos(3) },
            Error::Overdraft { account, available: Nanos(4) },
            Error::TwoUnits { debit: Currency::USD, credit: "TOK".parse().unwrap() },
            Error::UnknownAccount { code: debit, owner: None },
            Error::PeriodClosed { month },
            Error::PeriodUnsettled { month, reasons: vec!["one".to_owned(), "two".to_owned()] },
            Error::NoLeaf { debit, credit },
            Error::BadEvent { recipe: "pack_buy", reason: "it costs nothing" },
            Error::IdReused { link: id, recipe: "job_settle" },
            Error::WriterRunning { shard: 0 },
            Error::Unavailable,
            Error::Stopped,
            Error::Deposed { shard: 0, epoch: 9 },
        ];
        for refusal in refusals {
            let (told, debug) = (refusal.to_string(), format!("{refusal:?}"));
            let crossed = cross(refusal);
            assert_eq!((crossed.to_string(), format!("{crossed:?}")), (told, debug));
        }
    }

    #[test]
    fn a_broken_database_is_told_as_what_it_is_elsewhere() {
        let crossed = cross(Error::Database(sqlx::Error::PoolClosed));
        assert!(matches!(&crossed, Error::Elsewhere { message } if message.contains("closed pool")), "{crossed}");
    }

    #[test]
    fn a_letter_of_too_many_requests_and_a_text_that_is_none_are_refused() {
        let change = PeriodChange {
            change_id: Uuid::nil(),
            month: "2026-10".parse().unwrap(),
            state: crate::period::PeriodState::Soft,
            reason: "counted".to_owned(),
        };
        let letter = |count| Letter { shard: 0, requests: vec![change.clone().into(); count] }.write();
        assert_eq!(Letter::read(&letter(LETTER_REQUESTS_MAX)).unwrap().requests.len(), LETTER_REQUESTS_MAX);
        assert!(Letter::read(&letter(LETTER_REQUESTS_MAX + 1)).is_err());
        assert!(Letter::read(b"{}").is_err());
    }
}
