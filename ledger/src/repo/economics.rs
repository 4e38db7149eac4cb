//! What a report of two months reads: sums by leaf, made by the database.

use chrono::{DateTime, Utc};
use primitives::id::{NodeId, ProviderId, TenantId};
use primitives::money::Currency;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::{Connection, PgConnection};

use super::bad_row;
use super::proof::{freeze, shards};
use crate::chart::{Code, Side};
use crate::economics::record::{CapacityRecord, CostRecord, Records, RevenueRecord, UsageRecord, View};
use crate::economics::tokens::Waste;
use crate::economics::{Bucket, Leaf};
use crate::error::Error;
use crate::period::{Month, PeriodState};
use crate::recipe::job::SETTLE;
use crate::unit;

/// The transfers that anything of the months may be in.
#[derive(Clone, Copy, Debug)]
struct Range {
    shard: i16,
    from: i64,
    to: i64,
}

/// Everything that the ledger holds of two months, as of one instant.
///
/// Reads the transfers since the earlier month began, up to the end of the books, or up to where the last of the two months was
/// closed for good. *Errors*: [`Error::ForeignRevenue`] for revenue in another currency than the report's.
pub async fn economics_records(
    conn: &mut PgConnection,
    months: [Month; 2],
    currency: Currency,
    view: View,
) -> Result<Records, Error> {
    let mut tx = conn.begin().await?;
    freeze(&mut tx).await?;
    let unit = i16::try_from(unit::number(currency)?).map_err(|_| Error::UnknownUnit { unit: currency })?;
    let mut records = Records { months, revenue: vec![], costs: vec![], usage: vec![], capacity: vec![] };
    let closed = closed(&mut tx, months).await?;
    for shard in shards(&mut tx).await? {
        let Some(range) = range(&mut tx, shard, months, closed, view).await? else { continue };
        legs(&mut tx, range, months, unit, view, &mut records).await?;
        records.usage.extend(usage(&mut tx, range, months, unit).await?);
    }
    records.capacity = capacity(&mut tx, months, closed, view).await?;
    tx.rollback().await?;
    Ok(records)
}

