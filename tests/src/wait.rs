//! Waiting for something to happen: the only place in the tests where time passes.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// What should take a moment may take this long on a busy machine; a test that waits longer has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often something that cannot announce itself is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` gives something, and panics when that takes longer than [`DEADLINE`].
///
/// It is for conditions of other processes, which cannot wake us: a log line, a row, an answer. `what` completes the sentence
/// "it never happened that …".
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Some(found)) => return found,
            Ok(None) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
            Ok(None) | Err(_) => panic!("it never happened that {what} (in {DEADLINE:?})"),
        }
    }
}

/// Waits for an event that announces itself, and panics when that takes longer than [`DEADLINE`].
pub async fn in_time<F: Future>(what: &str, event: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(output) => output,
        Err(_) => panic!("it never happened that {what} (in {DEADLINE:?})"),
    }
}
