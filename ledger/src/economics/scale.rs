//! S, intelligent scale: capacity deployed, weighted by what the model on it can do.
//!
//! *Units*: IU·RCU·h. *Source*: `token-economics.md` §1.

use super::exact::{Exact, ratio, whole};
use super::inputs::{Inputs, PPM, Usage};

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
    /// The part of it that a second of computing keeps busy: κ · c · f / 3600.
    pub busy_per_second: Exact,
}

/// How the scale of a deployment is given to those who used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// All of it, by compute-seconds; a deployment that nobody used stays idle.
    Absorbed,
    /// What each kept busy; the rest is idle.
    Consumed,
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
            let busy_per_second = &scale / whole(3_600 * hours.max(1));
            (!scale.is_zero()).then_some(Self { period, model, node, scale, busy_per_second })
        });
        deployed.collect()
    }

    /// Gives the scale to users with these compute-seconds; the parts and the idle rest add up to it exactly.
    pub fn allocate(&self, compute_s: &[u64], allocation: Allocation) -> (Vec<Exact>, Exact) {
        let total: u128 = compute_s.iter().map(|&seconds| u128::from(seconds)).sum();
        let per_second = match allocation {
            Allocation::Absorbed if total > 0 => &self.scale / whole(total),
            Allocation::Absorbed => Exact::ZERO,
            Allocation::Consumed => self.busy_per_second.clone(),
        };
        let parts: Vec<Exact> = compute_s.iter().map(|&seconds| &per_second * whole(seconds)).collect();
        let idle = &self.scale - &per_second * whole(total);
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
        Deployed { period, model, node, scale: whole(72), busy_per_second: ratio(1, 3_600_u64) }
    }

    #[test]
    fn absorbed_scale_follows_compute_seconds_and_leaves_nothing() {
        let (parts, idle) = deployed().allocate(&[3_600, 7_200], Allocation::Absorbed);
        assert_eq!((parts, idle), (vec![whole(24), whole(48)], Exact::ZERO));
    }

    #[test]
    fn consumed_scale_is_what_was_busy_and_the_rest_is_idle() {
        let (parts, idle) = deployed().allocate(&[3_600, 7_200], Allocation::Consumed);
        assert_eq!((parts, idle), (vec![whole(1), whole(2)], whole(69)));
    }

    #[test]
    fn a_deployment_without_use_stays_idle() {
        for allocation in [Allocation::Absorbed, Allocation::Consumed] {
            assert_eq!(deployed().allocate(&[], allocation), (vec![], whole(72)));
        }
    }
}
