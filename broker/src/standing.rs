//! What a connected node may be given: the grades of its cells, and how much of the work while it is new.

use std::collections::{BTreeMap, BTreeSet};

use primitives::certificate::Grade;

/// The most of a model's jobs that new nodes get together while others could do them. *Units*: percent.
const TRIAL_SHARE_PERCENT: u64 = 5;
/// Counts are halved from here on, so that the share is one of lately.
const COUNTED_MAX: u64 = 1_000;

/// What a node may be given; changes of it reach a connected node within seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is new: it gets a small share of the work while others could do it.
    pub on_probation: bool,
    /// The grade of each model's cell; a model that is absent gets no work.
    pub grades: BTreeMap<String, Grade>,
    /// Models that it says it serves from their own weights in the reference engine: what it draws there can be replayed, and it can
    /// replay what others drew.
    pub references: BTreeSet<String>,
}

impl Standing {
    /// That of a node which is not new and serves a model's own weights.
    pub fn exact(model: &str) -> Self {
        Self {
            on_probation: false,
            grades: BTreeMap::from([(model.to_owned(), Grade::Exact)]),
            references: BTreeSet::from([model.to_owned()]),
        }
    }

    /// The grade at which a model is served; none where it is not.
    pub(crate) fn grade(&self, model: &str) -> Option<Grade> {
        self.grades.get(model).copied().filter(|grade| *grade > Grade::None)
    }
}

/// Of a model's jobs, how many were offered lately, and how many of those to nodes on probation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrialShare {
    offered: u64,
    on_trial: u64,
}

impl TrialShare {
    /// True when the next job may be one of the few.
    pub fn is_due(self) -> bool {
        (self.on_trial + 1) * 100 <= (self.offered + 1) * TRIAL_SHARE_PERCENT
    }

    /// Counts an offer.
    pub fn count(&mut self, on_trial: bool) {
        self.offered += 1;
        self.on_trial += u64::from(on_trial);
        if self.offered >= COUNTED_MAX {
            *self = Self { offered: self.offered / 2, on_trial: self.on_trial / 2 };
        }
    }
}

/// Which of the cells that fit may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// No node but new ones could do it, or none is new.
    Any,
    /// Nodes that are not new.
    Established,
    /// It is a new node's turn, and one is free.
    Trial,
}

impl Choice {
    /// The rule: `established` and `on_trial` tell whether there are such cells that fit, and `on_trial_free` whether one of the latter
    /// has room.
    pub fn of(share: TrialShare, established: bool, on_trial: bool, on_trial_free: bool) -> Self {
        match (established, on_trial) {
            (true, true) if share.is_due() && on_trial_free => Self::Trial,
            (true, true) => Self::Established,
            _ => Self::Any,
        }
    }

    /// Whether a node's cell may be chosen.
    pub fn allows(self, on_probation: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Established => !on_probation,
            Self::Trial => on_probation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_nodes_get_one_job_in_twenty_while_others_could_do_them() {
        let (mut share, mut tried) = (TrialShare::default(), 0);
        for job in 1..=10_000_u64 {
            let on_trial = Choice::of(share, true, true, true) == Choice::Trial;
            share.count(on_trial);
            tried += u64::from(on_trial);
            assert!(tried * 20 <= job + 20, "{tried} of {job}");
        }
        assert!((450..=500).contains(&tried), "{tried}");
    }

    #[test]
    fn alone_they_get_everything_and_a_busy_one_keeps_nobody_waiting() {
        let due = TrialShare { offered: 100, on_trial: 0 };
        assert_eq!(Choice::of(TrialShare::default(), false, true, true), Choice::Any);
        assert_eq!(Choice::of(due, true, false, false), Choice::Any);
        assert_eq!(Choice::of(due, true, true, false), Choice::Established);
        assert!(Choice::Any.allows(true) && !Choice::Established.allows(true) && !Choice::Trial.allows(false));
    }

    #[test]
    fn a_cell_that_earned_nothing_is_not_served() {
        let mut standing = Standing::exact("m");
        assert_eq!((standing.grade("m"), standing.grade("n")), (Some(Grade::Exact), None));
        standing.grades.insert("m".into(), Grade::None);
        assert_eq!(standing.grade("m"), None);
    }
}
