//! One model of a node, and the engine that serves it: our own, or one that the provider already runs.

use std::sync::Arc;
use std::time::Duration;

use primitives::node_protocol::{ModelLoad, Replay, ServedModel, Work};

use crate::backend::llama;
use crate::engine::{Engine, EngineConfig, RequestHandle};
use crate::error::{Error, Refused};
use crate::model::{Kind, Model};
use crate::shelf::{Claim, Shelved};
use crate::upstream::Upstream;

/// An engine as the node sees it: it takes work and gives events.
#[derive(Debug)]
pub enum Serving {
    /// The engine in this process.
    Bundled(Engine),
    /// The same, in memory when it has work.
    Shelved(Arc<Shelved>),
    /// An engine beside it.
    Upstream(Upstream),
}

impl Serving {
    /// The model's name in the catalogue.
    pub fn model_id(&self) -> &str {
        match self {
            Self::Bundled(engine) => &engine.model().id,
            Self::Shelved(shelved) => &shelved.card().served.model,
            Self::Upstream(upstream) => upstream.model_id(),
        }
    }

    /// Which engine it is, with its version.
    pub fn engine(&self) -> String {
        match self {
            Self::Bundled(_) | Self::Shelved(_) => llama::version(),
            Self::Upstream(upstream) => upstream.engine(),
        }
    }

    /// What it serves.
    pub fn served(&self) -> ServedModel {
        match self {
            Self::Bundled(engine) => served(engine.model(), engine.config()),
            Self::Shelved(shelved) => shelved.card().served.clone(),
            Self::Upstream(upstream) => upstream.served(),
        }
    }

    /// Jobs that it may have at once; none while it cannot answer.
    pub fn slots(&self) -> usize {
        match self {
            Self::Bundled(engine) => engine.config().slots,
            Self::Shelved(shelved) => shelved.card().config.slots,
            Self::Upstream(upstream) => upstream.slots(),
        }
    }

    /// Jobs that it holds beyond its slots while they give way to others; none of an engine beside the node, nor of texts to embed.
    pub fn waiting_max(&self) -> usize {
        match self {
            Self::Bundled(engine) => waiting_max(engine.model().kind, engine.config()),
            Self::Shelved(shelved) => waiting_max(shelved.card().kind, shelved.card().config),
            Self::Upstream(_) => 0,
        }
    }

    /// Keeps its model in memory, where it may be unloaded.
    ///
    /// # Errors
    /// A sentence for the operator, when there is no memory for it now.
    pub fn claim(&self) -> Result<Option<Claim>, String> {
        match self {
            Self::Shelved(shelved) => shelved.claim().map(Some),
            Self::Bundled(_) | Self::Upstream(_) => Ok(None),
        }
    }

    /// By how much an interactive job that comes now, after prompts of so many tokens, would wait longer for its turn than is
    /// declared. *Units*: ms.
    pub fn past_declared_ms(&self, on_their_way: u32) -> Option<u32> {
        match self {
            Self::Bundled(engine) => engine.past_declared_ms(on_their_way),
            Self::Shelved(shelved) => shelved.with_engine(|engine| engine.past_declared_ms(on_their_way)).flatten(),
            Self::Upstream(_) => None,
        }
    }

    /// Prompt and output of one job together. *Units*: tokens.
    pub fn context_tokens(&self) -> usize {
        match self {
            Self::Bundled(engine) => engine.config().context_tokens,
            Self::Shelved(shelved) => shelved.card().config.context_tokens,
            Self::Upstream(upstream) => upstream.context_tokens(),
        }
    }

