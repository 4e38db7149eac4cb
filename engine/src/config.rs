//! The command line of `tokengrid-node`. Every option can also be set by an environment variable.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::backend::llama::KvType;
use engine::backend::llama::quantise::Precision;
use primitives::node_protocol::Tier;

/// Serves models to a Tokengrid control plane over one outbound connection.
#[derive(Debug, Parser)]
#[command(name = "tokengrid-node", version)]
pub struct Cli {
    /// How log lines look
    #[arg(long, global = true, env = "TOKENGRID_NODE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Which log lines appear
    #[arg(long, global = true, env = "TOKENGRID_NODE_LOG", default_value = "info,llama-cpp-2=error")]
    pub log: String,
    /// How long OpenMP's threads spin for work before they sleep; this program starts itself again to set it
    #[arg(long, global = true, env = "GOMP_SPINCOUNT", hide = true)]
    pub spin_count: Option<u32>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register this machine with a one-time token, and keep its identity
    Join(JoinArgs),
    /// Serve models until SIGTERM, then finish what runs
    Run(RunArgs),
    /// Measure tokens a second and the first token's time of a model on this machine
    Bench(BenchArgs),
    /// Search for settings that serve a model faster on this machine
    Tune(TuneArgs),
    /// Write a model in fewer bits to a new GGUF file
    Quantize(QuantizeArgs),
    /// Load a model and draw a token: what `run` asks another process of this program to do first
    #[command(hide = true)]
    Try(TryArgs),
    /// Measure how near a model is to its original and sign a certificate; exits 1 when it earns no grade
    Align(AlignArgs),
}

/// Options of `join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The control plane's address, such as http://127.0.0.1:8080
    #[arg(long, env = "TOKENGRID_NODE_CONTROL_PLANE")]
    pub control_plane: String,
    /// The one-time join token that the provider was shown
    #[arg(long, env = "TOKENGRID_NODE_TOKEN", hide_env_values = true)]
    pub token: String,
    /// What the node says of itself.
    #[command(flatten)]
    pub about: AboutArgs,
    /// Print the new identity as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a node says of itself.
#[derive(Debug, Args)]
pub struct AboutArgs {
    /// Folder of the node's key and identity
    #[arg(long, env = "TOKENGRID_NODE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// What to call this machine [default: its host name]
    #[arg(long, env = "TOKENGRID_NODE_NAME")]
    pub name: Option<String>,
    /// Where this machine stands: cloud, edge or terminal
    #[arg(long, env = "TOKENGRID_NODE_TIER", default_value = "terminal", value_parser = tier)]
    pub tier: Tier,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What the node says of itself.
    #[command(flatten)]
    pub about: AboutArgs,
    /// Models to serve with the bundled engine: folders with a manifest, or GGUF files
    #[arg(
        long,
        env = "TOKENGRID_NODE_MODEL",
        value_delimiter = ',',
        num_args = 1..,
        required_unless_present = "upstream"
    )]
    pub model: Vec<PathBuf>,
    /// A model that an engine of yours serves over an OpenAI-compatible API: the model's folder (manifest and tokenizer, no
    /// weights), `=`, the engine's address, and behind `#` the model's name there if it serves several
    #[arg(long, env = "TOKENGRID_NODE_UPSTREAM", value_delimiter = ',', num_args = 1.., value_parser = upstream)]
    #[arg(value_name = "FOLDER=URL[#NAME]")]
    pub upstream: Vec<UpstreamArg>,
    /// File with the key that the engine of --upstream asks for
    #[arg(long, env = "TOKENGRID_NODE_UPSTREAM_KEY_FILE", requires = "upstream")]
    pub upstream_key_file: Option<PathBuf>,
    /// How the engine is sized.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// The control plane's address [default: where the node joined]
    #[arg(long, env = "TOKENGRID_NODE_CONTROL_PLANE")]
    pub control_plane: Option<String>,
    /// Join first with this one-time token, if the state folder holds no identity
    #[arg(long, env = "TOKENGRID_NODE_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// Originals of models that are served in fewer bits, by their manifests' names: before the node comes it measures for a minute
    /// how near each is to its original and how fast it is, and tells both
    #[arg(long, env = "TOKENGRID_NODE_REFERENCE", value_delimiter = ',', num_args = 1..)]
    pub reference: Vec<PathBuf>,
    /// Certificates of `tokengrid-node align` that say how near to their originals the models are
    #[arg(long, env = "TOKENGRID_NODE_CERTIFICATE", value_delimiter = ',')]
    pub certificate: Vec<PathBuf>,
    /// How long running work may take to end after SIGTERM
    #[arg(long, env = "TOKENGRID_NODE_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,
    /// End the serving part, to be started again, when one step of an engine takes longer
    #[arg(long, env = "TOKENGRID_NODE_STEP_MS_MAX", default_value_t = 120_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub step_ms_max: u64,
    /// Set for the serving part by the program that looks after it: how often it was started before
    #[arg(long, hide = true)]
    pub restarts: Option<u32>,
    /// Serve Prometheus metrics (/metrics) and readiness (/readyz) on this port of 127.0.0.1
    #[arg(long, env = "TOKENGRID_NODE_METRICS_PORT")]
    pub metrics_port: Option<u16>,
}

