//! Keys that somebody holds while a store and the records are brought to say the same.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::database::held;

/// A set of keys that one holder has at a time.
#[derive(Debug)]
pub(crate) struct Locks<K> {
    keys: Mutex<HashSet<K>>,
    released: Condvar,
}

/// Holds keys until it is dropped.
pub(crate) struct Held<'a, K: Eq + Hash> {
    locks: &'a Locks<K>,
    keys: BTreeSet<K>,
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self { keys: Mutex::default(), released: Condvar::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Locks<K> {
    /// Takes all keys at once, after waiting for whoever holds one.
    pub(crate) fn hold(&self, keys: impl IntoIterator<Item = K>) -> Held<'_, K> {
        let keys: BTreeSet<K> = keys.into_iter().collect();
        let mut taken = held(&self.keys);
        while keys.iter().any(|key| taken.contains(key)) {
            taken = self.released.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.extend(keys.iter().cloned());
        Held { locks: self, keys }
    }

    /// Takes a key, or nothing while somebody holds it.
    pub(crate) fn try_hold(&self, key: K) -> Option<Held<'_, K>> {
        held(&self.keys).insert(key.clone()).then(|| Held { locks: self, keys: [key].into() })
    }
}

impl<K: Eq + Hash> Drop for Held<'_, K> {
    fn drop(&mut self) {
        let mut taken = held(&self.locks.keys);
        for key in &self.keys {
            taken.remove(key);
        }
        drop(taken);
        self.locks.released.notify_all();
    }
}

/// Keys that many may rely upon, or one may remove.
#[derive(Debug)]
pub(crate) struct Pins<K> {
    /// How many rely on a key; 0 while somebody removes it.
    keys: Mutex<HashMap<K, usize>>,
    released: Condvar,
}

/// Relies on a key, or may remove it, until it is dropped.
pub(crate) struct Pin<'a, K: Eq + Hash> {
    pins: &'a Pins<K>,
    key: K,
}

impl<K> Default for Pins<K> {
    fn default() -> Self {
        Self { keys: Mutex::default(), released: Condvar::new() }
    }
}

impl<K: Clone + Eq + Hash> Pins<K> {
    /// Relies on a key, after waiting for whoever removes it.
    pub(crate) fn pin(&self, key: &K) -> Pin<'_, K> {
        let mut keys = held(&self.keys);
        while keys.get(key) == Some(&0) {
            keys = self.released.wait(keys).unwrap_or_else(PoisonError::into_inner);
        }
        *keys.entry(key.clone()).or_insert(0) += 1;
        Pin { pins: self, key: key.clone() }
    }

    /// Takes a key that nobody relies upon, to remove what it names.
    pub(crate) fn try_remove(&self, key: &K) -> Option<Pin<'_, K>> {
        let mut keys = held(&self.keys);
        if keys.contains_key(key) {
            return None;
        }
        keys.insert(key.clone(), 0);
        Some(Pin { pins: self, key: key.clone() })
    }
}

impl<K: Eq + Hash> Drop for Pin<'_, K> {
    fn drop(&mut self) {
        let mut keys = held(&self.pins.keys);
        match keys.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(keys.remove(&self.key)),
        }
        drop(keys);
        self.pins.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_relied_upon_is_not_removed() {
        let pins = Pins::default();
        let (one, two) = (pins.pin(&1), pins.pin(&1));
        assert!(pins.try_remove(&1).is_none());
        drop(one);
        assert!(pins.try_remove(&1).is_none());
        drop(two);
        let removing = pins.try_remove(&1).expect("nobody relies upon it");
        assert!(pins.try_remove(&1).is_none());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| drop(pins.pin(&1)));
            drop(removing);
            waits.join().expect("it gets the key");
        });
        assert!(held(&pins.keys).is_empty());
    }

    #[test]
    fn many_keys_are_taken_at_once() {
        let locks = Locks::default();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let locks = &locks;
                scope.spawn(move || {
                    for round in 0..200 {
                        drop(locks.hold([(thread + round) % 5, (thread * round) % 5, 3]));
                    }
                });
            }
        });
        assert!(held(&locks.keys).is_empty());
    }
}
