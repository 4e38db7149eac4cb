//! Every way this room can refuse or break.

use std::path::PathBuf;

use primitives::node_protocol::MESSAGE_BYTES_MAX;

use crate::gguf::Fault;

/// A request that is not taken; the caller's doing, or too much at once.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// All slots run and the queue is full: try again, or elsewhere.
    #[error("the engine is full: {live} requests run or wait")]
    Full {
        /// Requests that run or wait.
        live: usize,
    },
    /// The engine stopped.
    #[error("the engine has stopped")]
    Stopped,
    /// The model is not in memory and could not be loaded.
    #[error("{id} could not be loaded: {reason}")]
    NotLoaded {
        /// Which model.
        id: String,
        /// Why.
        reason: String,
    },
    /// The model is for something else.
    #[error("{id} is not made for that")]
    Kind {
        /// Which model.
        id: String,
    },
    /// There is nothing to go on from.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// There is nothing to make.
    #[error("no output tokens are allowed")]
    NoOutput,
    /// Prompt and output together do not fit a slot.
    #[error("prompt and output need {needed} tokens and a slot has {available}")]
    ContextExceeded {
        /// Prompt and longest output. *Units*: tokens.
        needed: usize,
        /// A slot's size. *Units*: tokens.
        available: usize,
    },
    /// A token id that the vocabulary lacks.
    #[error("token {id} is not in the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// A sampling number outside its range.
    #[error("{name} must be {range}, not {value}")]
    Sampling {
        /// Which.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        value: f32,
    },
    /// Too many stop texts, an empty one, or a long one.
    #[error("at most {most} stop texts, each of 1 to {bytes_max} bytes")]
    Stops {
        /// How many there may be.
        most: usize,
        /// How long each may be.
        bytes_max: usize,
    },
    /// The grammar cannot be held.
    #[error("the output cannot be held to this grammar: {reason}")]
    Grammar {
        /// Why.
        reason: String,
    },
    /// More likely tokens were asked for than are told.
    #[error("at most {most} likely tokens are told beside each")]
    Logprobs {
        /// How many are.
        most: u8,
    },
    /// The engine behind this node would not do it as it is meant.
    #[error("the {engine} behind this node cannot do {what}")]
    Upstream {
        /// Which engine.
        engine: &'static str,
        /// What it cannot do.
        what: &'static str,
    },
    /// The engine behind this node does not answer.
    #[error("the engine behind this node is not ready: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// More text was delivered than the resumed tokens make, or half a character.
    #[error("resumed tokens make {made} bytes of text, which cannot go on from byte {delivered}")]
    ResumeText {
        /// What they make. *Units*: bytes.
        made: usize,
        /// What was said to be delivered. *Units*: bytes.
        delivered: usize,
    },
}

/// What broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A JSON file does not say what it should.
    #[error("cannot understand {path}")]
    Json {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The weights or the tokenizer are not those of the manifest.
    #[error("{path} has SHA-256 {found}, but its manifest says {expected}")]
    WrongWeights {
        /// The file.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// The weights' file is none that a model can be loaded from.
    #[error("cannot load {path}: {fault}")]
    Header {
        /// The weights' file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The library ends the process over these weights: a trial found out.
    #[error("cannot load {path}: the library ends the process over it (signal {signal})")]
    Deadly {
        /// The weights' file.
        path: PathBuf,
        /// The signal that ended the trial.
        signal: i32,
    },
    /// The weights cannot be loaded.
    #[error("cannot load {path}: {reason}")]
    Weights {
        /// The weights' file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// A model would need more memory than there is left for models.
    #[error(
        "{path} needs {needed_mib} MiB of memory (weights {weights_mib}, caches {caches_mib}, computing {computing_mib}, saved states {states_mib}) and {available_mib} are left: fewer --slots, a shorter --context, a smaller --saved-mib, or fewer bits a weight need less"
    )]
    Memory {
        /// The weights' file.
        path: PathBuf,
        /// All that it needs.
        needed_mib: u64,
        /// Of that, for weights.
        weights_mib: u64,
        /// Of that, for keys and values.
        caches_mib: u64,
        /// Of that, for a batch.
        computing_mib: u64,
        /// Of that, for saved states.
        states_mib: u64,
        /// What is left.
        available_mib: u64,
    },
    /// The engine's memory cannot be had.
    #[error("cannot make a context of {slots} slots of {context_tokens} tokens: {reason}")]
    Context {
        /// Sequences at once.
        slots: usize,
        /// Tokens a sequence.
        context_tokens: usize,
        /// The library's words.
        reason: String,
    },
    /// Weights could not be made smaller.
    #[error("cannot quantise {path}: {reason}")]
    Quantise {
        /// The original's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Two models could not be compared.
    #[error("cannot measure the alignment: {reason}")]
    Align {
        /// Why.
        reason: String,
    },
    /// A batch could not be computed.
    #[error("cannot compute the batch: {reason}")]
    Decode {
        /// The library's words.
        reason: String,
    },
    /// A sequence's cache could not be saved, restored or cut.
    #[error("cannot change the state of a sequence: {reason}")]
    State {
        /// The library's words.
        reason: String,
    },
    /// The operating system gives no thread.
    #[error("cannot start the engine's thread")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// The state folder holds no identity and no join token was given, or one of its files is broken.
    #[error("{what} in {dir}: {advice}")]
    Identity {
        /// The state folder.
        dir: PathBuf,
        /// What is wrong.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The control plane cannot be reached, or the connection broke.
    #[error("the connection to the control plane broke")]
    Connection {
        /// Why.
        source: Box<tokio_tungstenite::tungstenite::Error>,
    },
    /// The control plane closed the connection.
    #[error("the control plane closed the connection")]
    Closed,
    /// The other side stayed silent.
    #[error("the control plane did not answer within {seconds} s")]
    Silent {
        /// How long we waited.
        seconds: u64,
    },
    /// The control plane said something that this program does not understand.
    #[error(
        "the control plane sent what is no message of this protocol (at most {MESSAGE_BYTES_MAX} bytes of JSON): {reason}"
    )]
    Protocol {
        /// What is wrong with it.
        reason: String,
    },
    /// The control plane does not let this node in.
    #[error("the control plane refused this node ({code}): {message}")]
    NotLetIn {
        /// A word for programs.
        code: String,
        /// What to do.
        message: String,
    },
    /// An engine that the provider runs cannot be used.
    #[error("cannot use the engine at {url}: {reason}")]
    Upstream {
        /// Where it is.
        url: String,
        /// Why.
        reason: String,
    },
    /// The engine of a model died.
    #[error("the engine of {model} has stopped")]
    EngineStopped {
        /// Which model.
        model: String,
    },
}
