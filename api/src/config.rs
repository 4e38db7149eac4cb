//! What the control plane is told at its start: flags or environment variables, refused by name when wrong.

use std::net::SocketAddr;
use std::path::PathBuf;

use broker::node::ProbationRules;
use broker::trust::audit::AuditRules;
use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::Month;
use ledger::economics::{Allocation, Basis, Dimension, View};
use primitives::money::{Currency, Nanos};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::supply::MarketRules;

/// The control plane of a computing-power operator: sells tokens, leases nodes, keeps the books.
#[derive(Debug, Parser)]
#[command(name = "tokengrid", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The program's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the APIs and the node gateway until a signal comes.
    Serve(Box<Serve>),
    /// Bring the database's schema up to date.
    Migrate(Migrate),
    /// Make a demo: a model, prices, a tenant with credit and a key, a provider with a join token, an operator.
    Seed(Seed),
    /// Print the GraphQL schema.
    Schema,
    /// Look into the ledger.
    Ledger(LedgerArgs),
    /// Report scale, efficiency and value of two periods, and why revenue changed.
    Economics(Economics),
}

/// Where the truth is kept.
#[derive(Clone, Debug, Args)]
pub struct Database {
    /// PostgreSQL, such as postgres://user:password@host/tokengrid; the user needs to be a member of tokengrid_service alone.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// Connections kept at most.
    #[arg(long, env = "TOKENGRID_DATABASE_CONNECTIONS_MAX", default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=500))]
    pub database_connections_max: u32,
}

/// Who owns the schema.
#[derive(Clone, Debug, Args)]
pub struct Migrate {
    /// PostgreSQL as the role that owns the schema, or is to own it; DATABASE_URL when absent, which makes one role of two.
    #[arg(long, env = "TOKENGRID_OWNER_DATABASE_URL", hide_env_values = true)]
    pub owner_database_url: Option<SecretString>,
    /// PostgreSQL as what serves logs in.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, required_unless_present = "owner_database_url")]
    pub database_url: Option<SecretString>,
}

impl Migrate {
    /// The owner's address, and the variable that names it.
    pub fn owner(&self) -> Option<(&'static str, &SecretString)> {
        let owner = self.owner_database_url.as_ref().map(|url| ("TOKENGRID_OWNER_DATABASE_URL", url));
        owner.or(self.database_url.as_ref().map(|url| ("DATABASE_URL", url)))
    }
}

/// How the control plane serves.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// Redis, for rate limits and signals between replicas.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: SecretString,
    /// Where the APIs, the console and the node gateway listen.
    #[arg(long, env = "TOKENGRID_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The other replicas.
    #[command(flatten)]
    pub peer: Peer,
    /// Where Prometheus metrics are served; keep it private.
    #[arg(long, env = "TOKENGRID_METRICS_LISTEN", default_value = "127.0.0.1:9090")]
    pub metrics_listen: SocketAddr,
    /// 32 random bytes in hexadecimal that sign sessions and open replicas to each other; the same on every replica.
    #[arg(long, env = "TOKENGRID_SECRET", hide_env_values = true)]
    pub secret: SecretString,
    /// Promo credit for a new tenant, in US dollars.
    #[arg(long, env = "TOKENGRID_SIGNUP_CREDIT", default_value = "5")]
    pub signup_credit: Nanos,
    /// Days until that credit expires.
    #[arg(long, env = "TOKENGRID_SIGNUP_CREDIT_DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub signup_credit_days: u32,
    /// New nodes.
    #[command(flatten)]
    pub market: Market,
    /// The limits of each tenant.
    #[command(flatten)]
    pub limits: Limits,
    /// An interactive request is refused when no node could begin its answer so soon. *Units*: ms.
    #[arg(long, env = "TOKENGRID_FIRST_TOKEN_MS_MAX", default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(100..=3_600_000))]
    pub first_token_ms_max: u32,
    /// Mail.
    #[command(flatten)]
    pub mail: Mail,
    /// Sign-ins, sign-ups and password resets an hour from one network address.
    #[arg(long, env = "TOKENGRID_KNOCKS_PER_HOUR_MAX", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub knocks_per_hour_max: u32,
    /// The header in which a trusted proxy tells the client's network address, such as x-forwarded-for (its last entry counts).
    #[arg(long, env = "TOKENGRID_CLIENT_ADDRESS_HEADER")]
    pub client_address_header: Option<String>,
    /// What is logged, such as info or api=debug.
    #[arg(long, env = "TOKENGRID_LOG", default_value = "info")]
    pub log: String,
    /// One JSON object a line instead of text.
    #[arg(long, env = "TOKENGRID_LOG_JSON")]
    pub log_json: bool,
}

