//! The models that `run` serves with the bundled engine: in memory for good where they fit together, else on a shelf.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use engine::node::serving::{self, Serving};
use engine::shelf::{Card, Shelf, Shelved};
use engine::{EngineConfig, Model, trial};

use crate::config::EngineArgs;
use crate::{budget, sized, start, tell_need, threads};

/// Every model, in order. What would not fit the memory by itself is refused.
pub fn serve(paths: &[PathBuf], args: &EngineArgs) -> anyhow::Result<Vec<Serving>> {
    let all = budget(args);
    let needs = paths.iter().map(|path| Ok(tell_need(path, args, &mut all.clone())?.total()));
    let needs = needs.collect::<anyhow::Result<Vec<u64>>>()?;
    if needs.iter().fold(0, |sum: u64, need| sum.saturating_add(*need)) > all.left() {
        return shelve(paths, &needs, args, &Shelf::new(all.left()));
    }
    let loaded = paths.iter().map(|path| {
        trial::run(path)?;
        Ok(Serving::Bundled(start(path, args)?))
    });
    loaded.collect()
}

/// Reads every model once, then loads those that fit, the first ones first.
fn shelve(paths: &[PathBuf], needs: &[u64], args: &EngineArgs, shelf: &Arc<Shelf>) -> anyhow::Result<Vec<Serving>> {
    let read = paths.iter().zip(needs).map(|(path, need)| {
        let (path, sized) = (path.clone(), args.clone());
        Ok(shelf.add(card(&path, *need, &sized)?, Box::new(move || start(&path, &sized))))
    });
    let read = read.collect::<anyhow::Result<Vec<Arc<Shelved>>>>()?;
    for shelved in read.iter().filter(|shelved| shelved.card().need <= shelf.left()) {
        shelved.claim().map_err(anyhow::Error::msg)?.engine()?;
    }
    tracing::info!(models = read.len(), "the models do not fit the memory together: they are loaded when work comes");
    Ok(read.into_iter().map(Serving::Shelved).collect())
}

fn card(path: &Path, need: u64, args: &EngineArgs) -> anyhow::Result<Card> {
    let began = Instant::now();
    trial::run(path)?;
    let load_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    let model = Model::load(path)?;
    let config = sized(args, EngineConfig::for_model(&model, threads(args.threads)));
    Ok(Card { served: serving::served(&model, config), kind: model.kind, config, need, load_ms })
}
