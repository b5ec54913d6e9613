//! Keys that one holder has at a time.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A set of held keys. Clones share the set.
#[derive(Debug)]
pub(super) struct Locks<K>(Arc<State<K>>);

#[derive(Debug)]
struct State<K> {
    held: Mutex<HashSet<K>>,
    released: Condvar,
}

/// Holds one key until it is dropped.
#[derive(Debug)]
pub(super) struct Held<K: Eq + Hash> {
    state: Arc<State<K>>,
    key: K,
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        let state = State { held: Mutex::new(HashSet::new()), released: Condvar::new() };
        Self(Arc::new(state))
    }
}

impl<K> State<K> {
    /// The set is whole whatever a thread that panicked was doing: each change to it is one call.
    fn held(&self) -> MutexGuard<'_, HashSet<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Locks<K> {
    /// Takes the key, or nothing while somebody holds it.
    pub(super) fn try_hold(&self, key: &K) -> Option<Held<K>> {
        let free = self.0.held().insert(key.clone());
        free.then(|| Held { state: self.0.clone(), key: key.clone() })
    }

    /// Takes the key, after waiting for whoever holds it.
    pub(super) fn hold(&self, key: &K) -> Held<K> {
        let mut held = self.0.held();
        while !held.insert(key.clone()) {
            held = self.0.released.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        Held { state: self.0.clone(), key: key.clone() }
    }
}

impl<K: Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        self.state.held().remove(&self.key);
        self.state.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_free_again_once_its_holder_is_gone() {
        let locks = Locks::default();
        let first = locks.try_hold(&1).unwrap();
        assert!(locks.try_hold(&1).is_none());
        assert!(locks.try_hold(&2).is_some());
        drop(first);
        assert!(locks.try_hold(&1).is_some());
    }

    #[test]
    fn whoever_waits_gets_the_key() {
        let locks = Locks::default();
        let counter = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _held = locks.hold(&"key");
                        let seen = counter.lock().unwrap().0;
                        std::thread::yield_now();
                        let mut now = counter.lock().unwrap();
                        now.1 += usize::from(now.0 != seen);
                        now.0 += 1;
                    }
                });
            }
        });
        assert_eq!(*counter.lock().unwrap(), (800, 0));
    }
}
