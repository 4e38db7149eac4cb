//! Models that share a node's memory and do not fit it together: loaded when work comes for them.
//!
//! Room is made by unloading models that rest, the one used longest ago first. A model rests while nobody has a [`Claim`] on it;
//! one that has work is never unloaded, so that another may have to wait for it; when it has waited long enough, those that hold
//! memory are given no more work until it has its own. Models are loaded one after the other, after what goes has gone: what is
//! held never exceeds the bound.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use primitives::node_protocol::{BLOCK_NEWS_MAX, ModelLoad, Outlook, ServedModel};

use crate::announcement::Announcements;
use crate::engine::{Engine, EngineConfig};
use crate::error::{Error, Refused};
use crate::model::Kind;

/// A model waits so long for others to rest, and four times what its loading takes; then they make way.
const PATIENCE: Duration = Duration::from_secs(5);

/// A model that nobody asked for in this time is no longer waited for.
const WANTED_FOR: Duration = Duration::from_secs(2);

/// The memory of a node, and who has which part of it.
#[derive(Debug)]
pub struct Shelf {
    state: Mutex<State>,
    /// A model was loaded, or could not be.
    settled: Condvar,
    /// Held by who loads.
    loading: Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// *Units*: bytes.
    left: u64,
    places: Vec<Place>,
    /// Claims that ended so far.
    uses: u64,
    /// Engines that go before the next one comes.
    leaving: Vec<Arc<Engine>>,
}

/// One model's part.
#[derive(Debug)]
struct Place {
    /// *Units*: bytes.
    need: u64,
    content: Content,
    claims: usize,
    /// Since when it is asked for in vain, and when it was the last time.
    wanted: Option<(Instant, Instant)>,
    /// By [`State::uses`].
    used_at: u64,
    /// What loading took the last time. *Units*: ms.
    load_ms: u32,
    /// What its engine foretold when it was unloaded.
    outlook: Outlook,
    /// What a listener is still to be told of the blocks of an engine that is gone.
    news: Announcements,
}

#[derive(Debug)]
enum Content {
    /// It holds no memory.
    Away,
    /// Its memory is set aside.
    Reserved,
    /// Somebody loads it.
    Loading(Instant),
    /// It is here.
    Here(Arc<Engine>),
}

impl Place {
    /// Since when it is wanted, if it is asked for in vain now.
    fn wanted_since(&self, now: Instant) -> Instant {
        self.wanted.filter(|(_, last)| now <= *last + WANTED_FOR).map_or(now, |(since, _)| since)
    }

    fn rests(&self) -> bool {
        self.claims == 0 && matches!(self.content, Content::Reserved | Content::Here(_))
    }
}

/// What makes an engine anew.
pub type Load = Box<dyn Fn() -> Result<Engine, Error> + Send + Sync>;

/// What is known of a model whether it is loaded or not.
#[derive(Clone, Debug)]
pub struct Card {
    /// As the node announces it.
    pub served: ServedModel,
    /// What it is for.
    pub kind: Kind,
    /// How its engine is sized.
    pub config: EngineConfig,
    /// What it takes at most. *Units*: bytes.
    pub need: u64,
    /// About what loading it takes. *Units*: ms.
    pub load_ms: u32,
}

/// A model on the shelf.
pub struct Shelved {
    shelf: Arc<Shelf>,
    place: usize,
    card: Card,
    load: Load,
}

/// Keeps a model's memory: while somebody has one, it is not unloaded.
pub struct Claim(Arc<Shelved>);

