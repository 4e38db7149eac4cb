//! The trial balance: all debits and credits, now and as of the end of a month, by code and by account.
//!
//! A month's end is no point in time: a group belongs to the month that it is booked in, and an adjusting entry for November may
//! be posted in December. By code, the totals of what is booked in each month are kept. By account, what is booked up to a month is
//! what was posted before the first group of a later month (the *edge*), and those groups after it that are booked in time
//! nevertheless, of which there are few. Every account keeps its balance after its first transfer of a month, so the edge is one
//! step back from there.

use std::collections::BTreeMap;

use primitives::money::Currency;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::PgConnection;

use super::balance::StoredTotals;
use super::{bad_row, page, period};
use crate::account::AccountId;
use crate::chart::Code;
use crate::error::Error;
use crate::period::Month;
use crate::view::{AccountTotals, TrialRow};

/// Debits and credits, by the first digits of accounts' numbers: code × 1000 + unit.
type Sums = BTreeMap<i64, (i128, i128)>;

/// All debits and credits posted, by code and unit; the two columns have one sum in each unit.
pub async fn trial_balance(conn: &mut PgConnection) -> Result<Vec<TrialRow>, Error> {
    rows(&present(conn).await?)
}

/// What is booked in months up to that one, by code and unit. A month that is closed for good has one trial balance for ever.
pub async fn trial_balance_of(conn: &mut PgConnection, month: Month) -> Result<Vec<TrialRow>, Error> {
    rows(&period::totals_up_to(conn, month).await?)
}

/// A page of accounts with what is booked on them in months up to that one, or now, by their numbers above `after`. An account
/// is listed once it has been moved at all.
///
/// Pending totals are those of the edge, since a hold is booked in no month.
pub async fn account_totals(
    conn: &mut PgConnection,
    month: Option<Month>,
    after: AccountId,
    limit: u16,
) -> Result<Vec<AccountTotals>, Error> {
    let edge = match month {
        Some(month) => Edge::of(conn, month).await?,
        None => None,
    };
    let rows = sqlx::query_as!(
        StoredTotals,
        r#"
        SELECT
            a.id, a.owner_id, a.lot_id, t.last_seq AS "last_seq!", t.debits_posted AS "debits_posted!",
            t.credits_posted AS "credits_posted!", t.debits_pending AS "debits_pending!",
            t.credits_pending AS "credits_pending!"
        FROM (SELECT * FROM ledger.accounts WHERE id > $1 ORDER BY id LIMIT $3) a
        CROSS JOIN LATERAL ledger.totals_at(a.id, $2) t
        ORDER BY a.id
        "#,
        after.0,
        edge.as_ref().map_or(i64::MAX, |edge| edge.seq - 1),
        page(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut accounts = rows.into_iter().map(AccountTotals::try_from).collect::<Result<Vec<_>, _>>()?;
    if let Some(edge) = edge {
        let late = late(conn, &edge).await?;
        for account in &mut accounts {
            let (debits, credits) = late.get(&account.account.0).copied().unwrap_or_default();
            let add = |total: &mut i64, more: i128| {
                let sum = i64::try_from(i128::from(*total) + more);
                *total = sum.map_err(|_| bad_row("ledger.transfers", "amount", account.account))?;
                Ok::<_, Error>(())
            };
            add(&mut account.debits_posted, debits)?;
            add(&mut account.credits_posted, credits)?;
        }
    }
    Ok(accounts)
}

/// Where the months after one begin among the transfers.
struct Edge {
    /// The first transfer of the first group that is booked later.
    seq: i64,
    /// The months up to that one.
    months: Vec<i16>,
}

impl Edge {
    /// None when nothing is booked after that month.
    async fn of(conn: &mut PgConnection, month: Month) -> Result<Option<Self>, Error> {
        let Some((first, last)) = period::span(conn).await? else { return Ok(None) };
        let months = |from: Month, to: Month| from.up_to(to).map(Month::number).collect::<Vec<_>>();
        let seq = period::first_head(conn, &months(month.next(), last)).await?;
        Ok(seq.map(|seq| Self { seq, months: months(first, month) }))
    }
}

/// What every account has now.
async fn present(conn: &mut PgConnection) -> Result<Sums, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            id / 100000000000 AS "key!", SUM(debits_posted) AS "debits!: Decimal",
            SUM(credits_posted) AS "credits!: Decimal"
        FROM ledger.accounts
        GROUP BY 1
        "#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok((row.key, (whole(row.debits, row.key)?, whole(row.credits, row.key)?)))).collect()
}

/// What groups after the edge that are booked in time moved, by account.
async fn late(conn: &mut PgConnection, edge: &Edge) -> Result<Sums, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT debit_account_id AS "debit!", credit_account_id AS "credit!", amount AS "amount!: Decimal"
        FROM ledger.moved_late($1, $2)
        "#,
        &edge.months,
        edge.seq,
    )
    .fetch_all(conn)
    .await?;
    let mut sums = Sums::new();
    for row in rows {
        let amount = whole(row.amount, row.debit)?;
        sums.entry(row.debit).or_default().0 += amount;
        sums.entry(row.credit).or_default().1 += amount;
    }
    Ok(sums)
}

fn whole(sum: Decimal, key: i64) -> Result<i128, Error> {
    sum.to_i128().ok_or_else(|| bad_row("ledger.transfers", "amount", key))
}

fn rows(sums: &Sums) -> Result<Vec<TrialRow>, Error> {
    let moved = sums.iter().filter(|(_, sum)| **sum != (0, 0));
    moved
        .map(|(key, &(debits, credits))| {
            let any = AccountId(key * AccountId::PER_UNIT);
            let known: Option<(Code, Currency)> = any.code().zip(any.unit());
            let (code, currency) = known.ok_or_else(|| bad_row("ledger.accounts", "id", key))?;
            Ok(TrialRow { code, account: code.to_string(), currency, debits, credits })
        })
        .collect()
}