/// Where each month was closed for good; the end of all numbers for one that was not.
async fn closed(conn: &mut PgConnection, months: [Month; 2]) -> Result<[i64; 2], Error> {
    let rows = sqlx::query!(
        r#"
        SELECT period, min(seq) AS "seq!"
        FROM ledger.period_states
        WHERE period = ANY($1)
            AND state = $2
        GROUP BY period
        "#,
        &months.map(Month::number)[..],
        PeriodState::Hard.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let seq = |month: Month| rows.iter().find(|row| row.period == month.number()).map_or(i64::MAX, |row| row.seq);
    Ok(months.map(seq))
}

/// Nothing is booked in a month before it begins, nor after it was closed for good. A day is allowed for clocks that went back.
async fn range(
    conn: &mut PgConnection,
    shard: i16,
    months: [Month; 2],
    closed: [i64; 2],
    view: View,
) -> Result<Option<Range>, Error> {
    let from = sqlx::query_scalar!(
        "SELECT first_seq FROM ledger.blocks WHERE shard = $1 AND at >= $2 ORDER BY at, first_seq LIMIT 1",
        shard,
        months[0].begins_at() - chrono::TimeDelta::days(1),
    )
    .fetch_optional(conn)
    .await?;
    let end = (i64::from(shard) + 1) * crate::transfer::SEQS_PER_SHARD;
    let to = match view {
        View::AsPosted => end.min(closed[0].max(closed[1])),
        View::Restated => end,
    };
    Ok(from.map(|from| Range { shard, from, to }))
}

/// Revenue and costs.
async fn legs(
    conn: &mut PgConnection,
    range: Range,
    months: [Month; 2],
    unit: i16,
    view: View,
    records: &mut Records,
) -> Result<(), Error> {
    let rows = sqlx::query!(
        r#"
        WITH moved AS (
            -- By number of leaf first: a number is small, and a leaf's words are looked up once.
            SELECT
                t.leaf_id,
                t.debit_account_id / 100000000000 AS debit,
                t.credit_account_id / 100000000000 AS credit,
                h.period,
                h.recipe = $5 AS settled,
                SUM(t.amount) AS amount
            FROM ledger.transfers t
            CROSS JOIN LATERAL (
                -- A group's first transfer is a few numbers before.
                SELECT g.period, g.recipe
                FROM ledger.transfers g
                WHERE g.seq <= t.seq
                    AND g.link_id IS NOT NULL
                ORDER BY g.seq DESC
                LIMIT 1
            ) h
            WHERE t.seq >= $1
                AND t.seq < $2
                AND t.kind IN (1, 3)
                AND (
                    t.debit_account_id BETWEEN 400000000000000000 AND 599999999999999999
                    OR t.credit_account_id BETWEEN 400000000000000000 AND 599999999999999999
                )
            GROUP BY 1, 2, 3, 4, 5
        )
        SELECT
            CASE WHEN $6 THEN COALESCE(l.of_period, m.period) ELSE m.period END AS "period!",
            (s.account / 1000)::smallint AS "code!",
            (s.account % 1000)::smallint AS "unit!",
            m.settled AND s.sign > 0 AS "settled!",
            l.bucket AS "bucket?",
            l.tenant_id AS "tenant_id?: TenantId",
            l.model AS "model?",
            l.node_id AS "node_id?: NodeId",
            l.provider_id AS "provider_id?: ProviderId",
            l.product_line AS "product_line?",
            SUM(s.sign * m.amount) AS "amount!: Decimal"
        FROM moved m
        LEFT JOIN ledger.leaves l ON l.shard = $3 AND l.id = m.leaf_id
        CROSS JOIN LATERAL (VALUES (m.debit, -1), (m.credit, 1)) s (account, sign)
        WHERE s.account BETWEEN 4000000 AND 5999999
            AND CASE WHEN $6 THEN COALESCE(l.of_period, m.period) ELSE m.period END = ANY($4)
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        "#,
        range.from,
        range.to,
        range.shard,
        &months.map(Month::number)[..],
        SETTLE.number,
        view == View::Restated,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let code = Code::from_number(row.code).ok_or_else(|| bad_row("ledger.accounts", "code", row.code))?;
        let month = month(row.period)?;
        domestic(row.unit, unit, month)?;
        let leaf = leaf(month, row.tenant_id, row.model, row.node_id, row.provider_id, row.product_line);
        let amount = whole("ledger.transfers", "amount", row.amount)?;
        if code.revenue() {
            let word = row.bucket.unwrap_or_default();
            let bucket = Bucket::from_word(&word).ok_or_else(|| bad_row("ledger.leaves", "bucket", word))?;
            let charged = row.settled && code.side() == Side::Credit;
            records.revenue.push(RevenueRecord { leaf, bucket, code, charged, amount });
        } else {
            records.costs.push(CostRecord { leaf, amount: -amount });
        }
    }
    Ok(())
}

async fn usage(
    conn: &mut PgConnection,
    range: Range,
    months: [Month; 2],
    unit: i16,
) -> Result<Vec<UsageRecord>, Error> {
    let rows = sqlx::query!(
        r#"
        WITH used AS (
            SELECT
                f.leaf_id,
                h.period,
                (h.debit_account_id / 100000000000 % 1000)::smallint AS unit,
                r.seq IS NOT NULL AS refunded,
                SUM(f.quantity) AS quantity,
                SUM(f.amount) AS amount,
                SUM(f.compute_ms) AS compute_ms
            FROM ledger.usage_facts f
            JOIN ledger.transfers h ON h.seq = f.seq
            -- A job that was taken back in its own month was refunded in full.
            LEFT JOIN ledger.transfers r ON r.reverses_seq = f.seq AND r.period = h.period
            WHERE f.seq >= $1
                AND f.seq < $2
                -- The same bounds again, so that both sides are read as ranges.
                AND h.seq >= $1
                AND h.seq < $2
                AND h.period = ANY($4)
            GROUP BY 1, 2, 3, 4
        )
        SELECT
            u.period AS "period!",
            u.unit AS "unit!",
            l.bucket,
            l.tenant_id AS "tenant_id: TenantId",
            l.model,
            l.node_id AS "node_id: NodeId",
            l.provider_id AS "provider_id: ProviderId",
            l.product_line,
            COALESCE(l.meter, '') AS "meter!",
            COALESCE(l.waste, CASE WHEN u.refunded THEN $5 END) AS waste,
            SUM(u.quantity) AS "quantity!: Decimal",
            SUM(u.amount) AS "amount!: Decimal",
            SUM(u.compute_ms) AS "compute_ms!: Decimal"
        FROM used u
        JOIN ledger.leaves l ON l.shard = $3 AND l.id = u.leaf_id
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        "#,
        range.from,
        range.to,
        range.shard,
        &months.map(Month::number)[..],
        Waste::Refunded.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let records = rows.into_iter().map(|row| {
        let month = month(row.period)?;
        domestic(row.unit, unit, month)?;
        let bad = |column, word: &str| bad_row("ledger.leaves", column, word);
        let waste = row.waste.map(|word| Waste::from_word(&word).ok_or_else(|| bad("waste", &word))).transpose()?;
        let compute_ms = whole("ledger.usage_facts", "compute_ms", row.compute_ms)?;
        Ok(UsageRecord {
            leaf: leaf(month, row.tenant_id, row.model, row.node_id, row.provider_id, Some(row.product_line)),
            bucket: Bucket::from_word(&row.bucket).ok_or_else(|| bad("bucket", &row.bucket))?,
            meter: row.meter,
            waste,
            quantity: whole("ledger.usage_facts", "quantity", row.quantity)?,
            amount: whole("ledger.usage_facts", "amount", row.amount)?,
            compute_ms: u128::try_from(compute_ms)
                .map_err(|_| bad_row("ledger.usage_facts", "compute_ms", compute_ms))?,
        })
    });
    records.collect()
}

async fn capacity(
    conn: &mut PgConnection,
    months: [Month; 2],
    closed: [i64; 2],
    view: View,
) -> Result<Vec<CapacityRecord>, Error> {
    let instants = |of: fn(Month) -> DateTime<Utc>| months.map(of).to_vec();
    let rows = sqlx::query!(
        r#"
        WITH months AS (
            SELECT * FROM unnest($1::smallint[], $2::timestamptz[], $3::timestamptz[], $4::bigint[]) AS m (period, begins_at, ends_at, closed)
        ),
        clipped AS (
            -- Shares of one report that are for one thing are one share.
            SELECT
                m.period,
                c.seq / 1000000000000000 AS shard,
                c.leaf_id,
                c.rcu_milli,
                SUM(c.share_ppm) AS share_ppm,
                (EXTRACT(EPOCH FROM LEAST(c.to_at, m.ends_at) - GREATEST(c.from_at, m.begins_at)) * 1000000)::bigint AS us
            FROM months m
            JOIN ledger.capacity_facts c ON c.from_at < m.ends_at AND c.to_at > m.begins_at AND ($5 OR c.seq < m.closed)
            GROUP BY m.period, c.seq, c.leaf_id, c.rcu_milli, us
        )
        SELECT
            c.period AS "period!",
            l.tenant_id AS "tenant_id: TenantId",
            l.model,
            l.node_id AS "node_id: NodeId",
            l.provider_id AS "provider_id: ProviderId",
            l.product_line,
            SUM(c.share_ppm::numeric * c.us) AS "share_us!: Decimal",
            SUM(c.share_ppm::numeric * c.rcu_milli * c.us) AS "rcu_share_us!: Decimal",
            SUM(c.us) AS "us!: Decimal"
        FROM clipped c
        JOIN ledger.leaves l ON l.shard = c.shard AND l.id = c.leaf_id
        GROUP BY 1, 2, 3, 4, 5, 6
        ORDER BY 1, 2, 3, 4, 5, 6
        "#,
        &months.map(Month::number)[..],
        &instants(Month::begins_at),
        &instants(Month::ends_at),
        &closed[..],
        view == View::Restated,
    )
    .fetch_all(conn)
    .await?;
    let records = rows.into_iter().map(|row| {
        let sum = |column, sum| whole("ledger.capacity_facts", column, sum);
        let line = Some(row.product_line);
        Ok(CapacityRecord {
            leaf: leaf(month(row.period)?, row.tenant_id, row.model, row.node_id, row.provider_id, line),
            share_us: sum("share_ppm", row.share_us)?,
            rcu_share_us: sum("rcu_milli", row.rcu_share_us)?,
            us: sum("to_at", row.us)?,
        })
    });
    records.collect()
}

/// Refuses what stands in another currency than the report's: no rate is known.
fn domestic(number: i16, functional: i16, month: Month) -> Result<(), Error> {
    if number == functional {
        return Ok(());
    }
    let currency = unit::from_number(number.into()).ok_or_else(|| bad_row("ledger.units", "number", number))?;
    Err(Error::ForeignRevenue { month, currency })
}

fn month(number: i16) -> Result<Month, Error> {
    Month::try_from_number(number).map_err(|_| bad_row("ledger.transfers", "period", number))
}

fn whole(table: &'static str, column: &'static str, sum: Decimal) -> Result<i128, Error> {
    sum.to_i128().ok_or_else(|| bad_row(table, column, sum))
}

fn leaf(
    month: Month,
    tenant: Option<TenantId>,
    model: Option<String>,
    node: Option<NodeId>,
    provider: Option<ProviderId>,
    line: Option<String>,
) -> Leaf {
    Leaf {
        period: month.to_string(),
        tenant: tenant.map(|id| id.to_string()),
        model,
        node: node.map(|id| id.to_string()),
        provider: provider.map(|id| id.to_string()),
        line,
    }
}
