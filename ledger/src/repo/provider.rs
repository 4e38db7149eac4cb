//! What moved what providers are owed, in order, and what they are owed.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId};
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{bad_row, page};
use crate::account::AccountId;
use crate::chart::Code;
use crate::error::Error;
use crate::recipe::name_of;
use crate::unit;
use crate::view::{PayableLine, PayablePage, ProviderAccount};

/// How many transfers one reading looks at, of whatever accounts.
const LOOKED_AT: i64 = 20_000;

/// The transfers over what providers are owed, of those that follow `after` in a shard, oldest first; and up to where it looked.
///
/// A page is a bounded piece of the shard's transfers, so it may have no line and still be followed by others.
pub async fn payable_lines(conn: &mut PgConnection, shard: i16, after: i64) -> Result<PayablePage, Error> {
    let first = i64::from(shard) * 1_000_000_000_000_000;
    let read_to = sqlx::query_scalar!(
        "
        SELECT max(seq)
        FROM (
            SELECT seq
            FROM ledger.transfers
            WHERE seq > greatest($1::bigint, $2::bigint)
                AND seq < $2::bigint + 1000000000000000
            ORDER BY seq
            LIMIT $3
        ) piece
        ",
        after,
        first,
        LOOKED_AT,
    )
    .fetch_one(&mut *conn)
    .await?;
    let Some(read_to) = read_to else { return Ok(PayablePage { lines: vec![], read_to: after }) };
    let rows = sqlx::query!(
        r#"
        SELECT
            t.seq, t.amount, t.debit_account_id / 100000000000000 = $3 AS "debited!",
            CASE WHEN t.debit_account_id / 100000000000000 = $3 THEN t.debit_account_id ELSE t.credit_account_id END
                AS "account!",
            a.owner_id AS "provider_id!: ProviderId", l.node_id AS "node_id: NodeId", h.link_id AS "link!",
            h.recipe AS "recipe!", b.at
        FROM ledger.transfers t
        JOIN ledger.accounts a
            ON a.id = CASE WHEN t.debit_account_id / 100000000000000 = $3 THEN t.debit_account_id ELSE t.credit_account_id END
        LEFT JOIN ledger.leaves l ON l.shard = t.seq / 1000000000000000 AND l.id = t.leaf_id
        CROSS JOIN LATERAL (
            SELECT link_id, recipe
            FROM ledger.transfers g
            WHERE g.seq <= t.seq AND g.link_id IS NOT NULL
            ORDER BY g.seq DESC
            LIMIT 1
        ) h
        CROSS JOIN LATERAL (
            SELECT at FROM ledger.blocks WHERE first_seq <= t.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        WHERE t.seq > greatest($1::bigint, $4::bigint)
            AND t.seq <= $2
            AND t.kind = 1
            AND (t.debit_account_id / 100000000000000 = $3 OR t.credit_account_id / 100000000000000 = $3)
        ORDER BY t.seq
        "#,
        after,
        read_to,
        i64::from(Code::ProviderPayable.number()),
        first,
    )
    .fetch_all(conn)
    .await?;
    let lines = rows.into_iter().map(|row| {
        let change = if row.debited { -row.amount } else { row.amount };
        Ok(PayableLine {
            seq: row.seq,
            provider_id: row.provider_id,
            currency: AccountId(row.account).unit().ok_or_else(|| bad_row("ledger.accounts", "unit", row.account))?,
            node_id: row.node_id,
            recipe: name_of(row.recipe).ok_or_else(|| bad_row("ledger.transfers", "recipe", row.seq))?,
            link: row.link,
            change: Nanos(change),
            at: row.at,
        })
    });
    Ok(PayablePage { lines: lines.collect::<Result<_, Error>>()?, read_to })
}

/// A provider's accounts of one code in one currency, by number: one for each lot, where the code has lots; at most `limit`.
pub async fn provider_accounts(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    code: Code,
    currency: Currency,
    limit: u16,
) -> Result<Vec<ProviderAccount>, Error> {
    unit::number(currency)?;
    let rows = sqlx::query!(
        "
        SELECT id, lot_id, credits_posted - debits_posted AS balance, expires_at
        FROM ledger.accounts
        WHERE owner_id = $1
            AND code = $2
            AND unit = $3
        ORDER BY id
        LIMIT $4
        ",
        provider_id.0,
        code.number(),
        currency.as_str(),
        page(limit),
    )
    .fetch_all(conn)
    .await?;
    let account = |id, lot: Option<Uuid>, balance: Option<i64>, expires_at: Option<DateTime<Utc>>| {
        let balance = Nanos(balance.ok_or_else(|| bad_row("ledger.accounts", "credits_posted", id))?);
        Ok(ProviderAccount { account: AccountId(id), lot, balance, expires_at })
    };
    rows.into_iter().map(|row| account(row.id, row.lot_id, row.balance, row.expires_at)).collect()
}

/// What stands on all of a provider's accounts of one code in one currency, as owed to the provider.
pub async fn provider_total(
    conn: &mut PgConnection,
    provider_id: ProviderId,
    code: Code,
    currency: Currency,
) -> Result<Nanos, Error> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT COALESCE(sum(credits_posted - debits_posted), 0)::bigint AS "total!: Nanos"
        FROM ledger.accounts
        WHERE owner_id = $1
            AND code = $2
            AND unit = $3
        "#,
        provider_id.0,
        code.number(),
        currency.as_str(),
    )
    .fetch_one(conn)
    .await?;
    Ok(total)
}
