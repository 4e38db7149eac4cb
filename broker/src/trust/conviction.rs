//! A conviction: audits that no honest engine gives. It suspends the node at once; what was kept back of it is forfeited once the time
//! for an appeal is over, or an operator has decided.

use chrono::{DateTime, TimeDelta, Utc};
use primitives::id::{ConvictionId, Ids, JobId, NodeId, ProviderId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::judgement::{FALSE_ALARM, HONEST_RATE, Judgement, POSITIONS, TOLERANCE};
use crate::node::{self, NodeStatus, Verdict};
use crate::{Error, Result, repo};

/// The form of the evidence.
const EVIDENCE_VERSION: u32 = 1;
/// Why a conviction that nobody appealed is upheld.
const UNAPPEALED: &str = "Nobody appealed in time.";

/// A node that was found to run another model than it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Conviction {
    /// Which.
    pub id: ConvictionId,
    /// Of which node.
    pub node_id: NodeId,
    /// Whose.
    pub provider_id: ProviderId,
    /// The model's name.
    pub model: String,
    /// Why, as a sentence.
    pub reason: String,
    /// What it rests on, for whoever checks it: the node's signed word on what it is, the audits with its signed receipts, the rule.
    pub evidence: Value,
    /// How far it is.
    pub state: ConvictionState,
    /// When.
    pub convicted_at: DateTime<Utc>,
    /// Until when the provider may appeal.
    pub appeal_until: DateTime<Utc>,
    /// What the provider says.
    pub appeal: Option<String>,
    /// When it did.
    pub appealed_at: Option<DateTime<Utc>>,
    /// Why it was upheld or overturned.
    pub decision: Option<String>,
    /// When it was.
    pub decided_at: Option<DateTime<Utc>>,
}

/// How far a conviction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvictionState {
    /// The provider may appeal.
    Open,
    /// An operator is to decide.
    Appealed,
    /// It stands: what was kept back is forfeited.
    Upheld,
    /// It was wrong: the node goes on where it was, and nothing is forfeited.
    Overturned,
}

impl ConvictionState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Appealed, Self::Upheld, Self::Overturned];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Appealed => "appealed",
            Self::Upheld => "upheld",
            Self::Overturned => "overturned",
        }
    }
}

/// An audit that was not part of a judgement yet, as evidence has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct OpenAudit {
    pub job_id: JobId,
    pub epoch: u32,
    pub referee_id: NodeId,
    pub prompt_tokens: u32,
    pub prompt_sha256: String,
    pub output_sha256: String,
    pub sampling: Value,
    pub slacks: Vec<f32>,
    /// The node's own word on the work, signed.
    pub receipt: Option<Value>,
    pub audited_at: DateTime<Utc>,
}

