//! S, intelligent scale: capacity deployed, weighted by what the model on it can do.
//!
//! *Units*: IU·RCU·h. *Source*: `token-economics.md` §1.

use super::exact::{Exact, ratio, whole};
use super::inputs::{Inputs, PPM, Usage};

/// Milliseconds of an hour.
pub(crate) const MS_PER_HOUR: u128 = 3_600_000;

/// A model on a node in a period, with all of its scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed<'a> {
    /// When.
    pub period: &'a str,
    /// The model.
    pub model: &'a str,
    /// The node.
    pub node: &'a str,
    /// S = κ · c · f · h, above zero.
    pub scale: Exact,
    /// The part of it that a millisecond of computing keeps busy: κ · c · f / 3600000.
    pub busy_per_ms: Exact,
}

/// How the scale of a deployment is given to those who used it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocation {
    /// All of it, by time of computing; a deployment that nobody used stays idle.
    #[default]
    Absorbed,
    /// What each kept busy; the rest is idle.
    Consumed,
}

impl Allocation {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absorbed => "ABSORBED",
            Self::Consumed => "CONSUMED",
        }
    }
}

impl<'a> Deployed<'a> {
    /// What is served in a period, in the order of the inputs' models and nodes; what has no scale is absent.
    pub fn list(inputs: &'a Inputs, period: &'a str) -> Vec<Self> {
        let models = &inputs.intelligence_index.models;
        let cells = models.iter().flat_map(|model| inputs.nodes.iter().map(move |node| (model, node)));
        let deployed = cells.filter_map(|((model, index), (node, hardware))| {
            let mut share_hours = Exact::ZERO;
            let mut hours = 0_u128;
            for deployment in inputs.deployed_on(period, node).filter(|deployment| deployment.model == *model) {
                share_hours += ratio(deployment.share_ppm, PPM) * whole(deployment.hours);
                hours += u128::from(deployment.hours);
            }
            let weight = ratio(index.kappa_milli, 1_000_u64) * ratio(hardware.rcu_milli, 1_000_u64);
            let scale = weight * share_hours;
            let busy_per_ms = &scale / whole(MS_PER_HOUR * hours.max(1));
            (!scale.is_zero()).then_some(Self { period, model, node, scale, busy_per_ms })
        });
        deployed.collect()
    }

    /// Gives the scale to users with these times of computing; the parts and the idle rest add up to it exactly.
    pub fn allocate(&self, compute_ms: &[u128], allocation: Allocation) -> (Vec<Exact>, Exact) {
        let total: u128 = compute_ms.iter().sum();
        let per_ms = match allocation {
            Allocation::Absorbed if total > 0 => &self.scale / whole(total),
            Allocation::Absorbed => Exact::ZERO,
            Allocation::Consumed => self.busy_per_ms.clone(),
        };
        let parts: Vec<Exact> = compute_ms.iter().map(|&ms| &per_ms * whole(ms)).collect();
        let idle = &self.scale - &per_ms * whole(total);
        (parts, idle)
    }
}

impl Usage {
    /// Whether the capacity that served it is known; scale is never imputed.
    pub fn is_declared(&self, inputs: &Inputs) -> bool {
        inputs
            .deployed_on(&self.period, &self.node)
            .any(|deployment| deployment.model == self.model && deployment.share_ppm > 0 && deployment.hours > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployed() -> Deployed<'static> {
        let (period, model, node) = ("p", "m", "n");
        Deployed { period, model, node, scale: whole(72), busy_per_ms: ratio(1, 3_600_000_u64) }
    }

    #[test]
    fn absorbed_scale_follows_compute_seconds_and_leaves_nothing() {
        let (parts, idle) = deployed().allocate(&[3_600_000, 7_200_000], Allocation::Absorbed);
        assert_eq!((parts, idle), (vec![whole(24), whole(48)], Exact::ZERO));
    }

    #[test]
    fn consumed_scale_is_what_was_busy_and_the_rest_is_idle() {
        let (parts, idle) = deployed().allocate(&[3_600_000, 7_200_000], Allocation::Consumed);
        assert_eq!((parts, idle), (vec![whole(1), whole(2)], whole(69)));
    }

    #[test]
    fn a_deployment_without_use_stays_idle() {
        for allocation in [Allocation::Absorbed, Allocation::Consumed] {
            assert_eq!(deployed().allocate(&[], allocation), (vec![], whole(72)));
        }
    }
}
