//! One model of a node, and the engine that serves it: our own, or one that the provider already runs.

use std::time::Duration;

use primitives::node_protocol::{ModelLoad, Replay, ServedModel, Work};

use crate::backend::llama;
use crate::engine::{Engine, RequestHandle};
use crate::error::{Error, Refused};
use crate::upstream::Upstream;

/// An engine as the node sees it: it takes work and gives events.
#[derive(Debug)]
pub enum Serving {
    /// The engine in this process.
    Bundled(Engine),
    /// An engine beside it.
    Upstream(Upstream),
}

impl Serving {
    /// The model's name in the catalogue.
    pub fn model_id(&self) -> &str {
        match self {
            Self::Bundled(engine) => &engine.model().id,
            Self::Upstream(upstream) => upstream.model_id(),
        }
    }

    /// Which engine it is, with its version.
    pub fn engine(&self) -> String {
        match self {
            Self::Bundled(_) => crate::backend::llama::version(),
            Self::Upstream(upstream) => upstream.engine(),
        }
    }

    /// What it serves.
    pub fn served(&self) -> ServedModel {
        match self {
            Self::Bundled(engine) => {
                let (model, config) = (engine.model(), engine.config());
                ServedModel {
                    model: model.id.clone(),
                    weights_sha256: model.sha256.clone(),
                    quantisation: model.quantisation.clone(),
                    context_tokens: config.context_tokens as u32,
                    slots: config.slots as u32,
                    engine: self.engine(),
                    features: llama::features_with(config.kv),
                }
            }
            Self::Upstream(upstream) => upstream.served(),
        }
    }

    /// Jobs that it may have at once; none while it cannot answer.
    pub fn slots(&self) -> usize {
        match self {
            Self::Bundled(engine) => engine.config().slots,
            Self::Upstream(upstream) => upstream.slots(),
        }
    }

    /// Prompt and output of one job together. *Units*: tokens.
    pub fn context_tokens(&self) -> usize {
        match self {
            Self::Bundled(engine) => engine.config().context_tokens,
            Self::Upstream(upstream) => upstream.context_tokens(),
        }
    }

    /// Takes a job's work. Must be called in a runtime, where it may block.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn submit(&self, work: Work) -> Result<RequestHandle, Refused> {
        match self {
            Self::Bundled(engine) => engine.submit(work),
            Self::Upstream(upstream) => upstream.submit(work),
        }
    }

    /// Takes texts to embed.
    ///
    /// # Errors
    /// See [`Refused`]; engines beside the node are not asked for embeddings.
    pub fn embed(&self, texts: Vec<Vec<u32>>) -> Result<RequestHandle, Refused> {
        match self {
            Self::Bundled(engine) => engine.embed(texts),
            Self::Upstream(upstream) => Err(Refused::Kind { id: upstream.model_id().to_owned() }),
        }
    }

    /// Takes an output of another node to replay.
    ///
    /// # Errors
    /// See [`Refused`]; engines beside the node draw in ways of their own and are not asked.
    pub fn replay(&self, replay: Replay) -> Result<RequestHandle, Refused> {
        match self {
            Self::Bundled(engine) => engine.replay(replay),
            Self::Upstream(upstream) => Err(Refused::Kind { id: upstream.model_id().to_owned() }),
        }
    }

    /// How many sequences run, and how many wait.
    pub fn load(&self) -> (u32, u32) {
        match self {
            Self::Bundled(engine) => (engine.load().running as u32, engine.load().waiting as u32),
            Self::Upstream(upstream) => (upstream.running() as u32, 0),
        }
    }

    /// Begins to tell of blocks to a listener who knows of none.
    pub fn restart_news(&self) {
        if let Self::Bundled(engine) = self {
            engine.restart_news();
        }
    }

    /// What the listener does not know yet.
    pub fn news(&self) -> ModelLoad {
        match self {
            Self::Bundled(engine) => engine.news(),
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
            Self::Bundled(engine) if engine.is_running() => Ok(()),
            Self::Bundled(engine) => Err(format!("the engine of {} has stopped", engine.model().id)),
            Self::Upstream(upstream) => upstream.condition(),
        }
    }

    /// How long the step that it computes has taken so far; none between steps, and none of an upstream, whose requests end
    /// by their own bound.
    pub fn busy_for(&self) -> Option<Duration> {
        match self {
            Self::Bundled(engine) => engine.busy_for(),
            Self::Upstream(_) => None,
        }
    }

    /// Tells Prometheus what it has room for.
    pub fn measure(&self) {
        let model = || self.model_id().to_owned();
        metrics::gauge!("tokengrid_node_slots", "model" => model()).set(self.slots() as f64);
        if let Self::Bundled(engine) = self {
            let load = engine.load();
            metrics::gauge!("tokengrid_engine_slots_free", "model" => model()).set(load.slots_free as f64);
            metrics::gauge!("tokengrid_engine_kv_free_tokens", "model" => model()).set(load.kv_free_tokens as f64);
        }
    }

    /// Refuses to go on with an engine that never comes back. An upstream may always.
    ///
    /// # Errors
    /// [`Error::EngineStopped`].
    pub fn alive(&self) -> Result<(), Error> {
        match self {
            Self::Bundled(engine) if !engine.is_running() => {
                Err(Error::EngineStopped { model: engine.model().id.clone() })
            }
            Self::Bundled(_) | Self::Upstream(_) => Ok(()),
        }
    }
}
