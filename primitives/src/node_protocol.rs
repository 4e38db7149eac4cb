//! What the control plane and a node say to each other, over the one WebSocket that the node opens.
//!
//! Every message is one JSON text frame. The node speaks first:
//!
//! ```text
//! node                          control plane
//!  │ HELLO (who, descriptor) ──────▶│
//!  │◀────────── CHALLENGE (nonce)   │
//!  │ PROOF (signature) ────────────▶│   over the descriptor as well: what a node claims is its signed word
//!  │◀──── WELCOME, or REFUSED and the connection closes
//!  │ HEARTBEAT every second ───────▶│
//!  │◀──────────── OFFER (job, epoch)│
//!  │ ACCEPT or DECLINE ────────────▶│
//!  │◀────────────── COMMIT (work)   │   the prompt travels only after the node took the job
//!  │ TOKENS … ─────────────────────▶│   where texts are to be embedded: EMBED and EMBEDDING …
//!  │ FINISHED (receipt) or FAILED ─▶│
//!  │◀──── CANCEL, whenever the job is no longer wanted
//!  │◀──── REPLAY (prompt, output of another node): what would the seed have drawn here?
//!  │ REPLAYED (slacks) ────────────▶│
//!  │◀──── DRAIN, when the node's provider wants it to leave
//!  │ GOODBYE ──────────────────────▶│   draining: no more offers, running work ends first
//! ```
//!
//! A *lease* is (node, job, epoch). The epoch rises each time a job is given to another node; a message that carries an
//! older one is dropped and never paid. A node's word is never money: what is paid is counted from delivered frames.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::certificate::Certificate;
use crate::grammar::Grammar;
use crate::id::{JobId, NodeId};
use crate::kv_block::BlockName;

/// The version both sides must speak.
pub const VERSION: u32 = 4;

/// The longest message either side reads. *Units*: bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most blocks that one heartbeat tells of, for each model; the rest waits for the next.
pub const BLOCK_NEWS_MAX: usize = 1024;

/// The most certificates that one HELLO brings.
pub const CERTIFICATES_MAX: usize = 32;

/// What a node signs to prove its key and to stand by its descriptor: this, the nonce's bytes, its public key's bytes, then the
/// descriptor's digest.
pub const PROOF_CONTEXT: &[u8] = b"tokengrid node proof v2\n";

/// A node's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromNode {
    /// Opens the conversation.
    Hello(Box<Hello>),
    /// Answers the challenge.
    Proof {
        /// Ed25519 over [`proof_message`], in hexadecimal.
        signature: String,
    },
    /// Tells the node's load, each `heartbeat_ms`.
    Heartbeat(Load),
    /// Takes the offered job.
    Accept {
        /// Which job.
        job_id: JobId,
        /// Under which lease.
        epoch: u32,
    },
    /// Leaves the offered job to others.
    Decline {
        /// Which job.
        job_id: JobId,
        /// Under which lease.
        epoch: u32,
        /// Why, for the operator.
        reason: String,
        /// When the node should be able to take such a job, if it is only too busy for it now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u32>,
    },
    /// Tokens, in order.
    Tokens(TokenFrame),
    /// The vector of a text, in order.
    Embedding(EmbeddingFrame),
    /// The job ended as it should.
    Finished {
        /// Why the output ended.
        reason: FinishReason,
        /// How many frames the lease sent: should one of them be overtaken, the end waits for it.
        frames: u32,
        /// Tokens of the prompt that the node's cache held, by its own word.
        #[serde(default)]
        cached_tokens: u32,
        /// The node's account of the work.
        receipt: Box<SignedReceipt>,
    },
    /// The node could not do the job; another may.
    Failed {
        /// Which job.
        job_id: JobId,
        /// Under which lease.
        epoch: u32,
        /// What went wrong, for the operator.
        message: String,
    },
    /// What replaying another node's output found.
    Replayed {
        /// Which job.
        job_id: JobId,
        /// Under which lease its output was made.
        epoch: u32,
        /// How far the distribution would have to move for each token to be drawn, of those that were a choice: where the likeliest is all
        /// but certain and was delivered, there is nothing to tell. None where the node cannot replay. *Units*: probability.
        slacks: Option<Vec<f32>>,
    },
    /// The node drains: it takes no more offers.
    Goodbye,
}

