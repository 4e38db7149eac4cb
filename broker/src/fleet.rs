//! The connected nodes and their cells.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{JobId, NodeId, ProviderId};
use primitives::node_protocol::{Load, ModelLoad};

use crate::Settings;
use crate::ask::Ask;
use crate::cell::{Cell, CellSnapshot, Measured, ModelAvailability};
use crate::job::Class;
use crate::node::{NodeSession, NodeSnapshot};
use crate::presence::{self, Presence};
use crate::standing::{Standing, TrialShare};

/// Cells that one decision looks at.
const CANDIDATES_MAX: usize = 64;

/// The connected nodes, and for each model those that take offers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, Connected>,
    /// A model stays here, with no node, when its last node goes: it may come back.
    takers: BTreeMap<String, Takers>,
    /// How the cells of absent nodes did, so that coming back does not wipe a record; bounded by the nodes ever joined.
    remembered: BTreeMap<(NodeId, String), Measured>,
    trials: BTreeMap<String, TrialShare>,
}

/// The nodes that take offers for a model.
#[derive(Debug, Default)]
struct Takers {
    /// In order.
    nodes: Vec<NodeId>,
    /// How many of them serve so long a context at this grade.
    contexts: BTreeMap<(Grade, u32), usize>,
    /// Jobs that they may have at once.
    slots: u32,
}

impl Takers {
    /// A cell without a grade takes none.
    fn insert(&mut self, node_id: NodeId, cell: &Cell) {
        if cell.grade > Grade::None
            && let Err(place) = self.nodes.binary_search(&node_id)
        {
            self.nodes.insert(place, node_id);
            *self.contexts.entry((cell.grade, cell.context_tokens)).or_default() += 1;
            self.slots = self.slots.saturating_add(cell.capacity);
        }
    }

    /// Changes a cell that may be listed.
    fn change(&mut self, node_id: NodeId, cell: &mut Cell, change: impl FnOnce(&mut Cell)) {
        let listed = self.nodes.binary_search(&node_id).is_ok();
        self.remove(node_id, cell);
        change(cell);
        if listed {
            self.insert(node_id, cell);
        }
    }

    fn remove(&mut self, node_id: NodeId, cell: &Cell) {
        let Ok(place) = self.nodes.binary_search(&node_id) else { return };
        self.nodes.remove(place);
        self.slots = self.slots.saturating_sub(cell.capacity);
        if let Some(count) = self.contexts.get_mut(&(cell.grade, cell.context_tokens)) {
            *count -= 1;
            if *count == 0 {
                self.contexts.remove(&(cell.grade, cell.context_tokens));
            }
        }
    }
}

/// A node while its link lasts.
#[derive(Debug)]
pub(crate) struct Connected {
    pub provider_id: ProviderId,
    pub load: Load,
    pub draining: bool,
    pub connected_at: DateTime<Utc>,
    /// When it last said anything.
    pub heard_at: DateTime<Utc>,
    /// Up to when its presence was told.
    told_to: DateTime<Utc>,
    rcu_milli: i32,
    /// Jobs offered or leased to it.
    pub jobs: BTreeSet<JobId>,
    name: String,
    cells: BTreeMap<String, Cell>,
}

impl Fleet {
    /// A node comes; its models without an ask in our currency get no work.
    pub fn connect(&mut self, session: NodeSession, settings: &Settings, now: DateTime<Utc>) {
        let node_id = session.node_id;
        let mut cells = BTreeMap::new();
        for served in &session.descriptor.models {
            let ask = session.asks.iter().find(|ask| ask.model == served.model);
            let Some(ask) = ask.filter(|ask| ask.prices.currency == settings.currency) else { continue };
            let measured = self.remembered.remove(&(node_id, served.model.clone())).unwrap_or_default();
            let mut cell = Cell::new(served, ask.prices, settings.backlog, measured);
            cell.stand(&session.standing, &served.model);
            self.takers.entry(served.model.clone()).or_default().insert(node_id, &cell);
            cells.insert(served.model.clone(), cell);
        }
        let node = Connected {
            provider_id: session.provider_id,
            load: Load::default(),
            draining: false,
            connected_at: now,
            heard_at: now,
            told_to: now,
            rcu_milli: presence::rcu_milli(&session.descriptor),
            jobs: BTreeSet::new(),
            name: session.descriptor.name,
            cells,
        };
        self.nodes.insert(node_id, node);
    }

