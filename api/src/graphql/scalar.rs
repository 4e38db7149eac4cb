//! Numbers that must not pass through floats, money, and identifiers.

use async_graphql::{ID, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value};
use primitives::id::Id;
use primitives::money;
use serde::Serialize;

use crate::error::Error;

/// An exact decimal number, written as a string such as "0.0015".
#[derive(Clone, Copy, Debug)]
pub struct Decimal(pub rust_decimal::Decimal);

#[Scalar]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(Self(text.parse()?)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A whole number of up to 64 bits, written as a string such as "1200"; an input may be a number too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BigInt(pub i64);

#[Scalar]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(Self(text.parse()?)),
            Value::Number(number) => number.as_i64().map(Self).ok_or_else(|| InputValueError::expected_type(value)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

impl From<u32> for BigInt {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

/// An amount of money.
#[derive(Clone, Copy, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Money {
    /// How much, in major units with at most 9 decimals.
    pub amount: Decimal,
    #[graphql(skip)]
    pub currency: money::Currency,
}

#[async_graphql::ComplexObject]
impl Money {
    /// Of what, such as "USD".
    async fn currency(&self) -> &str {
        self.currency.as_str()
    }
}

impl From<money::Money> for Money {
    fn from(money::Money { amount, currency }: money::Money) -> Self {
        Self { amount: Decimal(amount.to_decimal()), currency }
    }
}

/// An identifier as people see it, as one of its kind. *Errors*: another kind, or none.
pub fn id<T: Id>(param: &str, id: &ID) -> Result<T, Error> {
    id.parse().map_err(|error| Error::invalid(param, format!("Wrong identifier: {error}.")))
}

#[cfg(test)]
mod tests {
    use primitives::id::JobId;

    use super::*;

    #[test]
    fn a_big_number_is_read_from_a_string_or_a_number_and_written_as_a_string() {
        assert_eq!(BigInt::parse(Value::from("9007199254740993")).unwrap(), BigInt(9_007_199_254_740_993));
        assert_eq!(BigInt::parse(Value::from(7)).unwrap(), BigInt(7));
        assert_eq!(BigInt(7).to_value(), Value::from("7"));
        for bad in [Value::from("1.5"), Value::from(1.5), Value::from(true), Value::from("99999999999999999999")] {
            assert!(BigInt::parse(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_identifier_is_refused_by_the_name_of_its_field() {
        let error = id::<JobId>("jobId", &ID::from("node_0192")).unwrap_err();
        assert_eq!((error.param(), error.status()), (Some("jobId"), 400));
        assert!(error.to_string().contains("job_"), "{error}");
    }
}
