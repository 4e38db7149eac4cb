//! The journal: groups of transfers by what they are about, and by the month that they are booked in.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{account_name, bad_row, page};
use crate::account::AccountId;
use crate::block::BlockRef;
use crate::error::Error;
use crate::period::Month;
use crate::recipe::name_of;
use crate::transfer::{Kind, transfer_id};
use crate::view::{GroupLine, JournalGroup, TransferView};

/// A page of the groups that are about one thing (a job, a lot, a payment), oldest first: those whose number is above `after`.
pub async fn link_groups(
    conn: &mut PgConnection,
    link: Uuid,
    after: i64,
    limit: u16,
) -> Result<Vec<JournalGroup>, Error> {
    let heads = sqlx::query_scalar!(
        "SELECT seq FROM ledger.transfers WHERE link_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        link,
        after,
        page(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    groups(conn, &heads).await
}

/// A page of the groups that somebody else's name was given to, such as a payment's; oldest first, above `after`.
pub async fn reference_groups(
    conn: &mut PgConnection,
    reference: &str,
    after: i64,
    limit: u16,
) -> Result<Vec<JournalGroup>, Error> {
    let heads = sqlx::query_scalar!(
        // Recipes up to 5 carry a reason there, which is no name.
        "SELECT seq FROM ledger.transfers WHERE reference = $1 AND recipe > 5 AND seq > $2 ORDER BY seq LIMIT $3",
        reference,
        after,
        page(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    groups(conn, &heads).await
}

/// A page of the groups booked in a month, oldest first, above `after`; whenever they were posted, and whenever they happened.
pub async fn month_groups(
    conn: &mut PgConnection,
    month: Month,
    after: i64,
    limit: u16,
) -> Result<Vec<JournalGroup>, Error> {
    let heads = sqlx::query_scalar!(
        r#"SELECT head AS "head!" FROM ledger.month_heads($1, $2, $3) AS head"#,
        month.number(),
        after,
        page(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    groups(conn, &heads).await
}

/// The group that begins with a transfer; none where no group begins.
pub(crate) async fn group(conn: &mut PgConnection, head: i64) -> Result<Option<JournalGroup>, Error> {
    Ok(groups(conn, &[head]).await?.pop())
}

/// The first transfer of an event's group.
pub(crate) async fn head_of(conn: &mut PgConnection, link: Uuid, recipe: i16) -> Result<Option<i64>, Error> {
    let head = sqlx::query_scalar!("SELECT seq FROM ledger.transfers WHERE link_id = $1 AND recipe = $2", link, recipe)
        .fetch_optional(conn)
        .await?;
    Ok(head)
}

/// One transfer of a group, with what its head and its block say.
struct Line {
    head: i64,
    link_id: Uuid,
    recipe: i16,
    reference: Option<String>,
    period: i16,
    event_at: DateTime<Utc>,
    reverses_seq: Option<i64>,
    height: i64,
    hash: Vec<u8>,
    at: DateTime<Utc>,
    seq: i64,
    kind: i16,
    debit: i64,
    credit: i64,
    amount: i64,
    leaf_id: Option<i32>,
}

async fn groups(conn: &mut PgConnection, heads: &[i64]) -> Result<Vec<JournalGroup>, Error> {
    let lines = sqlx::query_as!(
        Line,
        r#"
        SELECT
            h.seq AS "head!", h.link_id AS "link_id!", h.recipe AS "recipe!", h.reference, h.period AS "period!",
            COALESCE(h.event_at, b.at) AS "event_at!", h.reverses_seq, b.height, b.hash, b.at, l.seq AS "seq!",
            l.kind AS "kind!", l.debit_account_id AS "debit!", l.credit_account_id AS "credit!", l.amount AS "amount!",
            l.leaf_id
        FROM ledger.group_lines($1) l
        -- LIMIT keeps each of these a look-up by key.
        CROSS JOIN LATERAL (
            SELECT * FROM ledger.transfers g WHERE g.seq = l.head AND g.link_id IS NOT NULL LIMIT 1
        ) h
        CROSS JOIN LATERAL (
            SELECT height, hash, at FROM ledger.blocks WHERE first_seq <= h.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        ORDER BY l.seq
        "#,
        heads,
    )
    .fetch_all(conn)
    .await?;
    let mut groups: Vec<JournalGroup> = Vec::with_capacity(heads.len());
    for line in lines {
        if groups.last().is_none_or(|group| group.seq != line.head) {
            groups.push(head(&line)?);
        }
        let kind = Kind::from_number(line.kind).ok_or_else(|| bad_row("ledger.transfers", "kind", line.seq))?;
        if kind == Kind::Note {
            continue;
        }
        let group = groups.last_mut().expect("its head was just pushed");
        group.lines.push(GroupLine {
            seq: line.seq,
            kind,
            debit: AccountId(line.debit),
            credit: AccountId(line.credit),
            amount: Nanos(line.amount),
            leaf_id: line.leaf_id,
        });
    }
    Ok(groups)
}

fn head(line: &Line) -> Result<JournalGroup, Error> {
    let hash = line.hash.as_slice().try_into().map_err(|_| bad_row("ledger.blocks", "hash", line.height))?;
    Ok(JournalGroup {
        seq: line.head,
        link: line.link_id,
        recipe: name_of(line.recipe).ok_or_else(|| bad_row("ledger.transfers", "recipe", line.head))?,
        reference: line.reference.clone(),
        month: Month::try_from_number(line.period).map_err(|_| bad_row("ledger.transfers", "period", line.head))?,
        event_at: line.event_at,
        reverses_seq: line.reverses_seq,
        block: BlockRef { height: line.height, hash },
        at: line.at,
        lines: Vec::new(),
    })
}

/// The transfers of an event, in the order in which they were made: a job's by the job's identifier.
pub async fn link_transfers(conn: &mut PgConnection, link: Uuid) -> Result<Vec<TransferView>, Error> {
    let rows = sqlx::query!(
        r#"
        -- A tenant does not see the head of whatever group comes next, so it is asked where this one ends.
        -- The bounds are computed first, so that what is left is a range of the primary key.
        WITH groups AS MATERIALIZED (
            SELECT seq AS head_seq, ledger.group_end(seq) AS end_seq, recipe
            FROM ledger.transfers
            WHERE link_id = $1
        )
        SELECT
            t.seq, k.kind, r.recipe, t.debit_account_id AS debit, t.credit_account_id AS credit,
            t.amount AS "amount: Nanos", u.unit AS "unit?", b.height, b.hash, b.at
        FROM groups g
        -- No group is as long as that; the planner, who does not know how short they are, would else compile the query first.
        CROSS JOIN LATERAL (
            SELECT *
            FROM ledger.transfers m
            -- A note moves nothing.
            WHERE m.seq >= g.head_seq AND m.seq < g.end_seq AND m.kind <> 5
            ORDER BY m.seq
            LIMIT 10000
        ) t
        CROSS JOIN LATERAL (
            SELECT height, hash, at FROM ledger.blocks WHERE first_seq <= t.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        JOIN ledger.recipes r ON r.number = g.recipe
        JOIN ledger.kinds k ON k.number = t.kind
        LEFT JOIN ledger.units u ON u.number = t.debit_account_id / 100000000000 % 1000
        ORDER BY t.seq
        "#,
        link,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let hash = row.hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", row.height))?;
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
            let currency = row.unit.and_then(|unit| unit.parse().ok());
            Ok(TransferView {
                id: transfer_id(row.seq),
                kind: kind.ok_or_else(|| bad_row("ledger.transfers", "kind", row.seq))?,
                recipe: row.recipe,
                debit: account_name(row.debit)?,
                credit: account_name(row.credit)?,
                amount: row.amount,
                currency: currency.ok_or_else(|| bad_row("ledger.transfers", "debit_account_id", row.seq))?,
                block: BlockRef { height: row.height, hash },
                at: row.at,
            })
        })
        .collect()
}
