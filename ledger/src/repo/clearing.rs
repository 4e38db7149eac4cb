//! Clearing accounts that are not at zero, and for how long.

use primitives::money::Currency;
use sqlx::PgConnection;

use super::{bad_row, page};
use crate::account::{AccountId, AccountKey};
use crate::chart::{Code, Side};
use crate::error::Error;
use crate::view::Unsettled;

/// A page of the clearing accounts that are not at zero, by their numbers above `after`.
///
/// How old an account's balance is, is told first in, first out: what was posted on one side explains what was posted on the
/// other, the oldest first; the date is that of the event behind the oldest transfer that is not wholly explained.
pub async fn unsettled(conn: &mut PgConnection, after: AccountId, limit: u16) -> Result<Vec<Unsettled>, Error> {
    let codes: Vec<i16> = Code::ALL.iter().filter(|code| code.clearing()).map(|code| code.number()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            a.id, a.owner_id, a.lot_id, a.debits_posted, a.credits_posted, t.seq AS "oldest_seq!",
            COALESCE(h.event_at, b.at) AS "since!"
        FROM (
            SELECT a.*
            FROM unnest($1::smallint[]) c (code)
            -- An account's number begins with its code, so these are ranges of the primary key.
            JOIN ledger.accounts a
                ON a.id >= c.code * 100000000000000 AND a.id < (c.code + 1) * 100000000000000
            WHERE a.id > $2
                AND a.debits_posted <> a.credits_posted
            ORDER BY a.id
            LIMIT $3
        ) a
        CROSS JOIN LATERAL (SELECT ledger.oldest_unexplained(a.id) AS seq LIMIT 1) t
        CROSS JOIN LATERAL (
            SELECT event_at
            FROM ledger.transfers g
            WHERE g.seq <= t.seq AND g.link_id IS NOT NULL
            ORDER BY g.seq DESC
            LIMIT 1
        ) h
        CROSS JOIN LATERAL (
            SELECT at FROM ledger.blocks WHERE first_seq <= t.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        ORDER BY a.id
        "#,
        &codes,
        after.0,
        page(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let account = AccountId(row.id);
            let key: Option<(Code, Currency)> = account.code().zip(account.unit());
            let (code, unit) = key.ok_or_else(|| bad_row("ledger.accounts", "id", row.id))?;
            let debit = i128::from(row.debits_posted) - i128::from(row.credits_posted);
            Ok(Unsettled {
                account,
                key: AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit },
                balance: if code.side() == Side::Debit { debit } else { -debit },
                oldest_seq: row.oldest_seq,
                since: row.since,
            })
        })
        .collect()
}
