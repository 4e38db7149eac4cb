//! Every way the room can refuse.

use std::time::Duration;

use primitives::certificate::Grade;
use primitives::id::{CellId, ConvictionId, JobId, JoinTokenId, NodeId, ProviderId};

use crate::job::JobRecord;

/// What the room's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal, or a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused: no such join token was ever given out.
    #[error("the join token is unknown")]
    JoinTokenUnknown,
    /// Refused: the token has let its one node in.
    #[error("the join token was already used")]
    JoinTokenUsed,
    /// Refused: the token's time is over.
    #[error("the join token has expired")]
    JoinTokenExpired,
    /// Refused: the token was revoked.
    #[error("the join token was revoked")]
    JoinTokenRevoked,
    /// Refused: no such token of the provider's that could still be revoked.
    #[error("join token {0} is unknown, used or revoked")]
    JoinTokenGone(JoinTokenId),
    /// Refused: another node registered this key.
    #[error("the public key belongs to a registered node")]
    PublicKeyTaken,
    /// Refused: no such provider.
    #[error("provider {0} is unknown")]
    ProviderUnknown(ProviderId),
    /// Refused: no such node.
    #[error("node {0} is unknown")]
    NodeUnknown(NodeId),
    /// Refused: a new node brings models, and may serve none of them.
    #[error(
        "none of the node's models is in the catalogue with the same weights, or with others that a certificate compares with them"
    )]
    NoServableModel,
    /// Refused: no such cell.
    #[error("cell {0} is unknown")]
    CellUnknown(CellId),
    /// Refused: the certificate's signature or time does not hold.
    #[error("the certificate is not signed by its key, or not in its time")]
    CertificateBroken,
    /// Refused: it is of no model of the catalogue.
    #[error("the certificate compares with weights that are no model's in the catalogue")]
    CertificateStrange,
    /// Refused: the node may not vouch for it.
    #[error("the certificate is signed by none of the provider's nodes")]
    CertificateSigner,
    /// Conflict: the node or cell is in a state that this does not follow from.
    #[error("the {what} is {state} already, or may not become so")]
    State {
        /// What.
        what: &'static str,
        /// The state that was wanted.
        state: &'static str,
    },
    /// Refused: no such conviction.
    #[error("conviction {0} is unknown")]
    ConvictionUnknown(ConvictionId),
    /// Refused: no such model in the catalogue.
    #[error("model `{0}` is unknown")]
    ModelUnknown(String),
    /// Refused: no such job.
    #[error("job {0} is unknown")]
    JobUnknown(JobId),
    /// Refused: the tenant used this idempotency key before.
    #[error("the idempotency key belongs to job {}", existing.job_id)]
    DuplicateKey {
        /// The job that has it.
        existing: Box<JobRecord>,
    },
    /// Conflict: the job ended before, and an end is final.
    #[error("job {0} has already ended")]
    JobEnded(JobId),
    /// Broken: a stored value that nothing of ours writes.
    #[error("{table}.{column} of {id} cannot be read")]
    BrokenRow {
        /// Where.
        table: &'static str,
        /// Which value.
        column: &'static str,
        /// Of which row.
        id: String,
    },
    /// Broken: the database failed.
    #[error("the broker's database failed")]
    Database(#[from] sqlx::Error),
}

impl primitives::tx::Failure for Error {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a job is not taken into the queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No node serves the model, nor did one since this broker began.
    #[error("no node serves `{model}`")]
    NoNode {
        /// The model asked for.
        model: String,
    },
    /// No node serves the model as near to the original as is asked for.
    #[error("no node serves `{model}` at grade `{}` or higher now", grade.as_str())]
    GradeNotServed {
        /// The model asked for.
        model: String,
        /// The lowest grade that would do.
        grade: Grade,
    },
    /// Prompt and output together pass the context of every node that serves the model.
    #[error("`{model}` is served with {context_tokens_max} tokens of context, {tokens_needed} are needed")]
    ContextTooShort {
        /// The model asked for.
        model: String,
        /// Prompt and the most output.
        tokens_needed: u64,
        /// The longest context at hand.
        context_tokens_max: u32,
    },
    /// Too much waits for the model, in all or from this tenant.
    #[error("the queue of `{model}` is full")]
    QueueFull {
        /// The model asked for.
        model: String,
        /// When there should be room, by the rate at which jobs end now.
        retry_after: Duration,
    },
    /// No node could begin the job before its deadline, after all that waits.
    #[error("no node can begin a job of `{model}` in time")]
    Late {
        /// The model asked for.
        model: String,
        /// When one should be able to.
        retry_after: Duration,
    },
    /// Every node that could serve it would let it wait for longer than it declares to.
    #[error("the nodes that serve `{model}` have as much as they take")]
    Overloaded {
        /// The model asked for.
        model: String,
        /// When one should take it.
        retry_after: Duration,
    },
    /// The job is already here.
    #[error("job {0} was already submitted")]
    Duplicate(JobId),
    /// The control plane is going down.
    #[error("the broker is shutting down")]
    ShuttingDown,
}
