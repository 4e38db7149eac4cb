//! What anyone may read.

use chrono::{DateTime, Utc};
use primitives::id::{JobId, NodeId, PriceId, ProviderId, TenantId, TransferId};
use primitives::money::{Currency, Nanos};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::PgConnection;

use super::bad_row;
use super::post::StoredAccount;
use crate::account::{Account, AccountId, AccountKey, Code};
use crate::block::BlockRef;
use crate::error::Error;
use crate::hold::{HoldPart, OpenHold};
use crate::transfer::Kind;
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
            id, code, owner_id, lot_id, unit, expires_at,
            debits_posted_nanos, credits_posted_nanos, debits_pending_nanos, credits_pending_nanos
        FROM ledger.accounts
        WHERE owner_id = $1
            AND unit = $2
            AND code IN (2000, 2010)
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
        total.map_err(|_| bad_row("ledger.accounts", "credits_posted_nanos", tenant_id))
    };
    let (posted, pending) = (sum(|lot| lot.posted)?, sum(|lot| lot.pending)?);
    let available =
        posted.checked_sub(pending).map_err(|_| bad_row("ledger.accounts", "debits_pending_nanos", tenant_id))?;
    Ok(Balance { currency, posted, pending, available, lots })
}

fn lot(account: &Account, at: DateTime<Utc>) -> Lot {
    Lot {
        account: account.id,
        code: account.key.code,
        lot_id: account.key.lot,
        posted: Nanos(account.credits_posted - account.debits_posted),
        pending: Nanos(account.debits_pending),
        expires_at: account.expires_at,
        lapsed: account.lapsed(at),
    }
}

/// A job's transfers, in the order in which they were made.
pub async fn job_transfers(conn: &mut PgConnection, job_id: JobId) -> Result<Vec<TransferView>, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            t.id AS "id: TransferId", t.kind, g.recipe, t.debit_account_id, t.credit_account_id,
            t.amount_nanos AS "amount: Nanos", a.unit, b.height, b.hash, b.at
        FROM ledger.groups g
        JOIN ledger.transfers t ON t.shard = g.shard AND t.group_seq = g.seq
        JOIN ledger.blocks b ON b.shard = g.shard AND b.height = g.block_height
        JOIN ledger.accounts a ON a.id = t.debit_account_id
        WHERE g.link_id = $1
        ORDER BY g.seq, t.position
        "#,
        job_id.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let hash = row.hash.try_into().map_err(|_| bad_row("ledger.blocks", "hash", row.height))?;
            Ok(TransferView {
                id: row.id,
                kind: Kind::from_word(&row.kind).ok_or_else(|| bad_row("ledger.transfers", "kind", row.id))?,
                recipe: row.recipe,
                debit: account_name(row.debit_account_id)?,
                credit: account_name(row.credit_account_id)?,
                amount: row.amount,
                currency: row.unit.parse().map_err(|_| bad_row("ledger.accounts", "unit", row.debit_account_id))?,
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
            segment, meter, model, node_id AS "node_id: NodeId", provider_id AS "provider_id: ProviderId", quantity,
            price_id AS "price_id: PriceId", amount_nanos AS "amount: Nanos", event_at
        FROM ledger.usage_facts
        WHERE job_id = $1
        ORDER BY segment, meter
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
            g.link_id AS "job_id: JobId", g.seq, g.expires_at, b.epoch, t.id AS "transfer_id: TransferId",
            t.amount_nanos AS "amount: Nanos", a.id AS account_id, a.code, a.owner_id, a.lot_id, a.unit
        FROM ledger.groups g
        JOIN ledger.blocks b ON b.shard = g.shard AND b.height = g.block_height
        JOIN ledger.transfers t ON t.shard = g.shard AND t.group_seq = g.seq
        JOIN ledger.accounts a ON a.id = t.debit_account_id
        WHERE g.shard = $1
            -- Bounded by the last block: nothing older is open.
            AND g.seq >= COALESCE(
                (SELECT l.open_from_seq FROM ledger.blocks l WHERE l.shard = $1 ORDER BY l.height DESC LIMIT 1), 1
            )
            AND t.kind = 'pending'
            AND NOT EXISTS (SELECT FROM ledger.transfers r WHERE r.pending_id = t.id)
        ORDER BY g.seq, t.position
        "#,
        shard,
    )
    .fetch_all(conn)
    .await?;
    let mut holds: Vec<OpenHold> = Vec::new();
    for row in rows {
        let part = HoldPart { transfer_id: row.transfer_id, account: AccountId(row.account_id), amount: row.amount };
        let code = Code::from_number(row.code).ok_or_else(|| bad_row("ledger.accounts", "code", row.account_id))?;
        let unit = row.unit.parse().map_err(|_| bad_row("ledger.accounts", "unit", row.account_id))?;
        let lot = AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit };
        match holds.last_mut().filter(|hold| hold.group_seq == row.seq) {
            Some(hold) => {
                hold.parts.push(part);
                hold.lots.push(lot);
            }
            None => holds.push(OpenHold {
                job_id: row.job_id,
                tenant_id: row
                    .owner_id
                    .map(TenantId)
                    .ok_or_else(|| bad_row("ledger.accounts", "owner_id", row.account_id))?,
                currency: unit,
                parts: vec![part],
                expires_at: row.expires_at.ok_or_else(|| bad_row("ledger.groups", "expires_at", row.seq))?,
                epoch: row.epoch,
                group_seq: row.seq,
                lots: vec![lot],
            }),
        }
    }
    Ok(holds)
}

/// All debits and credits posted, by code and currency; the two columns have one sum in each currency.
pub async fn trial_balance(conn: &mut PgConnection) -> Result<Vec<TrialRow>, Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            code, unit, SUM(debits_posted_nanos) AS "debits!: Decimal", SUM(credits_posted_nanos) AS "credits!: Decimal"
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
                debits: sum(row.debits, "debits_posted_nanos")?,
                credits: sum(row.credits, "credits_posted_nanos")?,
            })
        })
        .collect()
}
