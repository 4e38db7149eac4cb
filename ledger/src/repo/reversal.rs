//! What a reversal needs to know of the group that it takes back.

use std::collections::HashMap;

use primitives::id::{NodeId, PriceId, ProviderId, TenantId};
use sqlx::PgConnection;

use super::bad_row;
use crate::account::{AccountId, AccountKey};
use crate::economics::Bucket;
use crate::economics::tokens::Waste;
use crate::error::Error;
use crate::leaf::Leaf;
use crate::period::Month;
use crate::recipe::reversal::ReversalLine;
use crate::row::LeafRow;
use crate::view::JournalGroup;

/// What a group moved, with the accounts and the dimensions as recipes name them; nothing of what it held or released.
pub(crate) async fn lines(conn: &mut PgConnection, group: &JournalGroup) -> Result<Vec<ReversalLine>, Error> {
    let moved: Vec<_> = group.lines.iter().filter(|line| line.moves()).collect();
    let accounts: Vec<i64> = moved.iter().flat_map(|line| [line.debit.0, line.credit.0]).collect();
    let accounts = keys(conn, &accounts).await?;
    let shard = moved.first().map_or(0, |line| line.debit.shard());
    let leaves: Vec<i32> = moved.iter().filter_map(|line| line.leaf_id).collect();
    let leaves = leaves_of(conn, shard, &leaves).await?;
    let key = |id: AccountId| accounts.get(&id.0).copied().ok_or_else(|| bad_row("ledger.transfers", "account", id));
    let line = |line: &&crate::view::GroupLine| {
        let leaf = line.leaf_id.map(|id| leaves.get(&id).cloned().ok_or_else(|| bad_row("ledger.leaves", "id", id)));
        let (debit, credit) = (key(line.debit)?, key(line.credit)?);
        Ok(ReversalLine { debit, credit, amount: line.amount, leaf: leaf.transpose()? })
    };
    moved.iter().map(line).collect()
}

async fn keys(conn: &mut PgConnection, accounts: &[i64]) -> Result<HashMap<i64, AccountKey>, Error> {
    let rows = sqlx::query!("SELECT id, owner_id, lot_id FROM ledger.accounts WHERE id = ANY ($1)", accounts)
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let id = AccountId(row.id);
            let (code, unit) = id.code().zip(id.unit()).ok_or_else(|| bad_row("ledger.accounts", "id", id))?;
            Ok((row.id, AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit }))
        })
        .collect()
}

async fn leaves_of(conn: &mut PgConnection, shard: i16, ids: &[i32]) -> Result<HashMap<i32, Leaf>, Error> {
    let rows = sqlx::query_as!(LeafRow, "SELECT * FROM ledger.leaves WHERE shard = $1 AND id = ANY ($2)", shard, ids)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(|row| Ok((row.id, leaf(row)?))).collect()
}

fn leaf(row: LeafRow) -> Result<Leaf, Error> {
    let bad = |column| bad_row("ledger.leaves", column, row.id);
    let waste = row.waste.map(|word| Waste::from_word(&word).ok_or_else(|| bad("waste")));
    let of_period = row.of_period.map(|number| Month::try_from_number(number).map_err(|_| bad("of_period")));
    Ok(Leaf {
        bucket: Bucket::from_word(&row.bucket).ok_or_else(|| bad("bucket"))?,
        tenant_id: row.tenant_id.map(TenantId),
        model: row.model,
        node_id: row.node_id.map(NodeId),
        provider_id: row.provider_id.map(ProviderId),
        product_line: row.product_line,
        meter: row.meter,
        waste: waste.transpose()?,
        price_id: row.price_id.map(PriceId),
        of_period: of_period.transpose()?,
    })
}