/// The control plane's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToNode {
    /// Asks for proof of the key.
    Challenge {
        /// 32 random bytes in hexadecimal.
        nonce: String,
    },
    /// The node is in.
    Welcome {
        /// Its identity from now on.
        node_id: NodeId,
        /// How often it tells its load.
        heartbeat_ms: u32,
    },
    /// The node is not let in; the connection closes.
    Refused {
        /// A word for programs, such as `join_token_used`.
        code: String,
        /// A sentence for people that says what to do.
        message: String,
    },
    /// Offers a job.
    Offer(Offer),
    /// Gives the accepted job's work.
    Commit {
        /// Which job.
        job_id: JobId,
        /// Under which lease.
        epoch: u32,
        /// What to do.
        work: Box<Work>,
    },
    /// Gives the accepted job's texts, each to be embedded by itself.
    Embed {
        /// Which job.
        job_id: JobId,
        /// Under which lease.
        epoch: u32,
        /// Each as token ids of the model's registered tokenizer; those that no other node has delivered the vectors of.
        texts: Vec<Vec<u32>>,
    },
    /// Asks what the model would have drawn where another node made this output.
    Replay {
        /// Which job.
        job_id: JobId,
        /// Under which lease its output was made.
        epoch: u32,
        /// What to read.
        replay: Box<Replay>,
    },
    /// The node is to drain: it gets no more offers, running work ends first, then it leaves.
    Drain,
    /// The job is no longer wanted; its sequence is freed at once and nothing more is sent for it.
    Cancel {
        /// Which job.
        job_id: JobId,
        /// Under which lease.
        epoch: u32,
    },
}

/// A node's introduction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The version the node speaks, [`VERSION`].
    pub protocol: u32,
    /// Who it claims to be.
    pub credential: Credential,
    /// What it is.
    pub descriptor: NodeDescriptor,
    /// What it was certified for, at most [`CERTIFICATES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
}

/// How a node is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Credential {
    /// A first visit, with a one-time token.
    Join {
        /// The secret that the provider was shown.
        token: String,
        /// The node's Ed25519 public key in hexadecimal.
        public_key: String,
    },
    /// A return; the key was registered at the first visit.
    Known {
        /// The identity given then.
        node_id: NodeId,
    },
}

/// A machine and what it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeDescriptor {
    /// What the provider calls it.
    pub name: String,
    /// Where it stands.
    pub tier: Tier,
    /// The chip, as the vendor names it.
    pub chip: String,
    /// Threads given to the engine.
    pub threads: u32,
    /// Memory of the machine or chip. *Units*: bytes.
    pub memory_bytes: u64,
    /// The engine and its version, such as `llama.cpp 0.1.161`.
    pub engine: String,
    /// The node program's version.
    pub version: String,
    /// The models loaded and ready.
    pub models: Vec<ServedModel>,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// A data centre.
    Cloud,
    /// A site near its users.
    Edge,
    /// A person's own machine.
    Terminal,
}

impl Tier {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Edge => "edge",
            Self::Terminal => "terminal",
        }
    }
}

/// One model on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServedModel {
    /// The model's name in the catalogue, such as `spark-1`.
    pub model: String,
    /// SHA-256 of the weights' file, in hexadecimal.
    pub weights_sha256: String,
    /// How the weights are stored, such as `F16` or `Q8_0`.
    pub quantisation: String,
    /// Prompt and output together. *Units*: tokens a sequence.
    pub context_tokens: u32,
    /// Sequences decoded at once.
    pub slots: u32,
    /// The engine that serves it, with its version, such as `llama.cpp 0.1.161`.
    #[serde(default)]
    pub engine: String,
    /// What of the chip that engine uses, such as `AVX512_VNNI`, and how its caches are stored where that is not in 16 bits; none of an engine beside
    /// the node, which does not tell.
    #[serde(default)]
    pub features: Vec<String>,
    /// The load that it declares: no job is to wait longer than this for its turn. Without it jobs wait as long as they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_ms_max: Option<u32>,
    /// A job takes the slot of one of a lower priority, which goes on later.
    #[serde(default)]
    pub preempts: bool,
    /// How fast it is, where the node measured that before it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
}

/// How fast a cell is, measured in a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// For each token of a prompt that is read alone.
    pub prompt_token_us: u32,
    /// What a step takes, by the sequences in it; at most [`STEP_TIMES_MAX`] count.
    pub steps: Vec<StepTime>,
}

/// What a step takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// How many sequences get a token in it.
    pub sequences: u32,
    /// From the one before to it.
    pub step_us: u32,
}

/// The most points of a [`Speed`] that are looked at.
pub const STEP_TIMES_MAX: usize = 16;

/// What a node is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Sequences in the batch.
    pub running: u32,
    /// Accepted jobs that wait for a slot.
    pub waiting: u32,
    /// More of each model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelLoad>,
}

/// What a model's engine is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelLoad {
    /// The model's name.
    pub model: String,
    /// Jobs that it takes at once now, where that may differ from what the descriptor says: none while its engine cannot answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// When a job that comes now may be answered; unknown until enough was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
    /// KV blocks that the caches hold since the last heartbeat, or that are being computed. A connection begins with none, and
    /// a heartbeat tells of [`BLOCK_NEWS_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks_added: Vec<BlockName>,
    /// KV blocks that they no longer hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks_removed: Vec<BlockName>,
}

