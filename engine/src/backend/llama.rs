//! llama.cpp: weights, vocabulary, and a context that decodes batches. The only file that touches the library.
//!
//! # Where logits depend on the batch
//!
//! llama.cpp chooses kernels by the shape of a batch, and each kernel sums in its own order. So a sequence's logits differ in
//! their last bits with what else is in the batch. On CPUs:
//!
//! - *Matrix products* of one row are dot products; from two rows on they are tiled (`llamafile_sgemm`), and repacked
//!   quantised weights take rows in fours. Quantised weights also quantise the activations, so their differences are larger.
//! - *Attention* over 512 cells or more is split over the threads when one token of one sequence is computed alone; many
//!   tokens of a sequence are computed in tiles; everything else goes token by token.
//! - *Prompts* come in chunks, and where they are cut depends on what runs beside them.
//!
//! The same batches on the same machine with the same threads give the same bits; across batches nothing is promised.
//! Measured: of the bundled model's greedy answers in F16, 96 of 96 were the same alone and among 32; of a random model's in
//! Q8_0, 0 to 8 of 8. What this crate adds to the logits (sampling, scheduling, text) is exact.

pub mod embeddings;
pub mod quantise;
mod scores;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::context::session::{LlamaStateSeqFlags, SeqState};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{LogOptions, StateSeqError, send_logs_to_tracing};

use crate::error::Error;
use crate::gguf::Header;

/// The most sequences that one context can hold.
pub const SLOTS_MAX: usize = 256;

/// A context's cache grows in steps of this. *Units*: tokens a sequence.
pub const CONTEXT_STEP_TOKENS: usize = 256;

/// The library's own name for what it is, such as `llama.cpp b1234`.
pub fn version() -> String {
    // SAFETY: the library returns a string constant.
    let version = unsafe { std::ffi::CStr::from_ptr(llama_cpp_sys_2::llama_version()) };
    format!("llama.cpp {}", version.to_string_lossy())
}

/// What of the chip the library's kernels use, such as `AVX512_VNNI`, by name.
pub fn features() -> Vec<String> {
    // SAFETY: the library returns a text that it keeps.
    let text = unsafe { std::ffi::CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) };
    let text = text.to_string_lossy();
    let features = text.split(['|', ':']).filter_map(|part| part.trim().strip_suffix(" = 1")).map(str::trim);
    let mut features: Vec<String> = features.map(str::to_owned).collect();
    features.sort_unstable();
    features
}

/// The same, and how caches are stored where that is not in 16 bits: `KV_Q8_0`.
pub fn features_with(kv: KvType) -> Vec<String> {
    let packed = (kv != KvType::F16).then(|| format!("KV_{}", kv.as_str().to_uppercase()));
    features().into_iter().chain(packed).collect()
}

/// The library, initialised once a process; its log lines become tracing events of target `llama-cpp-2`.
fn library() -> &'static LlamaBackend {
    static LIBRARY: OnceLock<LlamaBackend> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        send_logs_to_tracing(LogOptions::default());
        LlamaBackend::init().expect("nothing else in this process initialises the library")
    })
}

/// A model's weights and vocabulary in memory.
#[derive(Debug)]
pub struct Weights {
    model: LlamaModel,
}

impl Weights {
    /// Reads a GGUF file.
    ///
    /// # Errors
    /// When the file cannot be read as a model. The header is checked first, since the library aborts on some that are broken.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Header::read(path)?;
        let model = LlamaModel::load_from_file(library(), path, &LlamaModelParams::default())
            .map_err(|error| Error::Weights { path: path.into(), reason: error.to_string() })?;
        Ok(Self { model })
    }

    /// The longest sequence the model was trained on. *Units*: tokens.
    pub fn context_trained(&self) -> usize {
        self.model.n_ctx_train() as usize
    }

    /// A scalar of the file's metadata, as text.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.model.meta_val_str(key).ok()
    }

    /// How the file says its weights are stored, such as `F16` or `Q8_0`.
    pub fn quantisation(&self) -> String {
        let Some(file_type) = self.metadata("general.file_type").and_then(|text| text.parse().ok()) else {
            return "unknown".into();
        };
        // SAFETY: the library returns a string constant for any number.
        let name = unsafe { std::ffi::CStr::from_ptr(llama_cpp_sys_2::llama_ftype_name(file_type)) };
        name.to_string_lossy().into_owned()
    }

    /// How many tokens there are; ids run from 0.
    pub fn vocabulary_len(&self) -> usize {
        self.model.n_vocab() as usize
    }

    /// The bytes that a token stands for; none for control tokens.
    pub fn piece(&self, id: u32) -> Vec<u8> {
        self.model.vocab().token_to_piece(token(id), false, None)
    }

    /// The name of a control token, which stands for no text; none for others.
    pub fn control_text(&self, id: u32) -> Option<String> {
        let vocabulary = self.model.vocab();
        let shown = vocabulary.token_to_piece(token(id), false, None);
        let named = vocabulary.token_to_piece(token(id), true, None);
        (shown.is_empty() && !named.is_empty()).then(|| String::from_utf8_lossy(&named).into_owned())
    }

    /// Whether the model ends its output with this token.
    pub fn ends(&self, id: u32) -> bool {
        self.model.vocab().is_eog(token(id))
    }

    /// Whether a cache can be cut after any token, so that one sequence can go on from a part of another's.
    pub fn shares_prefixes(&self) -> bool {
        let architecture = self.metadata("general.architecture").unwrap_or_default();
        let window = self.metadata(&format!("{architecture}.attention.sliding_window"));
        window.is_none() && !self.model.is_recurrent() && !self.model.is_hybrid()
    }

    /// Whether it reads a text from both sides at once, and so makes no next token.
    pub fn is_encoder(&self) -> bool {
        let architecture = self.metadata("general.architecture").unwrap_or_default();
        self.metadata(&format!("{architecture}.attention.causal")).as_deref() == Some("false")
    }

    /// A text as tokens, nothing added; `special` reads control tokens' names as those tokens.
    pub fn tokenise(&self, text: &str, special: bool) -> Vec<u32> {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), false, special);
        tokens.into_iter().map(|token| token.0 as u32).collect()
    }
}