    /// A node goes. Returns its models and the jobs it had.
    pub fn disconnect(&mut self, node_id: NodeId) -> Option<(Vec<String>, BTreeSet<JobId>)> {
        let models = self.drain(node_id)?;
        let node = self.nodes.remove(&node_id)?;
        self.remembered.extend(node.cells.into_iter().map(|(model, cell)| ((node_id, model), cell.measured)));
        Some((models, node.jobs))
    }

    /// A node takes no more offers. Returns its models.
    pub fn drain(&mut self, node_id: NodeId) -> Option<Vec<String>> {
        let node = self.nodes.get_mut(&node_id)?;
        node.draining = true;
        let models: Vec<String> = node.cells.keys().cloned().collect();
        for (model, cell) in &node.cells {
            if let Some(takers) = self.takers.get_mut(model) {
                takers.remove(node_id, cell);
            }
        }
        Some(models)
    }

    /// A node's cells take as many jobs as it says now, and never more than its descriptor. Returns the models of those that
    /// take more than before.
    pub fn resize(&mut self, node_id: NodeId, loads: &[ModelLoad], backlog: u32) -> Vec<String> {
        let Some(node) = self.nodes.get_mut(&node_id) else { return Vec::new() };
        let mut grown = Vec::new();
        for load in loads {
            let Some((cell, slots)) = node.cells.get_mut(&load.model).zip(load.slots) else { continue };
            // A cell that cannot answer keeps no backlog either.
            let capacity = if slots == 0 { 0 } else { slots.min(cell.slots).saturating_add(backlog) };
            if capacity > cell.capacity {
                grown.push(load.model.clone());
            }
            if let Some(takers) = self.takers.get_mut(&load.model) {
                takers.change(node_id, cell, |cell| cell.capacity = capacity);
            }
        }
        grown
    }

    /// A node's asks or standing changed. Returns its models.
    pub fn appraise(&mut self, node_id: NodeId, asks: &[Ask], standing: Standing, settings: &Settings) -> Vec<String> {
        let Some(node) = self.nodes.get_mut(&node_id) else { return vec![] };
        for (model, cell) in &mut node.cells {
            if let Some(takers) = self.takers.get_mut(model) {
                let listed = !node.draining;
                takers.remove(node_id, cell);
                cell.stand(&standing, model);
                if listed {
                    takers.insert(node_id, cell);
                }
            }
        }
        for ask in asks.iter().filter(|ask| ask.prices.currency == settings.currency) {
            if let Some(cell) = node.cells.get_mut(&ask.model) {
                cell.prices = ask.prices;
            }
        }
        node.cells.keys().cloned().collect()
    }

    /// The grade at which a connected node serves a model.
    pub fn grade(&self, node_id: NodeId, model: &str) -> Option<Grade> {
        self.nodes.get(&node_id)?.cells.get(model).map(|cell| cell.grade).filter(|grade| *grade > Grade::None)
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The presence of a node since it was told last; none while it takes no work.
    pub fn presence(&mut self, node_id: NodeId) -> Option<Presence> {
        self.nodes.get_mut(&node_id)?.presence(node_id)
    }

    /// The presences of all nodes since they were told last.
    pub fn presences(&mut self) -> Vec<Presence> {
        self.nodes.iter_mut().filter_map(|(node_id, node)| node.presence(*node_id)).collect()
    }

    pub fn node(&self, node_id: NodeId) -> Option<&Connected> {
        self.nodes.get(&node_id)
    }

    pub fn node_mut(&mut self, node_id: NodeId) -> Option<&mut Connected> {
        self.nodes.get_mut(&node_id)
    }

    pub fn cell_mut(&mut self, node_id: NodeId, model: &str) -> Option<&mut Cell> {
        self.nodes.get_mut(&node_id)?.cells.get_mut(model)
    }

    /// True when a node serves the model or did since we began.
    pub fn knows(&self, model: &str) -> bool {
        self.takers.contains_key(model)
    }

    /// The cells of a model whose nodes take offers, in order of node; those without a grade take none.
    pub fn cells<'a>(&'a self, model: &'a str) -> impl Iterator<Item = (NodeId, &'a Cell)> + Clone {
        let nodes = self.takers.get(model).into_iter().flat_map(|takers| &takers.nodes);
        nodes.filter_map(move |node_id| Some((*node_id, self.nodes.get(node_id)?.cells.get(model)?)))
    }

