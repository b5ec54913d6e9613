//! Names and numbers that somebody works on.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, PoisonError};

/// Keys that one holder has at a time.
#[derive(Debug)]
pub(crate) struct Busy<K> {
    keys: Mutex<HashSet<K>>,
    released: Condvar,
}

/// Holds a key until it is dropped.
pub(crate) struct Held<'a, K: Eq + Hash> {
    busy: &'a Busy<K>,
    pub(crate) key: K,
}

impl<K> Default for Busy<K> {
    fn default() -> Self {
        Self { keys: Mutex::default(), released: Condvar::new() }
    }
}

impl<K: Clone + Eq + Hash> Busy<K> {
    /// Takes a key after whoever has it.
    pub(crate) fn hold(&self, key: K) -> Held<'_, K> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        while !keys.insert(key.clone()) {
            keys = self.released.wait(keys).unwrap_or_else(PoisonError::into_inner);
        }
        Held { busy: self, key }
    }

    /// Takes a key that nobody has.
    pub(crate) fn try_hold(&self, key: K) -> Option<Held<'_, K>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone()).then(|| Held { busy: self, key })
    }
}

impl<K: Eq + Hash> Drop for Held<'_, K> {
    fn drop(&mut self) {
        self.busy.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.busy.released.notify_all();
    }
}