/// The priority of a job that somebody waits for; what can wait has a lower one.
pub const PRIORITY_INTERACTIVE: u8 = 1;

/// When a first token of an interactive job may be expected, if all goes on as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Until the turn of a job that comes now.
    pub turn_ms: u32,
    /// Then for each token of its prompt that no cache holds.
    pub prompt_token_us: u32,
    /// Before all that, until the model's weights are in memory.
    #[serde(default)]
    pub loading_ms: u32,
}

impl Outlook {
    /// The same for a job that comes after prompts of so many more tokens.
    pub fn after(self, tokens: u32) -> Self {
        let more_ms = u64::from(tokens) * u64::from(self.prompt_token_us) / 1_000;
        let more_ms = u32::try_from(more_ms).unwrap_or(u32::MAX);
        Self { turn_ms: self.turn_ms.saturating_add(more_ms), ..self }
    }
}

/// A job, as far as a node must know it to accept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which job.
    pub job_id: JobId,
    /// The lease's fencing token.
    pub epoch: u32,
    /// The offer lapses after this long.
    pub expires_ms: u32,
    /// The model's name.
    pub model: String,
    /// The prompt's length, with what other nodes already delivered; that of the longest text that is to be embedded. *Units*: tokens.
    pub prompt_tokens: u32,
    /// The most tokens that may still come.
    pub output_tokens_max: u32,
    /// As in its [`Terms`].
    #[serde(default)]
    pub priority: u8,
}

/// What a node is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The prompt, as token ids of the model's registered tokenizer.
    pub prompt: Vec<u32>,
    /// Output token ids that another node already delivered; the output goes on after them.
    pub resume: Vec<u32>,
    /// How many bytes of text those ids already gave the client.
    pub resume_text_bytes: u64,
    /// The most output tokens, the resumed ones included.
    pub output_tokens_max: u32,
    /// Texts that end the output and are not part of it.
    pub stop: Vec<String>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// What it may expect of the engine; a control plane that says nothing asks for nothing.
    #[serde(default)]
    pub terms: Terms,
    /// What the output must look like; none leaves it free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grammar: Option<Grammar>,
    /// How likely tokens were is told with this many of the likeliest beside each; none tells nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
}

/// An output that was made elsewhere, to be read and compared with what the model draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The model's name.
    pub model: String,
    /// The prompt, as token ids of the model's registered tokenizer.
    pub prompt: Vec<u32>,
    /// Output before the one in question; it is read and not compared.
    pub resume: Vec<u32>,
    /// The output in question.
    pub output: Vec<u32>,
    /// How its tokens should have been drawn.
    pub sampling: Sampling,
}

/// What a job may expect of the engine that does it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Jobs of one salt may go on from each other's prompts: it stands for a tenant and tells nothing of it. Without one a
    /// job shares with nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_salt: Option<String>,
    /// Higher goes first, and may take the slot of a lower.
    #[serde(default)]
    pub priority: u8,
    /// How soon after the commit the first token is wanted: it orders jobs of one priority and ends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_within_ms: Option<u32>,
}

/// How tokens are drawn from the model's distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// Keep the likeliest tokens up to this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep this many of the likeliest; 0 keeps all.
    pub top_k: u32,
    /// With the position, the only source of randomness.
    pub seed: u64,
    /// Lowers a token's logit by this for each time it was drawn.
    pub frequency_penalty: f32,
    /// Lowers a drawn token's logit by this once.
    pub presence_penalty: f32,
    /// Raises these tokens' logits by so much; -100 bars a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logit_bias: Vec<(u32, f32)>,
}

impl Sampling {
    /// Always the likeliest token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            seed: 0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
        }
    }

    /// Whether a draw can be replayed: where the likeliest alone are kept, a draw depends on the order of near equals, which an honest
    /// engine's last bits may change.
    pub fn is_replayable(&self) -> bool {
        self.top_k == 0 && self.top_p >= 1.0
    }
}

/// A few tokens and the text that they complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenFrame {
    /// Which job.
    pub job_id: JobId,
    /// Under which lease.
    pub epoch: u32,
    /// 0, 1, 2 … within the lease, without gaps.
    pub seq: u32,
    /// The new tokens.
    pub ids: Vec<u32>,
    /// Whole characters that can be shown; may lag behind the tokens, never run ahead.
    pub text: String,
    /// How likely each token was, where the work asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprobs>,
}

/// The embedding of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingFrame {
    /// Which job.
    pub job_id: JobId,
    /// Under which lease.
    pub epoch: u32,
    /// 0, 1, 2 … within the lease: which of its texts.
    pub seq: u32,
    /// Of length one; as many numbers as the model has dimensions.
    pub vector: Vec<f32>,
}

