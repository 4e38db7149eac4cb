//! An account's statement: its history, newest first.

use chrono::{DateTime, Utc};
use primitives::money::Nanos;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{account_name, bad_row, page};
use crate::account::AccountId;
use crate::block::BlockRef;
use crate::chart::Side;
use crate::error::Error;
use crate::period::Month;
use crate::recipe::name_of;
use crate::transfer::Kind;
use crate::view::{Statement, StatementLine};

/// One transfer over an account, with its group, its block and what the account had after the page's newest.
struct Leg {
    seq: i64,
    kind: i16,
    debited: bool,
    counter: i64,
    amount: i64,
    held: Option<i64>,
    link_id: Uuid,
    recipe: i16,
    reference: Option<String>,
    period: i16,
    event_at: DateTime<Utc>,
    height: i64,
    hash: Vec<u8>,
    at: DateTime<Utc>,
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
}

/// A page of an account's transfers, the newest first: those numbered below `before`, or the newest of all.
///
/// Walks the account's own history, so a page costs what its lines cost, wherever it lies. Empty for an account without any.
pub async fn statement(
    conn: &mut PgConnection,
    account: AccountId,
    before: Option<i64>,
    limit: u16,
) -> Result<Statement, Error> {
    let max = page(limit);
    let last = before.map_or(i64::MAX, |before| before.saturating_sub(1));
    let legs = sqlx::query_as!(
        Leg,
        r#"
        WITH RECURSIVE newest AS MATERIALIZED (
            SELECT * FROM ledger.totals_at($1, $2)
        ),
        -- LIMIT keeps each step a look-up by key; without it the planner may hash all transfers for a page of them.
        walk AS (
            SELECT t.*, 1 AS line
            FROM newest n
            CROSS JOIN LATERAL (SELECT * FROM ledger.transfers WHERE seq = n.last_seq LIMIT 1) t
            UNION ALL
            SELECT t.*, w.line + 1
            FROM walk w
            CROSS JOIN LATERAL (
                SELECT *
                FROM ledger.transfers
                WHERE seq = CASE WHEN w.debit_account_id = $1 THEN w.debit_prev_seq ELSE w.credit_prev_seq END
                LIMIT 1
            ) t
            WHERE w.line < $3
        )
        SELECT
            w.seq AS "seq!", w.kind AS "kind!", w.debit_account_id = $1 AS "debited!",
            CASE WHEN w.debit_account_id = $1 THEN w.credit_account_id ELSE w.debit_account_id END AS "counter!",
            w.amount AS "amount!",
            (SELECT p.amount FROM ledger.transfers p WHERE p.seq = w.pending_seq) AS held,
            h.link_id AS "link_id!", h.recipe AS "recipe!", h.reference, h.period AS "period!",
            COALESCE(h.event_at, b.at) AS "event_at!", b.height, b.hash, b.at,
            n.debits_posted AS "debits_posted!", n.credits_posted AS "credits_posted!",
            n.debits_pending AS "debits_pending!", n.credits_pending AS "credits_pending!"
        FROM walk w
        CROSS JOIN newest n
        CROSS JOIN LATERAL (
            SELECT link_id, recipe, reference, period, event_at
            FROM ledger.transfers g
            WHERE g.seq <= w.seq AND g.link_id IS NOT NULL
            ORDER BY g.seq DESC
            LIMIT 1
        ) h
        CROSS JOIN LATERAL (
            SELECT height, hash, at FROM ledger.blocks WHERE first_seq <= w.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        ORDER BY w.seq DESC
        "#,
        account.0,
        last,
        i32::try_from(max).expect("a page is short"),
    )
    .fetch_all(conn)
    .await?;
    let full = legs.len() as i64 == max;
    let side = account.code().ok_or_else(|| bad_row("ledger.accounts", "id", account))?.side();
    let mut running = legs.first().map(Running::of).unwrap_or_default();
    let lines = legs.into_iter().map(|leg| line(leg, side, &mut running)).collect::<Result<Vec<_>, _>>()?;
    let next = lines.last().filter(|_| full).map(|line| line.seq);
    Ok(Statement { account, lines, next })
}

/// What the account had after the next line to be read.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    debits_posted: i128,
    credits_posted: i128,
    debits_pending: i128,
    credits_pending: i128,
}

impl Running {
    fn of(leg: &Leg) -> Self {
        Self {
            debits_posted: leg.debits_posted.into(),
            credits_posted: leg.credits_posted.into(),
            debits_pending: leg.debits_pending.into(),
            credits_pending: leg.credits_pending.into(),
        }
    }

    fn balance(self, side: Side) -> i128 {
        let credit = self.credits_posted - self.debits_posted;
        if side == Side::Credit { credit } else { -credit }
    }

    /// What open holds may still take.
    fn held(self, side: Side) -> i128 {
        if side == Side::Credit { self.debits_pending } else { self.credits_pending }
    }
}

fn line(leg: Leg, side: Side, running: &mut Running) -> Result<StatementLine, Error> {
    let kind = Kind::from_number(leg.kind).ok_or_else(|| bad_row("ledger.transfers", "kind", leg.seq))?;
    let amount = i128::from(leg.amount);
    let held = leg.held.map(i128::from);
    let (posted, pending) = match kind {
        Kind::Posted => (amount, 0),
        Kind::Pending => (0, amount),
        Kind::Capture => (amount, -held.ok_or_else(|| bad_row("ledger.transfers", "pending_seq", leg.seq))?),
        Kind::Void => (0, -amount),
        Kind::Note => return Err(bad_row("ledger.transfers", "kind", leg.seq)),
    };
    let after = *running;
    if leg.debited {
        running.debits_posted -= posted;
        running.debits_pending -= pending;
    } else {
        running.credits_posted -= posted;
        running.credits_pending -= pending;
    }
    let grows = (side == Side::Debit) == leg.debited;
    Ok(StatementLine {
        seq: leg.seq,
        kind,
        recipe: name_of(leg.recipe).ok_or_else(|| bad_row("ledger.transfers", "recipe", leg.seq))?,
        link: leg.link_id,
        reference: leg.reference,
        counter_account: AccountId(leg.counter),
        counter: account_name(leg.counter)?,
        side: if leg.debited { Side::Debit } else { Side::Credit },
        amount: Nanos(leg.amount),
        change: if grows { posted } else { -posted },
        balance: after.balance(side),
        held: after.held(side),
        month: Month::try_from_number(leg.period).map_err(|_| bad_row("ledger.transfers", "period", leg.seq))?,
        event_at: leg.event_at,
        block: BlockRef {
            height: leg.height,
            hash: leg.hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", leg.height))?,
        },
        at: leg.at,
    })
}
