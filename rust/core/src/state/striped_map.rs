//! The lock-striped map (scope, key) -> value. The only file that locks.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::change::Change;
use super::hash::Seed;
use super::name::Name;
use super::stored::Stored;
use super::stripe::{Address, Entry, Stripe};

/// On cache lines of its own (two, because processors prefetch pairs): neighbours must not slow each other down.
#[repr(align(128))]
struct Apart<T>(T);

struct LockedStripe {
    stripe: RwLock<Stripe>,
    /// Whether `changes` of the stripe may hold something. Written under the lock.
    dirty: AtomicBool,
}

/// What a write came to.
#[derive(Debug, Clone)]
pub struct Written<T> {
    /// What the operation returns.
    pub outcome: T,
    /// Whether it left a change for `take_changes`.
    pub noted: bool,
}

/// The map. Every operation on one key takes one stripe's lock once; `list`, `groups` and the watches take all of them in
/// ascending order. Nothing else is locked inside.
pub(super) struct StripedMap {
    stripes: Box<[Apart<LockedStripe>]>,
    seed: Seed,
    seq: Apart<AtomicU64>,
    changes_waiting: Apart<AtomicUsize>,
}

impl StripedMap {
    /// A map of `stripes` stripes, rounded up to a power of two; at least one.
    pub(super) fn new(stripes: usize) -> Self {
        let locked = |_| Apart(LockedStripe { stripe: RwLock::new(Stripe::new()), dirty: AtomicBool::new(false) });
        StripedMap {
            stripes: (0..stripes.max(1).next_power_of_two()).map(locked).collect(),
            seed: Seed::default(),
            seq: Apart(AtomicU64::new(1)),
            changes_waiting: Apart(AtomicUsize::new(0)),
        }
    }

