//! All the SQL of the room.

use chrono::{DateTime, Utc};
use primitives::id::PriceId;
use primitives::money::{AttoPrice, Currency};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::PgConnection;

use crate::error::Error;
use crate::meter::Meter;
use crate::price::{NewPrice, Price, PriceList};

/// The prices of a model that are in force at an instant.
///
/// *Errors*: [`Error::NoPrice`] when a meter that needs one has none.
pub async fn in_force(
    conn: &mut PgConnection,
    model: &str,
    currency: Currency,
    at: DateTime<Utc>,
) -> Result<PriceList, Error> {
    let book = Book::read(conn, model, currency, at).await?;
    let (input, output) = (book.of(Meter::Input)?, book.of(Meter::Output)?);
    Ok(PriceList { model: model.to_owned(), currency, input, cached_input: book.find(Meter::CachedInput)?, output })
}

/// The price of a token that a model reads for an embedding, in force at an instant.
///
/// *Errors*: [`Error::NoPrice`] when there is none.
pub async fn of_embeddings(
    conn: &mut PgConnection,
    model: &str,
    currency: Currency,
    at: DateTime<Utc>,
) -> Result<Price, Error> {
    Book::read(conn, model, currency, at).await?.of(Meter::Embedding)
}

/// What the price book has for a model at an instant, one row a meter.
struct Book {
    model: String,
    currency: Currency,
    rows: Vec<Row>,
}

struct Row {
    id: PriceId,
    meter: String,
    atto_per_unit: Decimal,
    valid_from: DateTime<Utc>,
}

impl Book {
    async fn read(conn: &mut PgConnection, model: &str, currency: Currency, at: DateTime<Utc>) -> Result<Self, Error> {
        let rows = sqlx::query_as!(
            Row,
            r#"
            SELECT DISTINCT ON (meter) id AS "id: PriceId", meter, atto_per_unit, valid_from
            FROM billing.prices
            WHERE model = $1
                AND currency = $2
                AND valid_from <= $3
            ORDER BY meter, valid_from DESC
            "#,
            model,
            currency.as_str(),
            at,
        )
        .fetch_all(conn)
        .await?;
        Ok(Self { model: model.to_owned(), currency, rows })
    }

    fn find(&self, meter: Meter) -> Result<Option<Price>, Error> {
        let row = self.rows.iter().find(|row| row.meter == meter.as_str());
        let price = |row: &Row| {
            Ok(Price { id: row.id, price: atto_price(row.id, row.atto_per_unit)?, valid_from: row.valid_from })
        };
        row.map(price).transpose()
    }

    fn of(&self, meter: Meter) -> Result<Price, Error> {
        let Self { model, currency, .. } = self;
        self.find(meter)?.ok_or_else(|| Error::NoPrice { model: model.clone(), meter, currency: *currency })
    }
}

/// One price of the book.
pub async fn get(conn: &mut PgConnection, id: PriceId) -> Result<Price, Error> {
    let row = sqlx::query!("SELECT atto_per_unit, valid_from FROM billing.prices WHERE id = $1", id.0)
        .fetch_one(conn)
        .await?;
    Ok(Price { id, price: atto_price(id, row.atto_per_unit)?, valid_from: row.valid_from })
}

/// Puts a price into the book.
///
/// *Errors*: [`Error::PriceInThePast`] when it begins before `now`; [`Error::PriceExists`] when another begins with it.
pub async fn insert(conn: &mut PgConnection, id: PriceId, new: &NewPrice, now: DateTime<Utc>) -> Result<(), Error> {
    if new.valid_from < now {
        return Err(Error::PriceInThePast { valid_from: new.valid_from });
    }
    let done = sqlx::query!(
        "
        INSERT INTO billing.prices (id, model, meter, currency, atto_per_unit, valid_from, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (model, currency, meter, valid_from) DO NOTHING
        ",
        id.0,
        new.model,
        new.meter.as_str(),
        new.currency.as_str(),
        Decimal::from_i128_with_scale(new.price.attos(), 0),
        new.valid_from,
        now,
    )
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::PriceExists { model: new.model.clone(), meter: new.meter, valid_from: new.valid_from })
}

fn atto_price(price_id: PriceId, stored: Decimal) -> Result<AttoPrice, Error> {
    let attos = stored.to_i128().and_then(|attos| AttoPrice::try_new(attos).ok());
    attos.ok_or(Error::BadRow { price_id, column: "atto_per_unit" })
}
