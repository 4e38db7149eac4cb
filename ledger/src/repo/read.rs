//! What anyone may read.

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId};
use primitives::money::{Currency, Nanos};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::PgConnection;
use uuid::Uuid;

use super::bad_row;
use super::post::StoredAccount;
use crate::account::{Account, AccountId, AccountKey};
use crate::block::BlockRef;
use crate::chart::Code;
use crate::error::Error;
use crate::hold::{HoldPart, OpenHold};
use crate::transfer::{Kind, transfer_id};
use crate::view::{Balance, Lot, TransferView, TrialRow, UsageView};

/// A tenant's credit in one currency as it would pay at `at`; zero for a tenant that the ledger has never met.
pub async fn balance(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    currency: Currency,
    at: DateTime<Utc>,
) -> Result<Balance, Error> {
    let rows = sqlx::query_as!(
        StoredAccount,
        "
        SELECT
            id, code, owner_id, lot_id, unit, priority, expires_at,
            debits_posted, credits_posted, debits_pending, credits_pending, last_seq, transfers_count, state
        FROM ledger.accounts
        WHERE owner_id = $1
            AND unit = $2
            AND code IN (2000, 2010, 2015)
        ",
        tenant_id.0,
        currency.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let mut accounts = rows.into_iter().map(Account::try_from).collect::<Result<Vec<_>, _>>()?;
    accounts.sort_by_key(|account| (account.lapsed(at), account.spending_order()));
    let lots: Vec<Lot> = accounts.iter().map(|account| lot(account, at)).collect();
    let sum = |amount: fn(&Lot) -> Nanos| {
        let total = lots.iter().filter(|lot| !lot.lapsed).map(amount).try_fold(Nanos::ZERO, Nanos::checked_add);
        total.map_err(|_| bad_row("ledger.accounts", "credits_posted", tenant_id))
    };
    let (posted, pending) = (sum(|lot| lot.posted)?, sum(|lot| lot.pending)?);
    let available = posted.checked_sub(pending).map_err(|_| bad_row("ledger.accounts", "debits_pending", tenant_id))?;
    Ok(Balance { currency, posted, pending, available, lots })
}

fn lot(account: &Account, at: DateTime<Utc>) -> Lot {
    Lot {
        account: account.id,
        code: account.key.code,
        lot_id: account.key.lot,
        posted: Nanos(account.credits_posted - account.debits_posted),
        pending: Nanos(account.debits_pending),
        expires_at: account.terms.expires_at,
        lapsed: account.lapsed(at),
    }
}

/// The transfers of an event, in the order in which they were made: a job's by the job's identifier.
pub async fn link_transfers(conn: &mut PgConnection, link: Uuid) -> Result<Vec<TransferView>, Error> {
    let rows = sqlx::query!(
        r#"
        WITH heads AS MATERIALIZED (SELECT seq FROM ledger.transfers WHERE link_id = $1)
        SELECT
            j.seq AS "seq!", j.kind AS "kind!", j.recipe AS "recipe!", j.debit_account_id AS "debit!",
            j.credit_account_id AS "credit!", j.amount AS "amount!: Nanos", j.unit, j.height AS "height!",
            j.hash AS "hash!", j.at AS "at!"
        FROM heads h
        CROSS JOIN LATERAL (
            -- A group goes on up to the next head.
            SELECT COALESCE(min(n.seq), 9223372036854775807) AS seq
            FROM (
                SELECT n.seq FROM ledger.transfers n WHERE n.seq > h.seq AND n.link_id IS NOT NULL ORDER BY n.seq LIMIT 1
            ) n
        ) n
        JOIN ledger.journal j ON j.seq >= h.seq AND j.seq < n.seq
        ORDER BY j.seq
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

fn account_name(id: i64) -> Result<String, Error> {
    let code = AccountId(id).code().ok_or_else(|| bad_row("ledger.accounts", "code", id))?;
    Ok(code.to_string())
}

/// What a job used, by segment and meter.
pub async fn usage_facts(conn: &mut PgConnection, job_id: JobId) -> Result<Vec<UsageView>, Error> {
    let facts = sqlx::query_as!(
        UsageView,
        r#"
        SELECT
            f.segment, l.meter AS "meter!", l.model AS "model!", l.node_id AS "node_id!: NodeId",
            l.provider_id AS "provider_id!: ProviderId", f.quantity, l.price_id AS "price_id!: PriceId",
            f.amount AS "amount: Nanos", l.waste, f.compute_ms, COALESCE(h.event_at, b.at) AS "event_at!"
        FROM ledger.transfers h
        CROSS JOIN LATERAL (
            SELECT shard, at FROM ledger.blocks WHERE first_seq <= h.seq ORDER BY first_seq DESC LIMIT 1
        ) b
        JOIN ledger.usage_facts f ON f.seq = h.seq
        JOIN ledger.leaves l ON l.shard = b.shard AND l.id = f.leaf_id
        WHERE h.link_id = $1
        ORDER BY f.seq, f.line
        "#,
        job_id.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(facts)
}

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

/// All debits and credits posted, by code and currency; the two columns have one sum in each currency.
pub async fn trial_balance(conn: &mut PgConnection) -> Result<Vec<TrialRow>, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            code, unit, SUM(debits_posted) AS "debits!: Decimal", SUM(credits_posted) AS "credits!: Decimal"
        FROM ledger.accounts
        GROUP BY code, unit
        ORDER BY code, unit
        "#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let sum = |sum: Decimal, column| sum.to_i128().ok_or_else(|| bad_row("ledger.accounts", column, row.code));
            Ok(TrialRow {
                account: Code::from_number(row.code)
                    .ok_or_else(|| bad_row("ledger.accounts", "code", row.code))?
                    .to_string(),
                currency: row.unit.parse().map_err(|_| bad_row("ledger.accounts", "unit", row.code))?,
                debits: sum(row.debits, "debits_posted")?,
                credits: sum(row.credits, "credits_posted")?,
            })
        })
        .collect()
}