fn token(id: u32) -> LlamaToken {
    LlamaToken(i32::try_from(id).unwrap_or(-1))
}

/// How a cache's keys and values are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// 16 bits each.
    #[default]
    F16,
    /// Eight bits and a half each: half the memory and less to read, and answers a little further from the original's.
    Q8_0,
}

impl KvType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F16, Self::Q8_0];

    /// The word for it on a command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// What so many numbers take. *Units*: bytes.
    pub fn bytes(self, numbers: u64) -> u64 {
        match self {
            Self::F16 => numbers.saturating_mul(2),
            // Thirty-two numbers and their scale of 16 bits.
            Self::Q8_0 => numbers.saturating_mul(34).div_ceil(32),
        }
    }

    fn of_library(self) -> KvCacheType {
        match self {
            Self::F16 => KvCacheType::F16,
            Self::Q8_0 => KvCacheType::Q8_0,
        }
    }
}

/// Names a saved state.
pub type SavedId = u64;

/// A context's size.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sequences, at most [`SLOTS_MAX`].
    pub slots: usize,
    /// Tokens a sequence, rounded up to [`CONTEXT_STEP_TOKENS`].
    pub context_tokens: usize,
    /// Tokens a batch.
    pub batch_tokens: usize,
    /// Threads that compute.
    pub threads: usize,
    /// Memory for saved states. *Units*: bytes.
    pub saved_bytes_max: usize,
    /// How the caches are stored.
    pub kv: KvType,
}

/// The library writes to the model while it makes a context.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The caches of all slots, and the batch that is being put together.
///
/// Each slot's cache is a stream of its own (`kv_unified` off), so attention reads no other sequence's cells; flash attention
/// is on. In a batch, neighbouring slots are computed together and a hole splits them: give them dense and by rising slot.
pub struct Context<'weights> {
    context: LlamaContext<'weights>,
    batch: LlamaBatch<'static>,
    /// Places in the batch whose logits were asked for.
    drawn: Vec<i32>,
    saved: HashMap<SavedId, SeqState>,
    saved_tokens_max: usize,
}

