//! S × E × V = R: the three factors of a slice, and what efficiency is made of.
//!
//! *Source*: `token-economics.md` §2 and §3. It is an accounting identity, not a claim about causes.

use super::exact::{Exact, quotient, ratio, whole};
use super::facts::Slice;

/// A slice's scale, tokens and revenue; efficiency and value follow from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factors {
    /// S. *Units*: IU·RCU·h.
    pub scale: Exact,
    /// T. *Units*: thousandths of an effective token.
    pub tokens_milli: i128,
    /// R. *Units*: the money unit.
    pub revenue: i128,
}

impl Factors {
    /// T in effective tokens.
    pub fn tokens(&self) -> Exact {
        ratio(self.tokens_milli, 1_000_u64)
    }

    /// E = T / S; absent without scale, zero where capacity is idle.
    pub fn efficiency(&self) -> Option<Exact> {
        quotient(&self.tokens(), &self.scale)
    }

    /// V = R / T in money units per effective token; absent without tokens.
    pub fn value(&self) -> Option<Exact> {
        quotient(&whole(self.revenue), &self.tokens())
    }

    /// S × E × V in money units; zero where a factor is zero or absent.
    pub fn product(&self) -> Exact {
        match (self.efficiency(), self.value()) {
            (Some(efficiency), Some(value)) => &self.scale * efficiency * value,
            _ => Exact::ZERO,
        }
    }
}

/// What efficiency is made of: E = U · G · Y · W, exactly, wherever all four are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// U, the part of scale that was busy.
    pub utilisation: Option<Exact>,
    /// G, raw tokens for each busy IU·RCU·h.
    pub speed: Option<Exact>,
    /// Y, effective of raw tokens.
    pub yielded: Option<Exact>,
    /// W, the mean weight of an effective token.
    pub weight: Option<Exact>,
}

impl Split {
    /// The split of a slice.
    pub fn of(slice: &Slice) -> Self {
        let (raw, effective) = (whole(slice.tokens.raw()), whole(slice.tokens.effective));
        Self {
            utilisation: quotient(&slice.busy, &slice.scale),
            speed: quotient(&raw, &slice.busy),
            yielded: quotient(&effective, &raw),
            weight: quotient(&slice.factors().tokens(), &effective),
        }
    }
}
