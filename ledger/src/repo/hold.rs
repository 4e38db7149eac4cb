//! Holds that are open.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{bad_row, balance};
use crate::account::{AccountId, AccountKey};
use crate::error::Error;
use crate::hold::{HoldPart, OpenHold};

/// The holds of a shard that are neither settled nor voided, the oldest first.
pub async fn open_holds(conn: &mut PgConnection, shard: i16) -> Result<Vec<OpenHold>, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            h.link_id AS "link!", h.expires_at AS "expires_at!", b.epoch, t.seq, t.amount AS "amount: Nanos",
            d.id AS debit, d.owner_id, d.lot_id, t.credit_account_id AS credit, c.owner_id AS credit_owner_id,
            c.lot_id AS credit_lot_id
        FROM ledger.transfers t
        CROSS JOIN LATERAL (
            SELECT link_id, expires_at
            FROM ledger.transfers g
            WHERE g.seq <= t.seq AND g.link_id IS NOT NULL
            ORDER BY g.seq DESC
            LIMIT 1
        ) h
        CROSS JOIN LATERAL (
            SELECT epoch FROM ledger.blocks WHERE first_seq <= t.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        JOIN ledger.accounts d ON d.id = t.debit_account_id
        JOIN ledger.accounts c ON c.id = t.credit_account_id
        WHERE t.kind = 2
            -- Bounded by the last block: nothing older is open.
            AND t.seq >= COALESCE(
                (SELECT l.open_from_seq FROM ledger.blocks l WHERE l.shard = $1 ORDER BY l.height DESC LIMIT 1), 1
            )
            AND t.seq < ($1::smallint + 1) * 1000000000000000
            AND NOT EXISTS (SELECT FROM ledger.transfers r WHERE r.pending_seq = t.seq)
        ORDER BY t.seq
        "#,
        shard,
    )
    .fetch_all(conn)
    .await?;
    let mut holds: Vec<OpenHold> = Vec::new();
    for row in rows {
        let key = |id: i64, owner, lot| {
            let (code, unit) = (AccountId(id).code(), AccountId(id).unit());
            let (code, unit) = code.zip(unit).ok_or_else(|| bad_row("ledger.accounts", "id", id))?;
            Ok::<_, Error>(AccountKey { code, owner, lot, unit })
        };
        let debit = key(row.debit, row.owner_id, row.lot_id)?;
        let credit = key(row.credit, row.credit_owner_id, row.credit_lot_id)?;
        let part = HoldPart { seq: row.seq, debit, credit, amount: row.amount };
        match holds.last_mut().filter(|hold| hold.link == row.link) {
            Some(hold) => hold.parts.push(part),
            None => {
                let (link, expires_at, epoch) = (row.link, row.expires_at, row.epoch);
                holds.push(OpenHold { link, parts: vec![part], expires_at, epoch });
            }
        }
    }
    Ok(holds)
}

/// How many holds that were placed up to an instant are open, and what the oldest of them is for.
pub(crate) async fn placed_by(
    conn: &mut PgConnection,
    shard: i16,
    instant: DateTime<Utc>,
) -> Result<Option<(i64, Uuid)>, Error> {
    let last = balance::last_seq_by(conn, shard, instant).await?;
    let row = sqlx::query!(
        r#"
        WITH open AS MATERIALIZED (
            SELECT t.seq
            FROM ledger.transfers t
            WHERE t.kind = 2
                -- Bounded by the last block: nothing older is open.
                AND t.seq >= COALESCE(
                    (SELECT l.open_from_seq FROM ledger.blocks l WHERE l.shard = $1 ORDER BY l.height DESC LIMIT 1), 1
                )
                AND t.seq <= $2
                AND NOT EXISTS (SELECT FROM ledger.transfers r WHERE r.pending_seq = t.seq)
        )
        SELECT
            (SELECT count(*) FROM open) AS "open!",
            (
                SELECT g.link_id
                FROM ledger.transfers g
                WHERE g.seq <= (SELECT min(seq) FROM open) AND g.link_id IS NOT NULL
                ORDER BY g.seq DESC
                LIMIT 1
            ) AS link_id
        "#,
        shard,
        last,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.link_id.map(|link| (row.open, link)))
}