    /// The cells of a model that one decision looks at: all of a small fleet; of a large one, [`CANDIDATES_MAX`] spread evenly from
    /// where `turn` says, so that decisions in a row look at others.
    pub fn candidates<'a>(&'a self, model: &'a str, turn: u64) -> impl Iterator<Item = (NodeId, &'a Cell)> {
        let nodes = self.takers.get(model).map_or(&[][..], |takers| &takers.nodes);
        let looked_at = nodes.len().min(CANDIDATES_MAX);
        // A large odd factor, so that two decisions in a row begin far from each other.
        let first = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % nodes.len().max(1);
        let first = if nodes.len() > CANDIDATES_MAX { first } else { 0 };
        let places = (0..looked_at).map(move |n| (first + n * nodes.len() / looked_at) % nodes.len());
        places.filter_map(move |place| Some((nodes[place], self.nodes.get(&nodes[place])?.cells.get(model)?)))
    }

    /// A node that is not new, is another provider's and serves the model itself with so long a context, and that none of `busy` is:
    /// the one with the most room.
    pub fn referee(
        &self,
        model: &str,
        other_than: ProviderId,
        tokens: u64,
        busy: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let fit = self.cells(model).filter(|(node_id, cell)| {
            let stranger = self.nodes.get(node_id).is_some_and(|node| node.provider_id != other_than);
            cell.reference && !cell.on_trial && u64::from(cell.context_tokens) >= tokens && stranger && !busy(*node_id)
        });
        fit.max_by_key(|(_, cell)| cell.slots_free(Class::Batch)).map(|(node_id, _)| node_id)
    }

    /// How much of a model's work new nodes got lately.
    pub fn trials(&self, model: &str) -> TrialShare {
        self.trials.get(model).copied().unwrap_or_default()
    }

    /// The share of a model's cells that one decision looks at.
    pub fn shown(&self, model: &str) -> f64 {
        let nodes = self.takers.get(model).map_or(0, |takers| takers.nodes.len());
        nodes.min(CANDIDATES_MAX) as f64 / nodes.max(1) as f64
    }

    /// Jobs that a model's nodes may have at once.
    pub fn slots(&self, model: &str) -> u32 {
        self.takers.get(model).map_or(0, |takers| takers.slots)
    }

    /// The longest context at hand for a model at this grade or a higher one; 0 when no node takes offers.
    pub fn context_tokens_max(&self, model: &str, grade: Grade) -> u32 {
        let contexts = self.takers.get(model).into_iter().flat_map(|takers| takers.contexts.range((grade, 0)..));
        contexts.map(|((_, context), _)| *context).max().unwrap_or(0)
    }

    /// The models that a node serves.
    pub fn models_of(&self, node_id: NodeId) -> impl Iterator<Item = &str> {
        self.nodes.get(&node_id).into_iter().flat_map(|node| node.cells.keys()).map(String::as_str)
    }

    /// Gives a slot to a job, by `put`.
    pub fn occupy(&mut self, node_id: NodeId, model: &str, job_id: JobId, put: impl FnOnce(&mut Cell)) {
        if let Some(node) = self.nodes.get_mut(&node_id)
            && node.jobs.insert(job_id)
            && let Some(cell) = node.cells.get_mut(model)
        {
            put(cell);
            self.trials.entry(model.to_owned()).or_default().count(cell.on_trial);
        }
    }

    /// Takes a job's slot back, if the node is still here and had it.
    pub fn release(&mut self, node_id: NodeId, model: &str, job_id: JobId) {
        if let Some(node) = self.nodes.get_mut(&node_id)
            && node.jobs.remove(&job_id)
            && let Some(cell) = node.cells.get_mut(model)
        {
            cell.gone(job_id);
        }
    }

    /// Adds to a cell's record, also when its node has just gone.
    pub fn measure(&mut self, node_id: NodeId, model: &str, add: impl FnOnce(&mut Measured)) {
        if let Some(cell) = self.cell_mut(node_id, model) {
            add(&mut cell.measured);
        } else if let Some(measured) = self.remembered.get_mut(&(node_id, model.to_owned())) {
            add(measured);
        }
    }

    /// Wakes a node's cells that have rested. Returns their models, and when the next one wakes.
    pub fn wake(&mut self, node_id: NodeId, now: DateTime<Utc>) -> (Vec<String>, Option<DateTime<Utc>>) {
        let (mut woken, mut next) = (Vec::new(), None::<DateTime<Utc>>);
        for (model, cell) in self.nodes.get_mut(&node_id).into_iter().flat_map(|node| &mut node.cells) {
            match cell.rests_until {
                Some(until) if until <= now => {
                    cell.rests_until = None;
                    woken.push(model.clone());
                }
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        (woken, next)
    }

    pub fn models(&self, queued: impl Fn(&str) -> usize) -> Vec<ModelAvailability> {
        let models = self.takers.iter();
        models.map(|(model, takers)| self.availability(model, takers.nodes.len(), queued(model))).collect()
    }

    fn availability(&self, model: &str, nodes: usize, queued: usize) -> ModelAvailability {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        ModelAvailability {
            model: model.to_owned(),
            nodes: count(nodes),
            slots: self.slots(model),
            slots_free: self.cells(model).map(|(_, cell)| cell.slots_free(Class::Batch)).fold(0, u32::saturating_add),
            queued: count(queued),
            context_tokens_max: self.context_tokens_max(model, Grade::Eco),
        }
    }

    pub fn snapshots(&self) -> Vec<NodeSnapshot> {
        let snapshot = |(node_id, node): (&NodeId, &Connected)| NodeSnapshot {
            node_id: *node_id,
            provider_id: node.provider_id,
            name: node.name.clone(),
            load: node.load.clone(),
            draining: node.draining,
            connected_at: node.connected_at,
            cells: node.cells.iter().map(|(model, cell)| CellSnapshot::of(model, cell)).collect(),
        };
        self.nodes.iter().map(snapshot).collect()
    }
}

impl Connected {
    /// Its cell of a model.
    pub fn cell(&self, model: &str) -> Option<&Cell> {
        self.cells.get(model)
    }

    /// Takes from a heartbeat what placement asks for. *Units*: ms.
    pub fn hear(&mut self, load: &Load, now_ms: f64) {
        for told in &load.models {
            let Some(cell) = self.cells.get_mut(&told.model) else { continue };
            if let Some(outlook) = told.outlook {
                cell.hear(outlook);
            }
            cell.held.tell(&told.blocks_added, &told.blocks_removed, now_ms);
        }
    }

    fn presence(&mut self, node_id: NodeId) -> Option<Presence> {
        let slots: Vec<(&str, u32)> = self.cells.iter().map(|(model, cell)| (model.as_str(), cell.slots)).collect();
        let shares = presence::shares(&slots);
        if self.draining || shares.is_empty() || self.heard_at <= self.told_to {
            return None;
        }
        let from_at = std::mem::replace(&mut self.told_to, self.heard_at);
        let Self { provider_id, rcu_milli, heard_at: to_at, .. } = *self;
        Some(Presence { node_id, provider_id, from_at, to_at, rcu_milli, shares })
    }
}
