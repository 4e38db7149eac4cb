//! A computation that never ends: no error tells of it, and its thread cannot be stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::node::serving::Serving;

/// Looks this often within the bound.
const LOOKS: u32 = 4;

/// Waits until one step of an engine has taken longer than `step_max`, and gives the model's name. Nothing but the end of the
/// process frees the thread.
pub async fn stuck(engines: &[Arc<Serving>], step_max: Duration) -> String {
    let look_every = (step_max / LOOKS).clamp(Duration::from_millis(1), Duration::from_secs(1));
    loop {
        if let Some(engine) = engines.iter().find(|engine| engine.busy_for().is_some_and(|busy| busy > step_max)) {
            return engine.model_id().to_owned();
        }
        sleep(look_every).await;
    }
}