impl<'weights> Context<'weights> {
    /// Takes the memory for all caches.
    ///
    /// # Errors
    /// When the memory is not there or the library made a smaller context than was asked for.
    pub fn try_new(weights: &'weights Weights, shape: Shape) -> Result<Self, Error> {
        let refused =
            |reason: String| Error::Context { slots: shape.slots, context_tokens: shape.context_tokens, reason };
        let number = |name: &str, value: usize| {
            u32::try_from(value).map_err(|_| refused(format!("{name} is too large: {value}")))
        };
        let cells = shape.slots * shape.context_tokens.next_multiple_of(CONTEXT_STEP_TOKENS);
        let threads = number("threads", shape.threads)? as i32;
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(number("the context", cells)?))
            .with_n_seq_max(number("slots", shape.slots)?)
            .with_n_batch(number("the batch", shape.batch_tokens)?)
            .with_n_ubatch(number("the batch", shape.batch_tokens)?)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_kv_unified(false)
            .with_type_k(shape.kv.of_library())
            .with_type_v(shape.kv.of_library())
            .with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED);
        let making = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let context = weights.model.new_context(library(), params).map_err(|error| refused(error.to_string()))?;
        drop(making);
        let made = (context.n_ctx() as usize, context.n_ubatch() as usize);
        if made.0 < cells || made.1 < shape.batch_tokens {
            return Err(refused(format!("the library made {} cells and batches of {}", made.0, made.1)));
        }
        let batch = LlamaBatch::new(shape.batch_tokens, 1);
        let mut made = Self { context, batch, drawn: Vec::new(), saved: HashMap::new(), saved_tokens_max: 0 };
        made.saved_tokens_max = shape.saved_bytes_max / made.token_bytes()?;
        Ok(made)
    }

    /// Begins an empty batch.
    pub fn begin(&mut self) {
        self.batch.clear();
        self.drawn.clear();
    }

    /// Adds tokens of one sequence, the first of them at this position; with `draws`, logits follow the last.
    ///
    /// # Errors
    /// When the batch is full.
    pub fn add(&mut self, slot: usize, position: usize, ids: &[u32], draws: bool) -> Result<(), Error> {
        for (index, &id) in ids.iter().enumerate() {
            let wanted = draws && index + 1 == ids.len();
            if wanted {
                self.drawn.push(self.batch.n_tokens());
            }
            self.batch
                .add(token(id), (position + index) as i32, &[slot as i32], wanted)
                .map_err(|error| Error::Decode { reason: error.to_string() })?;
        }
        Ok(())
    }

    /// Computes the batch. On an error the caches of its slots are in doubt and must be emptied.
    ///
    /// # Errors
    /// The library's code: 1, no room in the cache; -1, a batch it refuses; others are fatal to the batch.
    pub fn decode(&mut self) -> Result<(), Error> {
        self.context.decode(&mut self.batch).map_err(|error| Error::Decode { reason: error.to_string() })
    }

    /// The logits of the batch's n-th sequence that draws, counted from 0.
    pub fn logits(&self, nth: usize) -> &[f32] {
        self.context.get_logits_ith(self.drawn[nth])
    }

    /// Keeps a copy of what a slot holds under this name.
    ///
    /// # Errors
    /// When the library does not give it.
    pub fn save(&mut self, slot: usize, saved: SavedId) -> Result<(), Error> {
        let state = self.state(slot)?;
        self.saved.insert(saved, state);
        Ok(())
    }

    /// Lets a saved state go.
    pub fn drop_saved(&mut self, saved: SavedId) {
        self.saved.remove(&saved);
    }

    /// Fills a slot from a saved state, which stays.
    ///
    /// # Errors
    /// When there is none of that name, or the library does not take it; then the slot is in doubt.
    pub fn restore(&mut self, saved: SavedId, slot: usize) -> Result<(), Error> {
        let state = self.saved.get(&saved).ok_or_else(|| Error::State { reason: "it was not saved".into() })?;
        self.context.state_seq_set(state, slot as i32).map_err(state_error)
    }

    /// Fills a slot from another, which stays: by way of a state, since the library's own copy between streams takes the whole
    /// stream, however little of it is held, and happens only with the next batch.
    ///
    /// # Errors
    /// When the library does not give or take it; then the slot is in doubt.
    pub fn copy(&mut self, from: usize, to: usize) -> Result<(), Error> {
        let state = self.state(from)?;
        self.context.state_seq_set(&state, to as i32).map_err(state_error)
    }

    /// Keeps the first tokens that a slot holds; 0 empties it.
    ///
    /// # Errors
    /// When the model's caches cannot be cut there.
    pub fn trim(&mut self, slot: usize, tokens: usize) -> Result<(), Error> {
        let from = (tokens > 0).then_some(tokens as u32);
        match self.context.clear_kv_cache_seq(Some(slot as u32), from, None) {
            Ok(true) => Ok(()),
            _ => Err(Error::State { reason: format!("it cannot be cut after {tokens} tokens") }),
        }
    }

    /// How many tokens all saved states may hold together.
    pub fn saved_tokens_max(&self) -> usize {
        self.saved_tokens_max
    }

    fn state(&self, slot: usize) -> Result<SeqState, Error> {
        self.context.state_seq_get(slot as i32, LlamaStateSeqFlags::empty()).map_err(state_error)
    }

    /// What one token takes in a saved state: tries it with one. *Units*: bytes.
    fn token_bytes(&mut self) -> Result<usize, Error> {
        let empty = self.state(0)?.byte_len();
        self.begin();
        self.add(0, 0, &[0], false)?;
        self.decode()?;
        let one = self.state(0)?.byte_len();
        self.trim(0, 0)?;
        Ok(one.saturating_sub(empty).max(1))
    }
}

fn state_error(error: StateSeqError) -> Error {
    Error::State { reason: error.to_string() }
}
