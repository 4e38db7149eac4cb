//! Models that share less memory than all of them need.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::node::serving;
use engine::shelf::{Card, Claim, Load, Shelf, Shelved};
use engine::{Engine, EngineConfig, Error, Model, RequestHandle};
use primitives::node_protocol::Work;

use crate::bundled::{self, finish, work};
use crate::random;

/// A model that takes one of a shelf's bytes.
fn add(shelf: &Arc<Shelf>, kind: &'static str, load: impl FnOnce(EngineConfig) -> Load) -> Arc<Shelved> {
    let model = Model::load(&path(kind)).unwrap();
    let mut config = EngineConfig::for_model(&model, 1);
    (config.slots, config.context_tokens, config.saved_bytes_max) = (2, 256, 0);
    let served = serving::served(&model, config);
    shelf.add(Card { served, kind: model.kind, config, need: 1, load_ms: 700 }, load(config))
}

fn path(kind: &str) -> std::path::PathBuf {
    if kind == "shipped" { bundled::folder() } else { random::model(kind) }
}

fn engine(kind: &str, config: EngineConfig) -> Result<Engine, Error> {
    Engine::start(Arc::new(Model::load(&path(kind))?), config)
}

fn model(shelf: &Arc<Shelf>, kind: &'static str) -> Arc<Shelved> {
    add(shelf, kind, |config| Box::new(move || engine(kind, config)))
}

/// Any prompt, and an answer of six tokens to it.
fn asking() -> Work {
    let mut work = work((10..60).collect(), 6);
    work.sampling.logit_bias = vec![(0, -100.0)];
    work
}

fn submit(claim: &Claim, work: Work) -> RequestHandle {
    claim.engine().unwrap().submit(work).unwrap()
}

fn is_here(shelved: &Shelved) -> bool {
    shelved.with_engine(|_| ()).is_some()
}

#[test]
fn what_is_wanted_is_loaded_and_what_was_used_longest_ago_goes() {
    let shelf = Shelf::new(2);
    let [one, two, three] = ["shipped", "dense", "experts"].map(|kind| model(&shelf, kind));
    let ask = |shelved: &Arc<Shelved>| finish(submit(&shelved.claim().unwrap(), asking())).ids;
    assert!(!is_here(&one));
    let first = ask(&one);
    ask(&two);
    ask(&one);
    assert!(is_here(&one) && is_here(&two), "both fit");
    ask(&three);
    assert_eq!([&one, &two, &three].map(|shelved| is_here(shelved)), [true, false, true]);
    ask(&two);
    assert_eq!([&one, &two, &three].map(|shelved| is_here(shelved)), [false, true, true]);
    assert_eq!(ask(&one), first, "loaded again it is what it was");
}

#[test]
fn a_model_that_has_work_is_not_unloaded_and_one_without_room_says_so() {
    let shelf = Shelf::new(2);
    let [one, two, three] = ["shipped", "dense", "experts"].map(|kind| model(&shelf, kind));
    let works = one.claim().unwrap();
    let mut running = submit(&works, bundled::long_work(200));
    assert!(running.blocking_next().is_some());
    let accepted = two.claim().unwrap();
    assert!(three.claim().is_err(), "an accepted job keeps its model's place before it is loaded");
    drop(accepted);
    finish(submit(&three.claim().unwrap(), asking()));
    assert_eq!([&one, &two, &three].map(|shelved| is_here(shelved)), [true, false, true]);
    assert_eq!(finish(running).usage.output_tokens, 200);
}

#[test]
fn heartbeats_tell_how_long_loading_takes_and_that_no_block_is_held_any_more() {
    let shelf = Shelf::new(1);
    let [one, two] = ["shipped", "dense"].map(|kind| model(&shelf, kind));
    let outlook = one.news().outlook.unwrap();
    assert_eq!((outlook.loading_ms, outlook.turn_ms), (700, 0));
    one.restart_news();
    let mut salted = asking();
    salted.terms.cache_salt = Some("5a17".into());
    finish(submit(&one.claim().unwrap(), salted));
    let mut held = BTreeSet::new();
    while held.is_empty() {
        let news = one.news();
        held.extend(news.blocks_added);
        assert_eq!(news.outlook.map_or(0, |outlook| outlook.loading_ms), 0);
    }
    finish(submit(&two.claim().unwrap(), asking()));
    let news = one.news();
    assert!(news.blocks_removed.iter().all(|name| held.remove(name)) && held.is_empty(), "{held:?}");
    let outlook = news.outlook.unwrap();
    assert!(outlook.loading_ms > 0 && outlook.prompt_token_us > 0, "its pace is known from before: {outlook:?}");
}

#[test]
fn a_model_that_cannot_be_loaded_fails_its_work_alone_and_is_tried_again() {
    let shelf = Shelf::new(1);
    let tries = Arc::new(AtomicUsize::new(0));
    let broken = add(&shelf, "dense", |config| {
        let tries = tries.clone();
        Box::new(move || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Error::EngineStopped { model: "dense".into() }),
            _ => engine("dense", config),
        })
    });
    let claim = broken.claim().unwrap();
    assert!(claim.engine().unwrap_err().to_string().contains("could not be loaded"));
    finish(submit(&claim, asking()));
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[test]
fn many_callers_of_many_models_all_get_answers_and_memory_holds() {
    let shelf = Shelf::new(2);
    let models = ["shipped", "dense", "experts"].map(|kind| model(&shelf, kind));
    std::thread::scope(|scope| {
        for caller in 0..6 {
            let models = &models;
            scope.spawn(move || {
                for turn in 0..4 {
                    let shelved = &models[(caller * 5 + turn) % models.len()];
                    let claim = std::iter::repeat_with(|| shelved.claim().ok()).flatten().next().unwrap();
                    assert_eq!(finish(submit(&claim, asking())).ids.len(), 6);
                }
            });
        }
    });
    assert_eq!(models.iter().filter(|shelved| is_here(shelved)).count(), 2);
    assert_eq!(shelf.left(), 0);
}