    /// Takes a job's work. Must be called in a runtime, where it may block, with a claim held.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn submit(&self, work: Work) -> Result<RequestHandle, Refused> {
        match self {
            Self::Bundled(engine) => engine.submit(work),
            Self::Shelved(shelved) => shelved.engine()?.submit(work),
            Self::Upstream(upstream) => upstream.submit(work),
        }
    }

    /// Takes texts to embed, as [`submit`](Self::submit) takes work.
    ///
    /// # Errors
    /// See [`Refused`]; engines beside the node are not asked for embeddings.
    pub fn embed(&self, texts: Vec<Vec<u32>>) -> Result<RequestHandle, Refused> {
        match self {
            Self::Bundled(engine) => engine.embed(texts),
            Self::Shelved(shelved) => shelved.engine()?.embed(texts),
            Self::Upstream(upstream) => Err(Refused::Kind { id: upstream.model_id().to_owned() }),
        }
    }

    /// Takes an output of another node to replay.
    ///
    /// # Errors
    /// See [`Refused`]; engines beside the node draw in ways of their own and are not asked, and no model is loaded or kept in memory for
    /// it: others may be asked instead.
    pub fn replay(&self, replay: Replay) -> Result<RequestHandle, Refused> {
        match self {
            Self::Bundled(engine) => engine.replay(replay),
            Self::Shelved(shelved) => {
                let away =
                    || Refused::NotLoaded { id: self.model_id().to_owned(), reason: "it has no work".to_owned() };
                shelved.with_engine(|engine| engine.replay(replay)).unwrap_or_else(|| Err(away()))
            }
            Self::Upstream(upstream) => Err(Refused::Kind { id: upstream.model_id().to_owned() }),
        }
    }

    /// How many sequences run, and how many wait.
    pub fn load(&self) -> (u32, u32) {
        match self {
            Self::Bundled(engine) => (engine.load().running as u32, engine.load().waiting as u32),
            Self::Shelved(shelved) => {
                let (running, waiting) = shelved.load();
                (running as u32, waiting as u32)
            }
            Self::Upstream(upstream) => (upstream.running() as u32, 0),
        }
    }

    /// Begins to tell of blocks to a listener who knows of none.
    pub fn restart_news(&self) {
        match self {
            Self::Bundled(engine) => engine.restart_news(),
            Self::Shelved(shelved) => shelved.restart_news(),
            Self::Upstream(_) => {}
        }
    }

    /// What the listener does not know yet.
    pub fn news(&self) -> ModelLoad {
        match self {
            Self::Bundled(engine) => engine.news(),
            Self::Shelved(shelved) => shelved.news(),
            Self::Upstream(upstream) => ModelLoad {
                model: upstream.model_id().to_owned(),
                slots: Some(upstream.slots() as u32),
                ..ModelLoad::default()
            },
        }
    }

    /// Whether it can be given work, or why not.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn condition(&self) -> Result<(), String> {
        match self {
            Self::Bundled(_) | Self::Shelved(_) => self.alive().map_err(|stopped| stopped.to_string()),
            Self::Upstream(upstream) => upstream.condition(),
        }
    }

    /// How long the step that it computes has taken so far; none between steps, and none of an upstream, whose requests end
    /// by their own bound.
    pub fn busy_for(&self) -> Option<Duration> {
        match self {
            Self::Bundled(engine) => engine.busy_for(),
            Self::Shelved(shelved) => shelved.with_engine(Engine::busy_for).flatten(),
            Self::Upstream(_) => None,
        }
    }

    /// Tells Prometheus what it has room for.
    pub fn measure(&self) {
        let model = || self.model_id().to_owned();
        metrics::gauge!("tokengrid_node_slots", "model" => model()).set(self.slots() as f64);
        let load = match self {
            Self::Bundled(engine) => Some(engine.load()),
            Self::Shelved(shelved) => shelved.with_engine(Engine::load),
            Self::Upstream(_) => return,
        };
        metrics::gauge!("tokengrid_engine_loaded", "model" => model()).set(f64::from(u8::from(load.is_some())));
        let (slots_free, kv_free_tokens) = load.map_or((0, 0), |load| (load.slots_free, load.kv_free_tokens));
        metrics::gauge!("tokengrid_engine_slots_free", "model" => model()).set(slots_free as f64);
        metrics::gauge!("tokengrid_engine_kv_free_tokens", "model" => model()).set(kv_free_tokens as f64);
    }

    /// Refuses to go on with an engine that never comes back. An upstream may always.
    ///
    /// # Errors
    /// [`Error::EngineStopped`].
    pub fn alive(&self) -> Result<(), Error> {
        let running = match self {
            Self::Bundled(engine) => engine.is_running(),
            Self::Shelved(shelved) => shelved.with_engine(Engine::is_running).unwrap_or(true),
            Self::Upstream(_) => true,
        };
        if running { Ok(()) } else { Err(Error::EngineStopped { model: self.model_id().to_owned() }) }
    }
}

/// What an engine of this size serves.
pub fn served(model: &Model, config: EngineConfig) -> ServedModel {
    ServedModel {
        model: model.id.clone(),
        weights_sha256: model.sha256.clone(),
        quantisation: model.quantisation.clone(),
        context_tokens: config.context_tokens as u32,
        slots: config.slots as u32,
        engine: llama::version(),
        features: llama::features_with(config.kv),
        turn_ms_max: config.turn_ms_max,
        preempts: waiting_max(model.kind, config) > 0,
        speed: None,
    }
}

/// Texts to embed give way to none.
fn waiting_max(kind: Kind, config: EngineConfig) -> usize {
    if kind == Kind::Generation { config.waiting_max } else { 0 }
}
