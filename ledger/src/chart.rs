//! The chart of accounts.
//!
//! *Source*: one table, from which the numbers, names, sides and rules are read; people see it with `tokengrid ledger chart`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The side that makes an account grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Assets, costs and contra accounts.
    Debit,
    /// Liabilities and revenue.
    Credit,
}

impl Side {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

macro_rules! chart {
    ($($(#[$doc:meta])* $code:ident = $number:literal $name:literal $side:ident $(, $rule:ident)?;)*) => {
        /// An account's code in the chart of accounts; as data its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "i16", into = "i16")]
        #[repr(i16)]
        pub enum Code {
            $($(#[$doc])* $code = $number,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The code of that number.
            pub fn from_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$code),)*
                    _ => None,
                }
            }

            /// The name in the chart.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// The side that makes accounts of this code grow.
            pub fn side(self) -> Side {
                match self {
                    $(Self::$code => Side::$side,)*
                }
            }

            /// True where what is posted less what is held may never go below zero: what is not there cannot be spent.
            pub fn no_overdraft(self) -> bool {
                match self {
                    $(Self::$code => false $(|| stringify!($rule).len() > 0)?,)*
                }
            }
        }
    };
}

chart! {
    /// Money at the bank.
    Bank = 1000 "bank" Debit;
    /// Money at the card processor; must come to zero by payouts.
    ProcessorClearing = 1010 "processor clearing" Debit;
    /// Money on its way to or from the bank; must come to zero.
    PayoutInTransit = 1020 "payout in transit" Debit;
    /// What a tenant owes by invoice.
    Receivable = 1100 "accounts receivable" Debit;
    /// What a tenant used and was not invoiced for yet.
    UnbilledReceivable = 1110 "unbilled receivable" Debit;
    /// What a card holder disputes; must come to zero.
    DisputedFunds = 1120 "disputed funds" Debit;
    /// What a tenant used beyond its hold.
    OverrunReceivable = 1130 "overrun receivable" Debit;
    /// What a provider was paid too much.
    ProviderAdvances = 1200 "provider advances" Debit;
    /// What a tenant paid and has not used.
    PaidCredits = 2000 "paid credits" Credit, prepaid;
    /// What a tenant was given and has not used.
    PromoCredits = 2010 "promo credits" Credit, prepaid;
    /// What a tenant was credited for service that missed its objective, and has not used: owed, so no gift.
    ServiceCredits = 2015 "service credits" Credit, prepaid;
    /// The other side of promo credits, so that gifts are no debt.
    PromoContra = 2019 "promo contra" Debit;
    /// What was paid for tokens of a pack that are not used.
    PackObligation = 2020 "token-pack obligation" Credit, prepaid;
    /// What was paid for reserved throughput of time to come.
    DeferredThroughput = 2030 "deferred throughput" Credit, prepaid;
    /// What was paid for compute leases of time to come.
    DeferredLease = 2040 "deferred compute lease" Credit, prepaid;
    /// What was invoiced for licences of time to come.
    DeferredLicence = 2050 "deferred licence" Credit, prepaid;
    /// What a provider has earned and was not paid.
    ProviderPayable = 2100 "provider payable" Credit, prepaid;
    /// What a provider has earned and may still have to give back.
    ProviderReserve = 2110 "provider payable on hold" Credit, prepaid;
    /// Sales tax and VAT to hand on.
    TaxPayable = 2200 "tax payable" Credit;
    /// Tax withheld from providers, to hand on.
    WithholdingPayable = 2210 "withholding payable" Credit;
    /// What is being paid back to tenants; must come to zero.
    RefundsPayable = 2300 "refunds payable" Credit, prepaid;
    /// Credit that lapsed and has to be kept for its owner or the state.
    UnclaimedProperty = 2900 "unclaimed property" Credit;
    /// Gross revenue from inference.
    InferenceRevenue = 4000 "inference revenue" Credit;
    /// Revenue from reserved throughput.
    ThroughputRevenue = 4010 "reserved-throughput revenue" Credit;
    /// Revenue from capacity leased by time.
    LeaseRevenue = 4020 "lease revenue" Credit;
    /// Revenue from licences.
    LicenceRevenue = 4030 "licence revenue" Credit;
    /// The platform's part, where the provider is the seller.
    PlatformFeeRevenue = 4040 "platform fee revenue" Credit;
    /// Credit that lapsed.
    BreakageRevenue = 4050 "breakage revenue" Credit;
    /// The part of the revenue that gifts paid for.
    PromoContraRevenue = 4900 "promo contra-revenue" Debit;
    /// Revenue given back.
    RefundsAllowed = 4910 "refunds and allowances" Debit;
    /// What providers cost.
    ProviderCost = 5000 "provider cost" Debit;
    /// What the card processor takes.
    ProcessorFees = 5100 "processor fees" Debit;
    /// What lost disputes cost, and their fees.
    DisputeLosses = 5200 "dispute losses and fees" Debit;
    /// Receivables that nobody will pay.
    BadDebt = 5300 "bad debt" Debit;
    /// Gain and loss by exchange rates.
    ExchangeDifference = 7000 "exchange difference" Debit;
    /// Tokens of packs sold; the other side of all that is held, burned and expired.
    PackIssued = 8000 "pack tokens issued" Debit;
    /// Tokens of a pack that a tenant holds.
    PackHeld = 8010 "pack tokens held" Credit, prepaid;
    /// Tokens of packs used.
    PackBurned = 8020 "pack tokens burned" Credit;
    /// Tokens of packs lapsed.
    PackExpired = 8030 "pack tokens expired" Credit;
    /// What rounding to cents leaves over.
    Rounding = 9100 "rounding" Debit;
    /// Money on its way from one currency to another; both sides of a conversion are in one group.
    ExchangeClearing = 9900 "exchange clearing" Debit;
    /// What nobody could explain yet; must be zero.
    Suspense = 9910 "suspense" Debit;
}

impl Code {
    /// The number in the chart.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// True for accounts that must come to zero: what stands on them is on its way, and somebody has to look where it is stuck.
    pub fn clearing(self) -> bool {
        matches!(
            self,
            Self::ProcessorClearing
                | Self::PayoutInTransit
                | Self::DisputedFunds
                | Self::RefundsPayable
                | Self::ExchangeClearing
                | Self::Suspense
        )
    }

    /// True for what pays for jobs: a tenant's credit, however it came by it.
    pub fn credit(self) -> bool {
        matches!(self, Self::PaidCredits | Self::PromoCredits | Self::ServiceCredits)
    }

    /// True for revenue and what is taken off it.
    pub fn revenue(self) -> bool {
        (4000..5000).contains(&self.number())
    }
}

/// A number that no account has in the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not in the chart of accounts")]
pub struct BadCode(i16);

impl TryFrom<i16> for Code {
    type Error = BadCode;

    fn try_from(number: i16) -> Result<Self, BadCode> {
        Self::from_number(number).ok_or(BadCode(number))
    }
}

impl From<Code> for i16 {
    fn from(code: Code) -> Self {
        code.number()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_in_order_and_every_number_leads_back_to_its_code() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for &code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!(Code::from_number(1), None);
        assert!(Code::PaidCredits.no_overdraft() && !Code::Bank.no_overdraft());
    }
}
