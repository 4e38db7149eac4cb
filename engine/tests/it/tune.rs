//! Searching for settings.

use std::time::Duration;

use engine::EngineConfig;
use engine::tune::{self, Tried, Tuning};

use crate::bundled::model;

fn search(time: Duration) -> (Vec<Tried>, Tuning) {
    let config = EngineConfig { slots: 16, ..EngineConfig::for_model(&model(), 1) };
    let mut heard = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let searching = async { tune::run(&[model()], config, time, &mut |tried| heard.push(tried.clone())).await };
    let tuning = tokio::task::LocalSet::new().block_on(&runtime, searching).unwrap();
    (heard, tuning)
}

#[test]
fn a_search_without_time_leaves_what_it_began_with() {
    let (_, tuning) = search(Duration::ZERO);
    assert_eq!((tuning.best, tuning.ratio), (tuning.default, 1.0));
}

#[test]
fn the_best_is_one_that_was_kept_and_everything_tried_is_told() {
    let (heard, tuning) = search(Duration::from_secs(4));
    assert!(!heard.is_empty());
    assert_eq!(heard.len(), tuning.tried.len());
    let mut kept = tuning.tried.iter().filter(|tried| tried.kept).map(|tried| tried.settings);
    assert!(tuning.best == tuning.default || kept.next_back() == Some(tuning.best), "{tuning:?}");
    assert!(tuning.ratio >= 1.0);
}
