//! What was used, as recorded.

use primitives::id::{JobId, NodeId, PriceId, ProviderId};
use primitives::money::Nanos;
use sqlx::PgConnection;

use crate::error::Error;
use crate::view::UsageView;

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