impl Shelf {
    /// Memory of so many bytes, with nothing in it.
    pub fn new(bytes: u64) -> Arc<Self> {
        let state = State { left: bytes, places: Vec::new(), uses: 0, leaving: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), settled: Condvar::new(), loading: Mutex::new(()) })
    }

    /// Puts a model on it, not loaded.
    pub fn add(self: &Arc<Self>, card: Card, load: Load) -> Arc<Shelved> {
        let mut state = self.lock();
        let (need, load_ms) = (card.need, card.load_ms);
        let (outlook, news) = (Outlook::default(), Announcements::default());
        state.places.push(Place {
            need,
            content: Content::Away,
            claims: 0,
            wanted: None,
            used_at: 0,
            load_ms,
            outlook,
            news,
        });
        Arc::new(Shelved { shelf: self.clone(), place: state.places.len() - 1, card, load })
    }

    /// What nobody has. *Units*: bytes.
    pub fn left(&self) -> u64 {
        self.lock().left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those to unload so that this place has its memory, the ones used longest ago; none where the memory cannot be had now.
    fn victims(&self, place: usize) -> Option<Vec<usize>> {
        let mut resting: Vec<usize> = (0..self.places.len()).filter(|&other| self.places[other].rests()).collect();
        resting.sort_by_key(|&other| self.places[other].used_at);
        let (need, mut free, mut victims) = (self.places[place].need, self.left, Vec::new());
        for victim in resting {
            if free >= need {
                break;
            }
            free += self.places[victim].need;
            victims.push(victim);
        }
        (free >= need).then_some(victims)
    }

    /// Whether this place is to be given no more work, for another that has waited long enough for memory.
    fn makes_way(&self, place: usize, now: Instant) -> bool {
        let overdue = |other: &Place| {
            let patience = PATIENCE + 4 * Duration::from_millis(other.load_ms.into());
            other.wanted.is_some_and(|(since, last)| now >= since + patience && now <= last + WANTED_FOR)
        };
        let others = self.places.iter().enumerate().filter(|(other, _)| *other != place);
        !matches!(self.places[place].content, Content::Away) && others.map(|(_, other)| other).any(overdue)
    }

    fn unload(&mut self, victim: usize) {
        let place = &mut self.places[victim];
        self.left += place.need;
        if let Content::Here(engine) = std::mem::replace(&mut place.content, Content::Away) {
            place.outlook = engine.news().outlook.unwrap_or_default();
            place.news = engine.end_news();
            self.leaving.push(engine);
        }
    }
}

impl Shelved {
    /// What is known of it.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Keeps its memory from now on; it is loaded when work is given to it.
    ///
    /// # Errors
    /// A sentence, when models that have work take its memory, or it makes way for another.
    pub fn claim(self: &Arc<Self>) -> Result<Claim, String> {
        let (mut state, now) = (self.shelf.lock(), Instant::now());
        if state.makes_way(self.place, now) {
            return Err(format!("{} makes way for a model that has waited long enough", self.id()));
        }
        if matches!(state.places[self.place].content, Content::Away) {
            let Some(victims) = state.victims(self.place) else {
                let since = state.places[self.place].wanted_since(now);
                state.places[self.place].wanted = Some((since, now));
                return Err(format!("models that have work take the memory of {}", self.id()));
            };
            victims.into_iter().for_each(|victim| state.unload(victim));
            state.left -= self.card.need;
            state.places[self.place].content = Content::Reserved;
            state.places[self.place].wanted = None;
        }
        state.places[self.place].claims += 1;
        Ok(Claim(self.clone()))
    }

    /// As [`Claim::engine`], for who has a claim and keeps it while they use the engine.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, Refused> {
        let mut state = self.shelf.lock();
        loop {
            match &state.places[self.place].content {
                Content::Here(engine) => return Ok(engine.clone()),
                Content::Loading(_) => {
                    state = self.shelf.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Content::Reserved => {
                    state.places[self.place].content = Content::Loading(Instant::now());
                    drop(state);
                    self.fetch()?;
                    state = self.shelf.lock();
                }
                Content::Away => return Err(Refused::Stopped),
            }
        }
    }

    /// Loads it, after what leaves has left.
    fn fetch(&self) -> Result<(), Refused> {
        let _one_at_a_time = self.shelf.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let leaving = std::mem::take(&mut self.shelf.lock().leaving);
        for engine in leaving {
            tracing::info!(model = engine.model().id, "model unloaded");
            drop(engine);
        }
        let began = Instant::now();
        let loaded = (self.load)();
        let mut state = self.shelf.lock();
        let place = &mut state.places[self.place];
        let result = match loaded {
            Ok(engine) => {
                place.load_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
                engine.go_on_with(std::mem::take(&mut place.news));
                metrics::counter!("tokengrid_node_model_loads_total", "model" => self.id().to_owned()).increment(1);
                place.content = Content::Here(Arc::new(engine));
                Ok(())
            }
            Err(error) => {
                tracing::error!(model = self.id(), error = %error, "a model could not be loaded");
                place.content = Content::Reserved;
                Err(Refused::NotLoaded { id: self.id().to_owned(), reason: error.to_string() })
            }
        };
        drop(state);
        self.shelf.settled.notify_all();
        result
    }

