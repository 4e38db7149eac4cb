//! Whether a node can be given work: what a load balancer, a service manager or a person wants to know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::node::serving::Serving;

/// What the parts of a node tell of themselves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    engines: Vec<Arc<Serving>>,
    connected: bool,
    draining: bool,
}

impl Readiness {
    /// These engines have their models.
    pub fn loaded(&self, engines: &[Arc<Serving>]) {
        self.lock().engines = engines.to_vec();
    }

    /// The control plane has let the node in, or the connection is gone.
    pub fn connected(&self, connected: bool) {
        self.lock().connected = connected;
        metrics::gauge!("tokengrid_node_connected").set(f64::from(u8::from(connected)));
    }

    /// The node takes no more work.
    pub fn draining(&self) {
        self.lock().draining = true;
    }

    /// Well if every model is loaded, every engine answers, and the control plane knows.
    ///
    /// # Errors
    /// All that is missing, a sentence each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let state = self.lock();
        let mut missing: Vec<String> = state.engines.iter().filter_map(|engine| engine.condition().err()).collect();
        if state.engines.is_empty() {
            missing.push("models are being loaded, or engines waited for".into());
        }
        if !state.connected {
            missing.push("not connected to the control plane".into());
        }
        if state.draining {
            missing.push("draining".into());
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