    #[inline]
    fn address<'a>(&self, scope: &'a str, key: &'a str) -> (Address<'a>, &LockedStripe) {
        let hashes = self.seed.entry(scope.as_bytes(), key.as_bytes());
        // The tables use the lowest and the highest bits.
        let stripe = (hashes.entry >> 32) as usize & (self.stripes.len() - 1);
        (Address { scope, key, hashes }, &self.stripes[stripe].0)
    }

    #[inline]
    pub(super) fn get(&self, scope: &str, key: &str) -> Option<Stored> {
        let (at, locked) = self.address(scope, key);
        let stripe = locked.stripe.read();
        stripe.find(at).map(|found| stripe.stored(found).clone())
    }

    pub(super) fn entry(&self, scope: &str, key: &str) -> Option<Entry> {
        let (at, locked) = self.address(scope, key);
        let stripe = locked.stripe.read();
        stripe.find(at).map(|found| stripe.entry(found))
    }

    /// Stores a value; the outcome is the one before, which the caller drops outside the lock.
    pub(super) fn set(&self, scope: &str, key: &str, new: Stored) -> Written<Option<Stored>> {
        let (at, locked) = self.address(scope, key);
        let mut stripe = locked.stripe.write();
        self.put(&mut stripe, locked, at, new)
    }

    /// Removes a key; the outcome is its value.
    pub(super) fn delete(&self, scope: &str, key: &str) -> Written<Option<Stored>> {
        let (at, locked) = self.address(scope, key);
        let mut stripe = locked.stripe.write();
        let old = stripe.find(at).and_then(|found| stripe.remove(&self.seed, at, found));
        let noted = old.is_some() && stripe.wants(at);
        if noted {
            self.note(&mut stripe, locked, at, old.clone(), None);
        }
        Written { outcome: old, noted }
    }

    /// Runs `edit` on the value under the stripe's lock and stores what it returns, if anything; `T` is handed out.
    /// `edit` must not come back to the map.
    pub(super) fn edit<T, E>(
        &self,
        scope: &str,
        key: &str,
        edit: impl FnOnce(Option<&Stored>) -> Result<(Option<Stored>, T), E>,
    ) -> Result<Written<(Option<Stored>, T)>, E> {
        let (at, locked) = self.address(scope, key);
        let mut stripe = locked.stripe.write();
        let old = stripe.find(at).map(|found| stripe.stored(found));
        let (new, handed_out) = edit(old)?;
        let Some(new) = new else {
            let old = old.cloned();
            return Ok(Written { outcome: (old, handed_out), noted: false });
        };
        let Written { outcome: old, noted } = self.put(&mut stripe, locked, at, new);
        Ok(Written { outcome: (old, handed_out), noted })
    }

    #[inline]
    fn put(&self, stripe: &mut Stripe, locked: &LockedStripe, at: Address<'_>, new: Stored) -> Written<Option<Stored>> {
        let watched = stripe.wants(at).then(|| new.clone());
        let old = match stripe.find(at) {
            Some(found) => Some(stripe.replace(found, new)),
            None => {
                // Taken under the lock: within a stripe the chain of a scope is sorted by seq.
                let seq = self.seq.0.fetch_add(1, Ordering::Relaxed);
                stripe.insert(&self.seed, at, new, seq);
                None
            }
        };
        let noted = watched.is_some();
        if noted {
            self.note(stripe, locked, at, old.clone(), watched);
        }
        Written { outcome: old, noted }
    }

    #[cold]
    fn note(
        &self,
        stripe: &mut Stripe,
        locked: &LockedStripe,
        at: Address<'_>,
        old: Option<Stored>,
        new: Option<Stored>,
    ) {
        stripe.note(at, old, new);
        self.changes_waiting.0.fetch_add(1, Ordering::Relaxed);
        locked.dirty.store(true, Ordering::Release);
    }

    /// The values of `scope` at one instant, in insertion order.
    pub(super) fn list(&self, scope: &str) -> Vec<Stored> {
        let hash = self.seed.scope(scope.as_bytes());
        let mut values: Vec<(u64, Stored)> = {
            let guards: Vec<_> = self.stripes.iter().map(|locked| locked.0.stripe.read()).collect();
            let mut values = Vec::with_capacity(guards.iter().map(|stripe| stripe.scope_len(hash, scope)).sum());
            for stripe in &guards {
                values.extend(stripe.scope_values(hash, scope).map(|(seq, stored)| (seq, stored.clone())));
            }
            values
        };
        // One sorted run per stripe: the stable sort finds and merges them.
        values.sort_by_key(|&(seq, _)| seq);
        values.into_iter().map(|(_, stored)| stored).collect()
    }

    /// The scopes that have keys at one instant, sorted by their bytes.
    pub(super) fn groups(&self) -> Vec<Box<str>> {
        let names: Vec<Name> = {
            let guards: Vec<_> = self.stripes.iter().map(|locked| locked.0.stripe.read()).collect();
            guards.iter().flat_map(|stripe| stripe.scope_names()).cloned().collect()
        };
        // A scope can have a part in every stripe: sorting is for what is left of them.
        let mut unique: HashTable<(u64, &Name)> = HashTable::new();
        for name in &names {
            let hash = self.seed.scope(name.bytes());
            if unique.find(hash, |(_, other)| other.bytes() == name.bytes()).is_none() {
                unique.insert_unique(hash, (hash, name), |(hash, _)| *hash);
            }
        }
        let mut groups: Vec<Box<str>> = unique.iter().map(|(_, name)| name.text()).collect();
        groups.sort_unstable();
        groups
    }

    /// Keys in the map, stripe by stripe: not a cut.
    pub(super) fn len(&self) -> usize {
        self.stripes.iter().map(|locked| locked.0.stripe.read().len()).sum()
    }

    pub(super) fn watch(&self, scope: Option<&str>) {
        self.with_watches(scope, |stripe, hash| stripe.watches.add(hash, scope));
    }

    pub(super) fn unwatch(&self, scope: Option<&str>) {
        self.with_watches(scope, |stripe, hash| stripe.watches.remove(hash, scope));
    }

    /// All stripes at once, so that a watch begins at one instant for every key.
    fn with_watches(&self, scope: Option<&str>, apply: impl Fn(&mut Stripe, u64)) {
        let hash = self.seed.scope(scope.unwrap_or_default().as_bytes());
        let mut guards: Vec<_> = self.stripes.iter().map(|locked| locked.0.stripe.write()).collect();
        for stripe in &mut guards {
            apply(stripe, hash);
        }
    }

    /// Moves all waiting changes into `out`; of each key in commit order, of different keys in no order.
    pub(super) fn take_changes(&self, out: &mut Vec<Change>) {
        for locked in &self.stripes {
            if locked.0.dirty.load(Ordering::Acquire) {
                let mut taken = {
                    let mut stripe = locked.0.stripe.write();
                    locked.0.dirty.store(false, Ordering::Relaxed);
                    std::mem::take(&mut stripe.changes)
                };
                self.changes_waiting.0.fetch_sub(taken.len(), Ordering::Relaxed);
                out.append(&mut taken);
            }
        }
    }

    pub(super) fn changes_waiting(&self) -> usize {
        self.changes_waiting.0.load(Ordering::Relaxed)
    }
}
