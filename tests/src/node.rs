//! A node as a child process, with the bundled engine and model.

use std::path::PathBuf;

use crate::model;
use crate::program::Program;

/// How a node is started.
#[derive(Clone, Debug, Default)]
pub struct NodeSettings {
    tokens_per_second_max: Option<u32>,
    slots: Option<u32>,
    upstream: Option<String>,
    step_ms_max: Option<u64>,
    model: Option<PathBuf>,
    turn_ms_max: Option<u32>,
    besides: Vec<PathBuf>,
    memory_mib: Option<u64>,
    reference: Option<PathBuf>,
}

impl NodeSettings {
    /// Starts the serving part anew when a step takes longer.
    pub fn step_ms_max(mut self, ms: u64) -> Self {
        self.step_ms_max = Some(ms);
        self
    }

    /// Serves the bundled model with the engine at this address.
    pub fn upstream(mut self, url: &str) -> Self {
        self.upstream = Some(url.to_owned());
        self
    }

    /// Gives no sequence more tokens a second, so that a test can act in the middle of a stream.
    pub fn tokens_per_second_max(mut self, tokens: u32) -> Self {
        self.tokens_per_second_max = Some(tokens);
        self
    }

    /// Serves the model of this folder instead of the bundled one.
    pub fn model(mut self, folder: PathBuf) -> Self {
        self.model = Some(folder);
        self
    }

    /// Declares that no job is to wait longer than this for its turn.
    pub fn turn_ms_max(mut self, ms: u32) -> Self {
        self.turn_ms_max = Some(ms);
        self
    }

    /// Serves the model of this folder as well.
    pub fn besides(mut self, folder: PathBuf) -> Self {
        self.besides.push(folder);
        self
    }

    /// Looks before it comes how near the model is to the original of this folder.
    pub fn reference(mut self, folder: PathBuf) -> Self {
        self.reference = Some(folder);
        self
    }

    /// Gives all models together so much memory.
    pub fn memory_mib(mut self, mib: u64) -> Self {
        self.memory_mib = Some(mib);
        self
    }

    /// Sequences decoded at once.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }
}

/// A `tokengrid-node run` that is connected.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub program: Program,
    /// What the control plane calls it.
    pub id: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
}

/// Where a node joins, and where it keeps its things.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) control_plane: String,
    /// None for a machine that has joined before.
    pub(crate) join_token: Option<String>,
    pub(crate) state_dir: PathBuf,
    pub(crate) log: PathBuf,
}

impl Node {
    /// Starts it and waits until the control plane has let it in.
    pub(crate) async fn start(place: Place<'_>, settings: &NodeSettings, env: &[(String, String)]) -> Self {
        let mut args = vec!["run".to_owned()];
        let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        option("name", place.name.to_owned());
        option("control-plane", place.control_plane);
        if let Some(token) = place.join_token {
            option("join-token", token);
        }
        option("state-dir", place.state_dir.display().to_string());
        let folder = settings.model.clone().unwrap_or_else(model::folder).display().to_string();
        match &settings.upstream {
            Some(url) => option("upstream", format!("{folder}={url}")),
            None => option("model", folder),
        }
        for folder in &settings.besides {
            option("model", folder.display().to_string());
        }
        if let Some(folder) = &settings.reference {
            option("reference", folder.display().to_string());
        }
        if let Some(mib) = settings.memory_mib {
            option("memory-mib", mib.to_string());
        }
        option("threads", "1".to_owned());
        option("log-format", "json".to_owned());
        if let Some(tokens) = settings.tokens_per_second_max {
            option("tokens-per-second-max", tokens.to_string());
        }
        if let Some(slots) = settings.slots {
            option("slots", slots.to_string());
        }
        if let Some(ms) = settings.turn_ms_max {
            option("turn-ms-max", ms.to_string());
        }
        if let Some(ms) = settings.step_ms_max {
            option("step-ms-max", ms.to_string());
        }
        let (env, log) = (env.to_vec(), place.log);
        let mut program = Program::start("tokengrid-node", &args, &env, log.clone());
        let fields = program.logged("connected", 1).await;
        let id = fields["node.id"].as_str().expect("the line names the node").to_owned();
        Self { program, id, args, env, log }
    }

    /// Starts it again on its machine, after it ended, and waits until the control plane has let it in.
    pub async fn restart(&mut self) {
        self.program = Program::start("tokengrid-node", &self.args, &self.env, self.log.clone());
        self.program.logged("connected", 1).await;
    }
}
