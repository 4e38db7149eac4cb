//! What an account or a tenant has, now and as of any instant.
//!
//! The past is found without adding up history: the nearest checkpoint after it, or else the present, is walked back by the
//! links from each transfer to the one before over the same account (`ledger.totals_at`), 255 steps at most.

use chrono::{DateTime, Utc};
use primitives::id::TenantId;
use primitives::money::{Currency, Nanos};
use sqlx::PgConnection;
use uuid::Uuid;

use super::bad_row;
use super::post::StoredAccount;
use crate::SHARD;
use crate::account::{Account, AccountId, AccountKey};
use crate::error::Error;
use crate::transfer::SEQS_PER_SHARD;
use crate::view::{AccountTotals, Balance, Lot};

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
    add_up(rows, tenant_id, currency, at)
}

/// A tenant's credit in one currency as it was at `at`: what blocks made by then say, whatever was posted since.
pub async fn balance_as_of(
    conn: &mut PgConnection,
    tenant_id: TenantId,
    currency: Currency,
    at: DateTime<Utc>,
) -> Result<Balance, Error> {
    let last = last_seq_by(conn, SHARD, at).await?;
    let rows = sqlx::query_as!(
        StoredAccount,
        r#"
        SELECT
            a.id, a.code, a.owner_id, a.lot_id, a.unit, a.priority, a.expires_at, t.debits_posted AS "debits_posted!",
            t.credits_posted AS "credits_posted!", t.debits_pending AS "debits_pending!",
            t.credits_pending AS "credits_pending!", t.last_seq AS "last_seq!", a.transfers_count, a.state
        FROM ledger.accounts a
        CROSS JOIN LATERAL ledger.totals_at(a.id, $3) t
        WHERE a.owner_id = $1
            AND a.unit = $2
            AND a.code IN (2000, 2010, 2015)
            -- Those that were opened later are not there yet.
            AND t.last_seq > 0
        "#,
        tenant_id.0,
        currency.as_str(),
        last,
    )
    .fetch_all(conn)
    .await?;
    add_up(rows, tenant_id, currency, at)
}

fn add_up(
    rows: Vec<StoredAccount>,
    tenant_id: TenantId,
    currency: Currency,
    at: DateTime<Utc>,
) -> Result<Balance, Error> {
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

/// What an account has now; none for one that was never opened.
pub async fn totals(conn: &mut PgConnection, account: AccountId) -> Result<Option<AccountTotals>, Error> {
    totals_at(conn, account, i64::MAX).await
}

/// What an account had at `at`: what blocks made by then say. All zero before its first transfer.
pub async fn totals_as_of(
    conn: &mut PgConnection,
    account: AccountId,
    at: DateTime<Utc>,
) -> Result<Option<AccountTotals>, Error> {
    let last = last_seq_by(conn, account.shard(), at).await?;
    totals_at(conn, account, last).await
}

/// What an account had once the transfer `seq` was posted, and all before it.
pub async fn totals_at(conn: &mut PgConnection, account: AccountId, seq: i64) -> Result<Option<AccountTotals>, Error> {
    let row = sqlx::query_as!(
        StoredTotals,
        r#"
        SELECT
            a.id, a.owner_id, a.lot_id, t.last_seq AS "last_seq!", t.debits_posted AS "debits_posted!",
            t.credits_posted AS "credits_posted!", t.debits_pending AS "debits_pending!",
            t.credits_pending AS "credits_pending!"
        FROM ledger.accounts a
        CROSS JOIN LATERAL ledger.totals_at(a.id, $2) t
        WHERE a.id = $1
        "#,
        account.0,
        seq,
    )
    .fetch_optional(conn)
    .await?;
    row.map(AccountTotals::try_from).transpose()
}

/// The last transfer of a shard that was posted by `at`; the number before the shard's first when there was none.
pub(super) async fn last_seq_by(conn: &mut PgConnection, shard: i16, at: DateTime<Utc>) -> Result<i64, Error> {
    let last = sqlx::query_scalar!(
        r#"
        SELECT first_seq + transfers_count - 1 AS "last!"
        FROM ledger.blocks
        WHERE shard = $1
            AND at <= $2
        -- By the index on at; a block is never older than the one before, so the highest of an instant is the last.
        ORDER BY at DESC, height DESC
        LIMIT 1
        "#,
        shard,
        at,
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.unwrap_or(i64::from(shard) * SEQS_PER_SHARD))
}

/// An account's columns with its totals at some time, before they are understood.
pub(super) struct StoredTotals {
    pub id: i64,
    pub owner_id: Option<Uuid>,
    pub lot_id: Option<Uuid>,
    pub last_seq: i64,
    pub debits_posted: i64,
    pub credits_posted: i64,
    pub debits_pending: i64,
    pub credits_pending: i64,
}

impl TryFrom<StoredTotals> for AccountTotals {
    type Error = Error;

    fn try_from(row: StoredTotals) -> Result<Self, Error> {
        let account = AccountId(row.id);
        let (code, unit) =
            account.code().zip(account.unit()).ok_or_else(|| bad_row("ledger.accounts", "id", row.id))?;
        Ok(Self {
            account,
            key: AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit },
            last_seq: row.last_seq,
            debits_posted: row.debits_posted,
            credits_posted: row.credits_posted,
            debits_pending: row.debits_pending,
            credits_pending: row.credits_pending,
        })
    }
}
