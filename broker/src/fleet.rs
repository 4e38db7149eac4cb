//! The connected nodes and their cells.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use primitives::certificate::Grade;
use primitives::id::{JobId, NodeId, ProviderId};
use primitives::node_protocol::{Load, ModelLoad};

use crate::Settings;
use crate::ask::Ask;
use crate::cell::{Cell, CellSnapshot, Measured, ModelAvailability};
use crate::job::Job;
use crate::node::{NodeSession, NodeSnapshot};
use crate::presence::{self, Presence};
use crate::standing::{Choice, Standing, TrialShare};

/// The connected nodes, and for each model those that take offers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, Connected>,
    /// A model stays here, with no node, when its last node goes: it may come back.
    takers: BTreeMap<String, BTreeSet<NodeId>>,
    /// How the cells of absent nodes did, so that coming back does not wipe a record; bounded by the nodes ever joined.
    remembered: BTreeMap<(NodeId, String), Measured>,
    trials: BTreeMap<String, TrialShare>,
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
    standing: Standing,
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
            cells.insert(served.model.clone(), Cell::new(served, ask.prices, settings.backlog, measured));
            self.takers.entry(served.model.clone()).or_default().insert(node_id);
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
            standing: session.standing,
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
        for model in &models {
            if let Some(takers) = self.takers.get_mut(model) {
                takers.remove(&node_id);
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
            cell.capacity = capacity;
        }
        grown
    }

    /// A node's asks or standing changed. Returns its models.
    pub fn appraise(&mut self, node_id: NodeId, asks: &[Ask], standing: Standing, settings: &Settings) -> Vec<String> {
        let Some(node) = self.nodes.get_mut(&node_id) else { return vec![] };
        node.standing = standing;
        for ask in asks.iter().filter(|ask| ask.prices.currency == settings.currency) {
            if let Some(cell) = node.cells.get_mut(&ask.model) {
                cell.prices = ask.prices;
            }
        }
        node.cells.keys().cloned().collect()
    }

    /// The grade at which a connected node serves a model.
    pub fn grade(&self, node_id: NodeId, model: &str) -> Option<Grade> {
        self.nodes.get(&node_id)?.standing.grade(model)
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
        self.graded(model, Grade::Eco)
    }

    /// Of those, the cells with this grade or a higher one.
    fn graded<'a>(&'a self, model: &'a str, grade: Grade) -> impl Iterator<Item = (NodeId, &'a Cell)> + Clone {
        let nodes = self.takers.get(model).into_iter().flatten();
        nodes.filter_map(move |node_id| {
            let node = self.nodes.get(node_id)?;
            node.standing.grade(model).filter(|served| *served >= grade)?;
            Some((*node_id, node.cells.get(model)?))
        })
    }

    /// The cells that a job may be offered to now: of its grade, and new nodes only for their small share of the work.
    pub fn eligible<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = (NodeId, &'a Cell)> + Clone {
        let on_probation = |node_id| self.nodes.get(&node_id).is_some_and(|node| node.standing.on_probation);
        let (mut established, mut on_trial, mut on_trial_free) = (false, false, false);
        let fits = |cell: &Cell| u64::from(cell.context_tokens) >= job.tokens_needed();
        for (node_id, cell) in self.graded(&job.model, job.grade).filter(|(_, cell)| fits(cell)) {
            let new = on_probation(node_id);
            established |= !new;
            on_trial |= new;
            on_trial_free |= new && cell.slots_free() > 0;
        }
        let share = self.trials.get(&job.model).copied().unwrap_or_default();
        let choice = Choice::of(share, established, on_trial, on_trial_free);
        self.graded(&job.model, job.grade).filter(move |(node_id, _)| choice.allows(on_probation(*node_id)))
    }

    /// The longest context at hand for a model at this grade or a higher one; 0 when no node takes offers.
    pub fn context_tokens_max(&self, model: &str, grade: Grade) -> u32 {
        self.graded(model, grade).map(|(_, cell)| cell.context_tokens).max().unwrap_or(0)
    }

    /// Gives a slot to a job.
    pub fn occupy(&mut self, node_id: NodeId, model: &str, job_id: JobId) {
        if let Some(node) = self.nodes.get_mut(&node_id)
            && node.jobs.insert(job_id)
            && let Some(cell) = node.cells.get_mut(model)
        {
            cell.in_flight += 1;
            self.trials.entry(model.to_owned()).or_default().count(node.standing.on_probation);
        }
    }

    /// Takes a job's slot back, if the node is still here and had it.
    pub fn release(&mut self, node_id: NodeId, model: &str, job_id: JobId) {
        if let Some(node) = self.nodes.get_mut(&node_id)
            && node.jobs.remove(&job_id)
            && let Some(cell) = node.cells.get_mut(model)
        {
            cell.in_flight -= 1;
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
        let models = self.takers.keys();
        models.map(|model| self.availability(model, queued(model))).collect()
    }

    fn availability(&self, model: &str, queued: usize) -> ModelAvailability {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        ModelAvailability {
            model: model.to_owned(),
            nodes: count(self.cells(model).count()),
            slots: self.cells(model).map(|(_, cell)| cell.capacity).fold(0, u32::saturating_add),
            slots_free: self.cells(model).map(|(_, cell)| cell.slots_free()).fold(0, u32::saturating_add),
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