/// Judges the audits that are enough for it, and convicts by them; gives the new convictions.
///
/// *Statements*: reads and marks audits; of a conviction, suspends the node and records the evidence, in one transaction of the caller's.
/// *Locks*: the audits, then the node's row.
pub async fn judge(
    conn: &mut PgConnection,
    ids: &Ids,
    appeal_within: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<Conviction>> {
    let mut convictions = vec![];
    for (node_id, provider_id, model) in repo::convictions_due(conn).await? {
        let open = repo::audits_open(conn, node_id, &model).await?;
        let judged = &open[..window(&open)];
        let judgement = Judgement::of(judged.iter().flat_map(|audit| audit.slacks.iter().copied()));
        if !judgement.convicts() && !judgement.is_whole() {
            continue;
        }
        let leases: Vec<(JobId, u32)> = judged.iter().map(|audit| (audit.job_id, audit.epoch)).collect();
        repo::audits_judged(conn, &leases, now).await?;
        if !judgement.convicts() {
            continue;
        }
        let conviction = Conviction {
            id: ids.next(),
            node_id,
            provider_id,
            reason: reason(&model, judgement),
            evidence: evidence(conn, node_id, &model, judged, judgement).await?,
            model,
            state: ConvictionState::Open,
            convicted_at: now,
            appeal_until: now + appeal_within,
            appeal: None,
            appealed_at: None,
            decision: None,
            decided_at: None,
        };
        // One that is to be decided is enough.
        if repo::conviction_insert(conn, &conviction).await? {
            node::suspend_by_rule(conn, node_id, &conviction.reason, now).await?;
            convictions.push(conviction);
        }
    }
    Ok(convictions)
}

/// How many of these audits one judgement takes.
fn window(open: &[OpenAudit]) -> usize {
    let mut positions = 0;
    let part = open.iter().take_while(|audit| {
        let begins_within = positions < POSITIONS;
        positions += audit.slacks.len();
        begins_within
    });
    part.count()
}

fn reason(model: &str, Judgement { positions, apart, chance }: Judgement) -> String {
    format!(
        "Of {positions} tokens that it sampled, {apart} are not what `{model}` draws in its own weights; an honest engine gives so many \
         with a chance of {chance:.0e} at most."
    )
}

async fn evidence(
    conn: &mut PgConnection,
    node_id: NodeId,
    model: &str,
    audits: &[OpenAudit],
    judgement: Judgement,
) -> Result<Value> {
    let (public_key, statement) = repo::node_evidence(conn, node_id).await?;
    let reference = crate::model::get(conn, model).await?;
    Ok(json!({
        "version": EVIDENCE_VERSION,
        "node": { "id": node_id, "public_key": hex::encode(public_key), "statement": statement },
        "model": { "id": model, "revision": reference.revision, "weights_sha256": reference.weights_sha256 },
        "rule": {
            "positions": POSITIONS,
            "tolerance": f64::from(TOLERANCE),
            "honest_rate": HONEST_RATE,
            "false_alarm": FALSE_ALARM,
        },
        "audits": audits,
        "judgement": judgement,
    }))
}

/// Upholds the convictions that nobody appealed in time.
pub async fn uphold(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    repo::convictions_uphold(conn, UNAPPEALED, now).await
}

/// The conviction. *Errors*: [`Error::ConvictionUnknown`].
pub async fn get(conn: &mut PgConnection, id: ConvictionId) -> Result<Conviction> {
    repo::conviction_find(conn, id).await?.ok_or(Error::ConvictionUnknown(id))
}

/// Convictions, all or one provider's, the newest first, before `before`; at most `limit`.
pub async fn page(
    conn: &mut PgConnection,
    provider_id: Option<ProviderId>,
    before: Option<ConvictionId>,
    limit: u32,
) -> Result<Vec<Conviction>> {
    repo::convictions_page(conn, provider_id, before, limit).await
}

/// Appeals against a conviction. *Errors*: [`Error::State`] where it was appealed or decided, or its time is over.
pub async fn appeal(conn: &mut PgConnection, id: ConvictionId, text: &str, now: DateTime<Utc>) -> Result<Conviction> {
    if !repo::conviction_appeal(conn, id, text, now).await? {
        return Err(Error::State { what: "conviction", state: ConvictionState::Appealed.as_str() });
    }
    get(conn, id).await
}

/// Upholds or overturns a conviction; a node whose conviction is overturned goes on where it was.
///
/// *Errors*: [`Error::State`] where it was decided; [`Error::ConvictionUnknown`]. *Locks*: its row, then the node's, in the caller's
/// transaction.
pub async fn decide(
    conn: &mut PgConnection,
    id: ConvictionId,
    state: ConvictionState,
    decision: &str,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<Conviction> {
    if !repo::conviction_decide(conn, id, state, decision, user_id, now).await? {
        return Err(Error::State { what: "conviction", state: state.as_str() });
    }
    let conviction = get(conn, id).await?;
    let node = node::get(conn, conviction.node_id).await?;
    if state == ConvictionState::Overturned && node.status == NodeStatus::Suspended {
        node::judge(conn, node.id, Verdict::Resume, decision, user_id, now).await?;
    }
    Ok(conviction)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_judgement_takes_audits_until_it_is_whole() {
        let audit = |slacks: usize| OpenAudit {
            job_id: JobId(Uuid::nil()),
            epoch: 1,
            referee_id: NodeId(Uuid::nil()),
            prompt_tokens: 1,
            prompt_sha256: String::new(),
            output_sha256: String::new(),
            sampling: Value::Null,
            slacks: vec![0.0; slacks],
            receipt: None,
            audited_at: DateTime::UNIX_EPOCH,
        };
        let window = |lengths: &[usize]| window(&lengths.iter().map(|length| audit(*length)).collect::<Vec<_>>());
        assert_eq!(window(&[]), 0);
        assert_eq!(window(&[100, 100]), 2);
        assert_eq!(window(&[100, 200, 5]), 2);
        assert_eq!(window(&[299, 300, 1]), 2);
    }

    #[test]
    fn the_reason_is_a_sentence_with_its_numbers() {
        let judgement = Judgement { positions: 300, apart: 41, chance: 2.5e-40 };
        assert_eq!(
            reason("spark-1", judgement),
            "Of 300 tokens that it sampled, 41 are not what `spark-1` draws in its own weights; an honest engine gives so many with a \
             chance of 2e-40 at most."
        );
    }
}