/// How long new nodes are new, and how nodes are watched.
#[derive(Clone, Copy, Debug, Args)]
pub struct Market {
    /// Minutes until a new node may have more than a small share of the work.
    #[arg(long, env = "TOKENGRID_PROBATION_MINUTES", default_value_t = 24 * 60, value_parser = clap::value_parser!(u32).range(0..=525_600))]
    pub probation_minutes: u32,
    /// Jobs that it must have done well by then.
    #[arg(long, env = "TOKENGRID_PROBATION_JOBS", default_value_t = 20)]
    pub probation_jobs: u32,
    /// Minutes for which what it earns until then is kept back.
    #[arg(long, env = "TOKENGRID_HOLDBACK_MINUTES", default_value_t = 24 * 60, value_parser = clap::value_parser!(u32).range(0..=525_600))]
    pub holdback_minutes: u32,
    /// Of a new node's jobs, how many in a million are replayed on another provider's node.
    #[arg(long, env = "TOKENGRID_AUDIT_PROBATION_PPM", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub audit_probation_ppm: u32,
    /// Of any other node's.
    #[arg(long, env = "TOKENGRID_AUDIT_PPM", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub audit_ppm: u32,
    /// Minutes for which a provider may appeal against a conviction, before what was kept back is forfeited.
    #[arg(long, env = "TOKENGRID_APPEAL_MINUTES", default_value_t = 72 * 60, value_parser = clap::value_parser!(u32).range(0..=525_600))]
    pub appeal_minutes: u32,
}

impl Market {
    /// The rules that they make.
    pub fn rules(self) -> MarketRules {
        let minutes = |minutes: u32| TimeDelta::minutes(minutes.into());
        MarketRules {
            probation: ProbationRules { lasts: minutes(self.probation_minutes), jobs: self.probation_jobs },
            holdback: minutes(self.holdback_minutes),
            appeal_within: minutes(self.appeal_minutes),
        }
    }

    /// Which jobs are audited; without the secret nobody can foresee it.
    pub fn audits(self, secret: &SecretString) -> AuditRules {
        AuditRules {
            key: Sha256::digest(secret.expose_secret()).into(),
            probation_ppm: self.audit_probation_ppm,
            active_ppm: self.audit_ppm,
        }
    }
}

/// How replicas of the control plane reach each other.
#[derive(Clone, Debug, Args)]
pub struct Peer {
    /// Where the other replicas' requests to the ledger are taken; keep it private. A port of 0 is chosen by the system.
    #[arg(long, env = "TOKENGRID_PEER_LISTEN", default_value = "127.0.0.1:0")]
    pub peer_listen: SocketAddr,
    /// The host and port at which other replicas reach this one; by default what it listens on.
    #[arg(long, env = "TOKENGRID_PEER_ADDRESS")]
    pub peer_address: Option<String>,
}

/// How mail is sent.
#[derive(Clone, Debug, Args)]
pub struct Mail {
    /// The mail server, such as smtps://user:password@host; without one nobody can sign up or reset a password.
    #[arg(long, env = "TOKENGRID_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<SecretString>,
    /// Whom mail comes from.
    #[arg(long, env = "TOKENGRID_MAIL_FROM", default_value = "Tokengrid <no-reply@localhost>")]
    pub mail_from: String,
}

/// What one tenant may ask for.
#[derive(Clone, Copy, Debug, Args)]
pub struct Limits {
    /// Requests a minute.
    #[arg(long, env = "TOKENGRID_REQUESTS_PER_MINUTE_MAX", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_minute_max: u32,
    /// Tokens a minute, prompts and worst-case outputs together.
    #[arg(long, env = "TOKENGRID_TOKENS_PER_MINUTE_MAX", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub tokens_per_minute_max: u32,
    /// Jobs at once on one replica.
    #[arg(long, env = "TOKENGRID_JOBS_AT_ONCE_MAX", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs_at_once_max: u32,
}

