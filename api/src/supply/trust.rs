//! What audits lead to: convictions, appeals, and their end.

use broker::trust::conviction::{self, Conviction, ConvictionState};
use primitives::id::{ConvictionId, ProviderId, UserId};
use primitives::tx::run_tx;
use sqlx::PgConnection;

use super::Supply;
use super::provider::{checked_reason, refused};
use crate::error::Error;

/// The longest appeal. *Units*: characters.
const APPEAL_CHARS_MAX: usize = 2_000;

impl Supply {
    /// Judges the audits that are enough for it, upholds what nobody appealed in time, and cuts off who was convicted.
    pub async fn judge_audits(&self) -> broker::Result<()> {
        let (appeal_within, now) = (self.rules.appeal_within, self.clock.now());
        let judged = run_tx(&self.pool, "audits_judge", |conn| {
            let ids = self.ids.clone();
            Box::pin(async move {
                let convictions = conviction::judge(conn, &ids, appeal_within, now).await?;
                conviction::uphold(conn, now).await?;
                Ok::<_, broker::Error>(convictions)
            })
        });
        let convictions = judged.await?;
        for conviction in &convictions {
            tracing::error!(node.id = %conviction.node_id, reason = conviction.reason, "a node was convicted and is suspended");
        }
        if convictions.is_empty() { Ok(()) } else { self.refresh().await }
    }

    /// Appeals against a conviction of the provider's node.
    pub async fn appeal(&self, owner: ProviderId, id: ConvictionId, text: &str) -> Result<Conviction, Error> {
        let text = text.trim();
        if !(1..=APPEAL_CHARS_MAX).contains(&text.chars().count()) {
            return Err(Error::invalid("text", format!("An appeal has 1 to {APPEAL_CHARS_MAX} characters.")));
        }
        let mut conn = self.pool.acquire().await?;
        conviction_of(&mut conn, id, owner).await?;
        conviction::appeal(&mut conn, id, text, self.clock.now()).await.map_err(refused)
    }

    /// Upholds or overturns a conviction, for a reason.
    pub async fn decide_appeal(
        &self,
        id: ConvictionId,
        overturn: bool,
        reason: &str,
        user_id: UserId,
    ) -> Result<Conviction, Error> {
        let (reason, now) = (checked_reason(reason)?, self.clock.now());
        let state = if overturn { ConvictionState::Overturned } else { ConvictionState::Upheld };
        let decided = run_tx(&self.pool, "appeal_decide", |conn| {
            let reason = reason.clone();
            Box::pin(async move {
                conviction::get(conn, id).await.map_err(refused)?;
                conviction::decide(conn, id, state, &reason, user_id, now).await.map_err(refused)
            })
        });
        decided.await
    }
}

async fn conviction_of(conn: &mut PgConnection, id: ConvictionId, owner: ProviderId) -> Result<Conviction, Error> {
    let conviction = conviction::get(conn, id).await.map_err(refused)?;
    if conviction.provider_id == owner { Ok(conviction) } else { Err(Error::NotFound("conviction")) }
}