/// The most dimensions of an embedding.
pub const DIMENSIONS_MAX: usize = 16_384;

/// How likely a drawn token was to the model, before temperature, penalties, bias and grammar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprobs {
    /// The token that was drawn.
    pub drawn: TokenLogprob,
    /// The likeliest ones, the likeliest first.
    pub top: Vec<TokenLogprob>,
}

/// A token and the natural logarithm of its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Which.
    pub id: u32,
    /// Its bytes, none for a control token.
    pub bytes: Vec<u8>,
    /// 0 is certain.
    pub logprob: f32,
}

/// Why an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// The limit was reached.
    Length,
}

impl FinishReason {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A node's own account of a lease's work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which job.
    pub job_id: JobId,
    /// Under which lease.
    pub epoch: u32,
    /// Who did it.
    pub node_id: NodeId,
    /// Tokens of the prompt, without resumed ones; of all texts that this lease embedded.
    pub prompt_tokens: u32,
    /// Tokens that this lease sent.
    pub output_tokens: u32,
    /// SHA-256 over those tokens' ids, each four bytes little-endian, in hexadecimal.
    pub output_sha256: String,
    /// From commit to the first token.
    pub first_token_ms: u32,
    /// From commit to the end.
    pub total_ms: u32,
}

/// A receipt and the signature over [`Receipt::signed_bytes`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What the node says.
    pub receipt: Receipt,
    /// Ed25519, in hexadecimal.
    pub signature: String,
}

impl Receipt {
    /// The bytes that are signed: a context line, then the fields in order, one a line.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let Self { job_id, epoch, node_id, prompt_tokens, output_tokens, output_sha256, first_token_ms, total_ms } =
            self;
        format!(
            "tokengrid receipt v1\n{job_id}\n{epoch}\n{node_id}\n{prompt_tokens}\n{output_tokens}\n{output_sha256}\n\
             {first_token_ms}\n{total_ms}\n"
        )
        .into_bytes()
    }
}

impl NodeDescriptor {
    /// SHA-256 over its JSON, as both sides write it.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(serde_json::to_vec(self).expect("a descriptor is plain data")).into()
    }
}

/// The bytes a node signs to prove that it holds its key and says this of itself.
pub fn proof_message(nonce: &[u8], public_key: &[u8], descriptor_sha256: &[u8; 32]) -> Vec<u8> {
    [PROOF_CONTEXT, nonce, public_key, descriptor_sha256].concat()
}

/// SHA-256 over token ids, each four bytes little-endian, in hexadecimal: the receipt's `output_sha256`.
pub fn output_sha256<'a>(ids: impl IntoIterator<Item = &'a u32>) -> String {
    let mut hasher = Sha256::new();
    for id in ids {
        hasher.update(id.to_le_bytes());
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_and_names_its_type() {
        let message = FromNode::Tokens(TokenFrame {
            job_id: JobId(uuid::Uuid::nil()),
            epoch: 1,
            seq: 0,
            ids: vec![7, 8],
            text: "ab".into(),
            logprobs: vec![],
        });
        let json = serde_json::to_string(&message).unwrap();
        assert!(json.starts_with(r#"{"type":"tokens","job_id":"job_0000"#), "{json}");
        assert_eq!(serde_json::from_str::<FromNode>(&json).unwrap(), message);
    }

    #[test]
    fn what_an_older_program_does_not_say_is_nothing() {
        let heartbeat = serde_json::from_str(r#"{"type":"heartbeat","running":1,"waiting":0}"#).unwrap();
        let said = FromNode::Heartbeat(Load { running: 1, ..Load::default() });
        assert_eq!((serde_json::to_string(&said).unwrap().contains("models"), heartbeat), (false, said));
        let work = r#"{"prompt":[1],"resume":[],"resume_text_bytes":0,"output_tokens_max":1,"stop":[],"sampling":
            {"temperature":0,"top_p":1,"top_k":0,"seed":0,"frequency_penalty":0,"presence_penalty":0}}"#;
        assert_eq!(serde_json::from_str::<Work>(work).unwrap().terms, Terms::default());
    }

    #[test]
    fn what_a_job_may_expect_reads_back() {
        let terms = Terms { cache_salt: Some("5a17".into()), priority: 1, first_token_within_ms: Some(500) };
        let json = serde_json::to_string(&terms).unwrap();
        assert_eq!(json, r#"{"cache_salt":"5a17","priority":1,"first_token_within_ms":500}"#);
        assert_eq!(serde_json::from_str::<Terms>(&json).unwrap(), terms);
    }

    #[test]
    fn a_message_of_no_known_type_is_refused() {
        assert!(serde_json::from_str::<FromNode>(r#"{"type":"bribe"}"#).is_err());
        assert!(serde_json::from_str::<ToNode>(r#"{"type":"cancel"}"#).is_err());
    }
}
