//! What must be looked at again, and when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

/// One alarm for each key; setting an alarm never delays an earlier one, so whoever wakes looks whether it is time.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_key: BTreeMap<K, DateTime<Utc>>,
    by_time: BTreeSet<(DateTime<Utc>, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Wakes `key` at `at` or earlier.
    pub fn set(&mut self, key: K, at: DateTime<Utc>) {
        match self.by_key.get(&key) {
            Some(set) if *set <= at => return,
            Some(set) => self.by_time.remove(&(*set, key)),
            None => false,
        };
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    /// Forgets `key`.
    pub fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The next alarm.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes every alarm that has come, in order.
    pub fn take_due(&mut self, now: DateTime<Utc>) -> Vec<K> {
        let mut keys = Vec::new();
        while let Some((_, key)) = self.by_time.first().copied().filter(|(at, _)| *at <= now) {
            self.clear(key);
            keys.push(key);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn an_alarm_moves_only_forward() {
        let at = |s| DateTime::UNIX_EPOCH + TimeDelta::seconds(s);
        let mut timers = Timers::default();
        timers.set('a', at(5));
        timers.set('a', at(9));
        timers.set('b', at(7));
        timers.set('b', at(6));
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.take_due(at(6)), ['a', 'b']);
        timers.set('c', at(8));
        timers.clear('c');
        assert_eq!((timers.next(), timers.take_due(at(99)).len()), (None, 0));
    }
}