    /// Does something with its engine, if it is here.
    pub fn with_engine<T>(&self, act: impl FnOnce(&Engine) -> T) -> Option<T> {
        match &self.shelf.lock().places[self.place].content {
            Content::Here(engine) => Some(act(engine)),
            _ => None,
        }
    }

    /// Sequences that run and wait; who waits for the model to be loaded waits.
    pub fn load(&self) -> (usize, usize) {
        let loaded = self.with_engine(|engine| (engine.load().running, engine.load().waiting));
        loaded.unwrap_or_else(|| (0, self.shelf.lock().places[self.place].claims))
    }

    /// Begins to tell of blocks to a listener who knows of none.
    pub fn restart_news(&self) {
        if self.with_engine(Engine::restart_news).is_none() {
            self.shelf.lock().places[self.place].news = Announcements::default();
        }
    }

    /// What the listener does not know yet.
    pub fn news(&self) -> ModelLoad {
        let mut state = self.shelf.lock();
        let place = &mut state.places[self.place];
        match &place.content {
            Content::Here(engine) => engine.news(),
            content => {
                let spent = if let Content::Loading(since) = content { since.elapsed().as_millis() } else { 0 };
                let loading_ms = place.load_ms.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX)).max(1);
                let outlook = Some(Outlook { turn_ms: 0, loading_ms, ..place.outlook });
                let (blocks_added, blocks_removed) = place.news.next(BLOCK_NEWS_MAX);
                ModelLoad { model: self.id().to_owned(), outlook, blocks_added, blocks_removed, slots: None }
            }
        }
    }

    fn id(&self) -> &str {
        &self.card.served.model
    }
}

impl Claim {
    /// The model's engine, loaded where needed, which blocks.
    ///
    /// # Errors
    /// When it could not be loaded.
    pub fn engine(&self) -> Result<Arc<Engine>, Refused> {
        self.0.engine()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.0.shelf.lock();
        state.uses += 1;
        let used_at = state.uses;
        let place = &mut state.places[self.0.place];
        place.claims -= 1;
        place.used_at = used_at;
    }
}

impl fmt::Debug for Shelved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelved").field("card", &self.card).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of these needs, used in this order, each with so many claims on it.
    fn state(left: u64, places: &[(u64, u64, usize)]) -> State {
        let place = |&(need, used_at, claims): &(u64, u64, usize)| Place {
            need,
            content: if used_at > 0 { Content::Reserved } else { Content::Away },
            claims,
            wanted: None,
            used_at,
            load_ms: 1_000,
            outlook: Outlook::default(),
            news: Announcements::default(),
        };
        State { left, places: places.iter().map(place).collect(), uses: 0, leaving: Vec::new() }
    }

    #[test]
    fn as_few_are_unloaded_as_make_room_the_one_used_longest_ago_first() {
        let used = [(4, 0, 0), (2, 9, 0), (2, 3, 0), (2, 5, 0)];
        assert_eq!(state(4, &used).victims(0), Some(vec![]));
        assert_eq!(state(2, &used).victims(0), Some(vec![2]));
        assert_eq!(state(0, &used).victims(0), Some(vec![2, 3]));
    }

    #[test]
    fn what_has_work_keeps_its_memory() {
        assert_eq!(state(0, &[(4, 0, 0), (2, 3, 1), (2, 5, 0)]).victims(0), None);
        assert_eq!(state(2, &[(4, 0, 0), (2, 3, 1), (2, 5, 0)]).victims(0), Some(vec![2]));
    }
    #[test]
    fn a_model_that_has_waited_long_enough_is_made_way_for_while_somebody_wants_it() {
        let mut state = state(0, &[(4, 0, 0), (4, 3, 1)]);
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let ask = |state: &mut State, after: u32| {
            let now = began + second * after;
            let since = state.places[0].wanted_since(now);
            state.places[0].wanted = Some((since, now));
            [state.makes_way(0, now), state.makes_way(1, now)]
        };
        (0..9).for_each(|after| assert_eq!(ask(&mut state, after), [false, false], "after {after} s"));
        assert_eq!(ask(&mut state, 9), [false, true]);
        assert!(!state.makes_way(1, began + second * 12), "nobody asks any more");
        assert_eq!(ask(&mut state, 12), [false, false], "and who asks again begins to wait");
    }
}
