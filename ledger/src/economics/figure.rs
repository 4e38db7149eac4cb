//! Figures as they are shown: a tree of named texts and counts, and the words and decimals that money and scale have in it.

use indexmap::IndexMap;
use primitives::money::Currency;
use serde::Serialize;

use super::exact::{Exact, decimal, fraction, whole};
use super::inputs::PPM;

/// One figure, or figures by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// What is undefined is absent, never zero.
    Absent,
    /// A decimal, a fraction or a word.
    Text(String),
    /// A whole number.
    Count(i128),
    /// Yes or no.
    Flag(bool),
    /// Figures by name.
    Group(Group),
    /// Figures in order.
    List(Vec<Figure>),
}

/// Figures by name, in the order in which they are shown.
pub type Group = IndexMap<String, Figure>;

impl Figure {
    /// Words in order.
    pub fn words<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::List(words.into_iter().map(|word| Self::Text(word.into())).collect())
    }

    /// How many there are.
    pub fn of_count(count: usize) -> Self {
        Self::Count(i128::try_from(count).expect("no memory holds 2^127 things"))
    }

    /// The fraction in lowest terms, and its decimal.
    pub fn ratio(value: &Exact, places: usize) -> Self {
        let rows = [("frac", fraction(value)), ("dec", decimal(value, places))];
        Self::Group(rows.into_iter().map(|(name, text)| (name.to_owned(), Self::Text(text))).collect())
    }

    /// The decimal of what is defined.
    pub fn decimal(value: Option<Exact>, places: usize) -> Self {
        value.map_or(Self::Absent, |value| Self::Text(decimal(&value, places)))
    }
}

impl From<String> for Figure {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Figure {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Group> for Figure {
    fn from(group: Group) -> Self {
        Self::Group(group)
    }
}

/// What capacity is measured in: the choice is a report's, and moves the factors but never the revenue.
///
/// *Source*: `token-economics.md` §1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// Nominal hardware against a reference chip.
    #[default]
    Rcu,
    /// What the hardware loses of its value in an hour: efficiency is tokens per depreciation.
    Depreciation,
    /// What it draws, the building included: efficiency is tokens per kWh.
    Energy,
}

impl Basis {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rcu => "RCU_HOUR",
            Self::Depreciation => "DEPRECIATION",
            Self::Energy => "ENERGY",
        }
    }
}

/// What money and scale are called and how fine money is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denomination {
    currency: String,
    unit: String,
    scale: &'static str,
    /// One of the currency is 10^places money units.
    places: u32,
}

impl Denomination {
    /// The worked example's: millionths of a yuan.
    pub fn example() -> Self {
        Self { currency: "cny".to_owned(), unit: "ucny".to_owned(), scale: "iu_rcu_h", places: 6 }
    }

    /// The ledger's: nano-units of a currency.
    pub fn ledger(currency: Currency, basis: Basis) -> Self {
        let scale = match basis {
            Basis::Rcu => "iu_rcu_h",
            Basis::Depreciation => "iu_depreciation",
            Basis::Energy => "iu_kwh",
        };
        Self { currency: currency.as_str().to_lowercase(), unit: "nanos".to_owned(), scale, places: 9 }
    }

    /// The name of a figure, from the worked example's name of it.
    pub fn name(&self, example: &str) -> String {
        example.replace("ucny", &self.unit).replace("cny", &self.currency).replace("iu_rcu_h", self.scale)
    }

    /// Money units as the currency.
    pub fn currency(&self, units: &Exact) -> Exact {
        units / whole(10_u64.pow(self.places))
    }

    /// Whole money units, shown to the last.
    pub fn money(&self, units: i128) -> Figure {
        self.amount(&whole(units), 6)
    }

    /// Money with that many places where the money unit is a millionth, and as many more as it is finer.
    pub fn amount(&self, units: &Exact, places: usize) -> Figure {
        decimal(&self.currency(units), self.finer(places)).into()
    }

    /// Money that may be undefined.
    pub fn amount_of(&self, units: Option<&Exact>, places: usize) -> Figure {
        units.map_or(Figure::Absent, |units| self.amount(units, places))
    }

    /// Money for one of something, as a fraction too.
    pub fn rate(&self, units: &Exact, places: usize) -> Figure {
        Figure::ratio(&self.currency(units), self.finer(places))
    }

    /// Money for a million of something.
    pub fn per_million(&self, units: Option<&Exact>, places: usize) -> Figure {
        units.map_or(Figure::Absent, |units| self.amount(&(units * whole(PPM)), places))
    }

    fn finer(&self, places: usize) -> usize {
        places + self.places as usize - 6
    }
}

/// Names and figures under construction.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    denomination: &'a Denomination,
    group: Group,
}

impl<'a> Rows<'a> {
    pub fn new(denomination: &'a Denomination) -> Self {
        Self { denomination, group: Group::new() }
    }

    /// Adds a figure under the worked example's name of it.
    pub fn with(mut self, example: &str, figure: impl Into<Figure>) -> Self {
        self.group.insert(self.denomination.name(example), figure.into());
        self
    }

    pub fn done(self) -> Group {
        self.group
    }
}