/// A model that another engine serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamArg {
    /// The model's folder.
    pub model: PathBuf,
    /// The engine's address.
    pub url: String,
    /// The model's name there.
    pub name: Option<String>,
}

fn upstream(text: &str) -> Result<UpstreamArg, String> {
    let (model, rest) = text.split_once('=').ok_or("it must be FOLDER=URL, such as models/a=http://127.0.0.1:8000")?;
    let (url, name) = match rest.split_once('#') {
        Some((url, name)) => (url, Some(name.to_owned())),
        None => (rest, None),
    };
    if url.starts_with("http://") {
        Ok(UpstreamArg { model: model.into(), url: url.to_owned(), name })
    } else {
        Err(format!("{url} is no address such as http://127.0.0.1:8000, on this machine or in its private network"))
    }
}

/// How engines are sized.
#[derive(Clone, Debug, Args)]
pub struct EngineArgs {
    /// Sequences decoded at once, of each model
    #[arg(long, env = "TOKENGRID_NODE_SLOTS", default_value_t = 32)]
    pub slots: usize,
    /// Threads that compute, of each model [default: the machine's]
    #[arg(long, env = "TOKENGRID_NODE_THREADS")]
    pub threads: Option<usize>,
    /// Prompt and output of one request together, in tokens [default: the model's, at most 4096]
    #[arg(long, env = "TOKENGRID_NODE_CONTEXT")]
    pub context: Option<usize>,
    /// Memory for the states of conversations that have no slot, of each model, in MiB
    #[arg(long, env = "TOKENGRID_NODE_SAVED_MIB", default_value_t = 512)]
    pub saved_mib: usize,
    /// Tokens of one step, over all sequences
    #[arg(long, env = "TOKENGRID_NODE_STEP_TOKENS", default_value_t = 512, value_parser = positive)]
    pub step_tokens: usize,
    /// Tokens of one prompt in one step: more is faster for prompts, and delays running answers by more
    #[arg(long, env = "TOKENGRID_NODE_CHUNK_TOKENS", default_value_t = 128, value_parser = positive)]
    pub chunk_tokens: usize,
    /// How caches are stored, f16 or q8_0: half the memory, and answers a little further from the original's
    #[arg(long, env = "TOKENGRID_NODE_KV", default_value = "f16", value_parser = kv)]
    pub kv: KvType,
    /// Memory that all models may take together, in MiB [default: what is free]
    #[arg(long, env = "TOKENGRID_NODE_MEMORY_MIB")]
    pub memory_mib: Option<u64>,
    /// The load to declare: take no interactive job that would wait longer than this for its turn, of each model; callers
    /// beyond it are told when to come back
    #[arg(long, env = "TOKENGRID_NODE_TURN_MS_MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub turn_ms_max: Option<u32>,
    /// Give no sequence more tokens a second: a cap for power or heat
    #[arg(long, env = "TOKENGRID_NODE_TOKENS_PER_SECOND_MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub tokens_per_second_max: Option<u32>,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The model: a folder with a manifest, or a GGUF file
    #[arg(long, env = "TOKENGRID_NODE_MODEL")]
    pub model: PathBuf,
    /// How the engine is sized.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Tokens of each prompt
    #[arg(long, default_value_t = 128)]
    pub prompt_tokens: usize,
    /// Tokens of each output
    #[arg(long, default_value_t = 64)]
    pub output_tokens: u32,
    /// Measure bursts too, whose prompts have so many first tokens in common; 0 measures none
    #[arg(long, default_value_t = 0)]
    pub shared_tokens: usize,
    /// How long to measure each number of callers, in seconds
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Options of `tune`.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// The model: a folder with a manifest, or a GGUF file
    #[arg(long, env = "TOKENGRID_NODE_MODEL")]
    pub model: PathBuf,
    /// The settings to begin with.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Try the model in fewer bits, too: bf16, q8_0, q6_k, q5_k_m, q4_k_m or q4_0
    #[arg(long, value_parser = precision, value_delimiter = ',', num_args = 1..)]
    pub quantize: Vec<Precision>,
    /// Where to put the model that is made in fewer bits, if it wins [default: beside the original]
    #[arg(long)]
    pub out_dir: Option<PathBuf>,
    /// Stop searching after so many minutes
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    pub minutes: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `quantize`.
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// The original: a folder with a manifest, or a GGUF file of 16 or 32 bits a weight
    #[arg(long)]
    pub model: PathBuf,
    /// What to make of it: bf16, q8_0, q6_k, q5_k_m, q4_k_m or q4_0
    #[arg(long, value_parser = precision)]
    pub to: Precision,
    /// The new file [default: beside the original]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Threads that compute [default: the machine's]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// The model: a folder with a manifest, or a GGUF file
    #[arg(long)]
    pub model: PathBuf,
}