/// What the demo is made of.
#[derive(Clone, Debug, Args)]
pub struct Seed {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// The model's folder, with its manifest.json.
    #[arg(long, env = "TOKENGRID_SEED_MODEL", default_value = "engine/models/spark-1")]
    pub model: PathBuf,
    /// Paid credit of the demo tenant, in US dollars.
    #[arg(long, default_value = "25")]
    pub credit: Nanos,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What to do with the ledger.
#[derive(Clone, Debug, Args)]
pub struct LedgerArgs {
    /// The question.
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// Questions to the ledger.
#[derive(Clone, Debug, Subcommand)]
pub enum LedgerCommand {
    /// Recompute every block's hash and every balance; exit 1 and name the first bad block when something differs.
    Verify(Database),
    /// Write a proof of the books to a file, which docs/verify.py checks without a database.
    Proof(Proof),
    /// Print what each business event debits and credits; needs no database.
    Recipes(Browse),
    /// Print the chart of accounts; needs no database.
    Chart(Browse),
    /// Add up all debits and credits by code and unit, now or as of the end of a month.
    TrialBalance(TrialBalance),
    /// List what moved over an account, newest first, with its running balance.
    Statement(StatementOf),
    /// Close a month, once nothing is in the way; needs the ledger to itself, so stop every `serve` first.
    Close(CloseMonth),
    /// Write a month as a file that hledger or beancount reads.
    Plaintext(Plaintext),
}

/// Up to when to add up.
#[derive(Clone, Debug, Args)]
pub struct TrialBalance {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// The last month that counts, such as 2026-11; by default everything does.
    #[arg(long)]
    pub as_of: Option<Month>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Whose history to list.
#[derive(Clone, Debug, Args)]
pub struct StatementOf {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// The account's number.
    pub account_id: i64,
    /// Where to go on: the last number of the page before.
    #[arg(long)]
    pub before: Option<i64>,
    /// How many lines.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Which month to close, and why.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("state").required(true))]
pub struct CloseMonth {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// The month, such as 2026-11.
    pub month: Month,
    /// Adjusting entries may still be booked in it.
    #[arg(long, group = "state")]
    pub soft: bool,
    /// Nothing may be booked in it any more, for good.
    #[arg(long, group = "state")]
    pub hard: bool,
    /// Only tell what is in the way; this needs no writer, so `serve` may run.
    #[arg(long, group = "state")]
    pub check: bool,
    /// Who decided, and why.
    #[arg(long)]
    pub reason: String,
    /// How old what stands on a clearing account may be at the month's end, for a hard close.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=366))]
    pub clearing_age_days_max: u16,
    /// For how long a hold of the month may have been open.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=8784))]
    pub hold_age_hours_max: u16,
}

/// What to write, for whom.
#[derive(Clone, Debug, Args)]
pub struct Plaintext {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// Who reads it.
    #[arg(long, value_enum)]
    pub format: PlaintextFormat,
    /// The month, such as 2026-11; by default all.
    #[arg(long)]
    pub month: Option<Month>,
    /// One entry a day instead of one an event.
    #[arg(long)]
    pub daily: bool,
    /// The file; it appears once it is whole.
    #[arg(long)]
    pub out: PathBuf,
}

/// A program that reads plain text.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PlaintextFormat {
    /// hledger, or ledger.
    Hledger,
    /// beancount.
    Beancount,
}

/// How to print what can be browsed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Browse {
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What to prove.
#[derive(Clone, Debug, Args)]
pub struct Proof {
    /// The database.
    #[command(flatten)]
    pub database: Database,
    /// The file; it appears once it is whole.
    #[arg(long)]
    pub out: PathBuf,
    /// The first block; balances can be checked from block 1 only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    pub from_height: i64,
    /// The last block; by default the last there is.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub to_height: Option<i64>,
    /// The secret that `serve` runs with; without it the proof's head is not signed.
    #[arg(long, env = "TOKENGRID_SECRET", hide_env_values = true)]
    pub secret: Option<SecretString>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What to report on.
#[derive(Clone, Debug, Args)]
pub struct Economics {
    /// The inputs of two periods, a JSON file, in the place of the ledger's records.
    #[arg(long, conflicts_with_all = ["config", "period"])]
    pub input: Option<PathBuf>,
    /// PostgreSQL, such as postgres://user:password@host/tokengrid; not needed with --input.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// What no record holds, a JSON file: token weights, intelligence index, nodes; docs/decisions/0012 has its shape.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// The month, such as 2026-11, compared with the one before; by default the one that runs.
    #[arg(long)]
    pub period: Option<Month>,
    /// By what slices are told apart: tenant, model, node, provider, line.
    #[arg(long, value_delimiter = ',', value_parser = dimension, default_values = ["tenant", "model", "node"])]
    pub group_by: Vec<Dimension>,
    /// What capacity is measured in: rcu, depreciation or energy.
    #[arg(long, value_parser = basis, default_value = "rcu")]
    pub basis: Basis,
    /// How scale is given to tenants: absorbed (all of it, by time of computing) or consumed (what each kept busy).
    #[arg(long, value_parser = allocation, default_value = "absorbed")]
    pub allocation: Allocation,
    /// How late corrections are dated: as-posted, or restated in the month that they correct.
    #[arg(long, value_parser = view, default_value = "as-posted")]
    pub view: View,
    /// The currency that the books are reported in.
    #[arg(long, default_value = "USD")]
    pub currency: Currency,
    /// Print the report on one line of JSON.
    #[arg(long)]
    pub json: bool,
}

fn dimension(word: &str) -> Result<Dimension, &'static str> {
    Dimension::from_word(word).ok_or("expected tenant, model, node, provider, line or period")
}

fn basis(word: &str) -> Result<Basis, &'static str> {
    match word {
        "rcu" => Ok(Basis::Rcu),
        "depreciation" => Ok(Basis::Depreciation),
        "energy" => Ok(Basis::Energy),
        _ => Err("expected rcu, depreciation or energy"),
    }
}

fn allocation(word: &str) -> Result<Allocation, &'static str> {
    match word {
        "absorbed" => Ok(Allocation::Absorbed),
        "consumed" => Ok(Allocation::Consumed),
        _ => Err("expected absorbed or consumed"),
    }
}

fn view(word: &str) -> Result<View, &'static str> {
    match word {
        "as-posted" => Ok(View::AsPosted),
        "restated" => Ok(View::Restated),
        _ => Err("expected as-posted or restated"),
    }
}