/// Options of `align`.
#[derive(Debug, Args)]
pub struct AlignArgs {
    /// The original: a folder with a manifest, or a GGUF file
    #[arg(long)]
    pub reference: PathBuf,
    /// The model to measure: a GGUF file
    #[arg(long, required_unless_present = "upstream")]
    pub model: Option<PathBuf>,
    /// The engine to measure instead, which serves the model of this folder: as of `run`
    #[arg(long, conflicts_with = "model", value_parser = upstream, value_name = "FOLDER=URL[#NAME]")]
    pub upstream: Option<UpstreamArg>,
    /// Conversations to answer, one JSON object with `messages` (and `tools`) a line [default: heldout.jsonl beside the original]
    #[arg(long)]
    pub prompts: Option<PathBuf>,
    /// A first look within a minute that certifies nothing
    #[arg(long)]
    pub quick: bool,
    /// Folder of the node's key, which signs
    #[arg(long, env = "TOKENGRID_NODE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// How the measured model's caches are stored, f16 or q8_0
    #[arg(long, default_value = "f16", value_parser = kv)]
    pub kv: KvType,
    /// Write the certificate to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Threads that compute [default: the machine's]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print the certificate
    #[arg(long)]
    pub json: bool,
}

fn kv(word: &str) -> Result<KvType, String> {
    let found = KvType::ALL.into_iter().find(|kv| kv.as_str() == word.to_lowercase());
    found.ok_or_else(|| "expected f16 or q8_0".into())
}

fn positive(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|&number| number > 0).ok_or_else(|| "expected a number above 0".into())
}

fn minutes(word: &str) -> Result<f64, String> {
    let minutes = word.parse().ok().filter(|minutes| (0.0..=1_440.0).contains(minutes));
    minutes.ok_or_else(|| "expected minutes, at most a day".into())
}

fn precision(word: &str) -> Result<Precision, String> {
    let known = Precision::ALL.map(Precision::as_str);
    let found = Precision::ALL.into_iter().find(|precision| precision.as_str() == word.to_lowercase());
    found.ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

fn tier(word: &str) -> Result<Tier, String> {
    [Tier::Cloud, Tier::Edge, Tier::Terminal]
        .into_iter()
        .find(|tier| tier.as_str() == word)
        .ok_or_else(|| "expected cloud, edge or terminal".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn several_models_and_a_tier_are_read() {
        let line = "tokengrid-node run --state-dir d --model a b --tier edge --slots 4 --tokens-per-second-max 20";
        let Command::Run(run) = Cli::parse_from(line.split(' ')).command else { panic!("not run") };
        assert_eq!(run.model, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!((run.about.tier, run.engine.slots, run.engine.tokens_per_second_max), (Tier::Edge, 4, Some(20)));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["run --state-dir d", "run --state-dir d --model a --tier moon", "join --token t"] {
            assert!(Cli::try_parse_from(["tokengrid-node"].into_iter().chain(line.split(' '))).is_err(), "{line}");
        }
        let zero = ["tokengrid-node", "bench", "--model", "m", "--tokens-per-second-max", "0"];
        assert!(Cli::try_parse_from(zero).is_err());
    }
}
