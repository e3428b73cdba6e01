//! The lock-striped map (scope, key) -> value: operations on one key, and looking at all. The only room that locks is this file and its
//! neighbours `transact.rs`, `paging.rs` and `image.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::change::{Change, ChangeKind};
use super::hash::Seed;
use super::name::Name;
use super::quotas::{Charge, Quotas, Usage, check_commit};
use super::stored::Stored;
use super::stripe::{Address, Entry, Found, Stripe};
use crate::error::WireError;
use crate::log::record::Op;
use crate::log::{Commit, Log};

/// On cache lines of its own (two, because processors prefetch pairs): neighbours must not slow each other down.
#[repr(align(128))]
struct Apart<T>(T);

pub(super) struct LockedStripe {
    pub(super) stripe: RwLock<Stripe>,
    /// Whether `changes` of the stripe may hold something. Written under the lock.
    dirty: AtomicBool,
}

/// What a write came to.
#[derive(Debug, Clone)]
pub struct Written<T> {
    /// What the operation returns.
    pub outcome: T,
    /// Position of the write; none when nothing was written.
    pub position: Option<u64>,
    /// Whether it left something that the control loop has to be woken for.
    pub noted: bool,
}

/// When an entry that is written expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// When it did before.
    Keep,
    /// Never.
    Never,
    /// From this Unix time in ms on.
    At(u64),
}

impl Expiry {
    /// Of a value that replaces all there was.
    pub fn new(expires_at: Option<u64>) -> Self {
        expires_at.map_or(Expiry::Never, Expiry::At)
    }

    /// The time, where `old` was the one before.
    pub(super) fn after(self, old: Option<u64>) -> Option<u64> {
        match self {
            Expiry::Keep => old,
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        }
    }
}

/// What an edit makes of an entry.
pub(super) struct Edit<T> {
    /// The value to write, if any.
    pub(super) new: Option<(Stored, Expiry)>,
    /// Handed out.
    pub(super) out: T,
}

/// The map. Every operation on one key takes one stripe's lock once; what looks at several takes its stripes in
/// ascending order. Inside only the usage and the log are locked.
pub(super) struct StripedMap {
    stripes: Box<[Apart<LockedStripe>]>,
    pub(super) seed: Seed,
    pub(super) log: Arc<Log>,
    pub(super) usage: Usage,
    now_ms: Apart<AtomicU64>,
    /// Nothing expires before.
    next_due_ms: AtomicU64,
    changes_waiting: Apart<AtomicUsize>,
}

impl StripedMap {
    /// A map of `stripes` stripes, rounded up to a power of two; at least one.
    pub(super) fn new(stripes: usize, quotas: &Quotas, log: Arc<Log>) -> Self {
        let locked = |_| Apart(LockedStripe { stripe: RwLock::new(Stripe::new()), dirty: AtomicBool::new(false) });
        StripedMap {
            stripes: (0..stripes.max(1).next_power_of_two()).map(locked).collect(),
            seed: Seed::default(),
            log,
            usage: Usage::new(quotas),
            now_ms: Apart(AtomicU64::new(0)),
            next_due_ms: AtomicU64::new(u64::MAX),
            changes_waiting: Apart(AtomicUsize::new(0)),
        }
    }

    // --- places ----------------------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn address<'a>(&self, scope: &'a str, key: &'a str) -> (Address<'a>, usize) {
        let hashes = self.seed.entry(scope.as_bytes(), key.as_bytes());
        // The tables use the lowest and the highest bits.
        let stripe = (hashes.entry >> 32) as usize & (self.stripes.len() - 1);
        (Address { scope, key, hashes }, stripe)
    }

    #[inline]
    pub(super) fn locked(&self, stripe: usize) -> &LockedStripe {
        &self.stripes[stripe].0
    }

    pub(super) fn stripe_count(&self) -> usize {
        self.stripes.len()
    }

    pub(super) fn read_all(&self) -> Vec<RwLockReadGuard<'_, Stripe>> {
        self.stripes.iter().map(|locked| locked.0.stripe.read()).collect()
    }

    pub(super) fn write_all(&self) -> Vec<RwLockWriteGuard<'_, Stripe>> {
        self.stripes.iter().map(|locked| locked.0.stripe.write()).collect()
    }

    // --- time ------------------------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.0.load(Ordering::Relaxed)
    }

    pub(super) fn advance_clock(&self, now_ms: u64) {
        if now_ms > self.now_ms() {
            self.now_ms.0.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    /// Whether something has expired and is still there.
    #[inline]
    pub(super) fn has_due(&self) -> bool {
        self.next_due_ms.load(Ordering::Relaxed) <= self.now_ms()
    }

    pub(super) fn note_expiry(&self, at: u64) {
        self.next_due_ms.fetch_min(at, Ordering::Relaxed);
    }

    /// Removes about `count_max` entries whose time has come, in the order of their times.
    pub(super) fn expire_due(&self, count_max: usize) -> Written<usize> {
        let mut written = Written { outcome: 0, position: None, noted: false };
        if self.log.check_writable().is_err() {
            return written;
        }
        let now_ms = self.now_ms();
        for (number, scope, key) in self.due(now_ms, count_max) {
            let (at, _) = self.address(&scope, &key);
            let locked = self.locked(number);
            if let Some((position, noted)) = self.expire(&mut locked.stripe.write(), locked, at, now_ms) {
                written.outcome += 1;
                written.position = Some(position);
                written.noted |= noted;
            }
        }
        written.noted |= written.position.is_some() && self.feed_noted();
        // Reset first: whoever adds an expiry from then on lowers it again.
        self.next_due_ms.store(u64::MAX, Ordering::Relaxed);
        for locked in &self.stripes {
            locked.0.stripe.read().timers.first().into_iter().for_each(|timer| self.note_expiry(timer.at));
        }
        written
    }

    /// Up to `count_max` entries whose time has come, in the order of their times: stripe, scope and key.
    fn due(&self, now_ms: u64, count_max: usize) -> Vec<(usize, Box<str>, Box<str>)> {
        let of_stripe_max = (4 * count_max / self.stripes.len()).max(16);
        let mut due = Vec::new();
        // Behind the last of a stripe that has more, the order is not known.
        let mut until = (u64::MAX, u64::MAX);
        for (number, locked) in self.stripes.iter().enumerate() {
            let stripe = locked.0.stripe.read();
            let timers = stripe.timers.due(now_ms, of_stripe_max);
            if timers.len() == of_stripe_max {
                until = timers.last().map_or(until, |timer| until.min((timer.at, timer.seq)));
            }
            let key = |slot: u32| (stripe.parts[stripe.slots[slot].part].scope.text(), stripe.slots[slot].key.text());
            due.extend(timers.into_iter().map(|timer| ((timer.at, timer.seq), number, key(timer.slot))));
        }
        due.sort_unstable_by_key(|&(order, ..)| order);
        due.into_iter()
            .take(count_max)
            .take_while(|&(order, ..)| order <= until)
            .map(|(_, number, (scope, key))| (number, scope, key))
            .collect()
    }

    /// Removes an entry if its time has come; its position, and whether a watch wants to know.
    #[inline]
    pub(super) fn expire(
        &self,
        stripe: &mut Stripe,
        locked: &LockedStripe,
        at: Address<'_>,
        now_ms: u64,
    ) -> Option<(u64, bool)> {
        let found = stripe.find(at).filter(|found| !stripe.is_live(found.0, now_ms))?;
        let commit = self.log.commit(&[Op::Expire { scope: at.scope, key: at.key }]);
        let (old, noted) = self.take_out(stripe, locked, at, found, ChangeKind::Expired, (commit.position, 0));
        self.uncharge(at, old.as_ref());
        Some((commit.position, noted))
    }

    // --- one key ---------------------------------------------------------------------------------------------------

    #[inline]
    pub(super) fn get(&self, scope: &str, key: &str) -> Option<Stored> {
        let (at, stripe) = self.address(scope, key);
        let stripe = self.locked(stripe).stripe.read();
        stripe.find_live(at, self.now_ms()).map(|found| stripe.stored(found).clone())
    }

    pub(super) fn entry(&self, scope: &str, key: &str) -> Option<Entry> {
        let (at, stripe) = self.address(scope, key);
        let stripe = self.locked(stripe).stripe.read();
        stripe.find_live(at, self.now_ms()).map(|found| stripe.entry(found))
    }

    /// Removes a key; the outcome is its value.
    pub(super) fn delete(&self, scope: &str, key: &str) -> Written<Option<Stored>> {
        let (at, number) = self.address(scope, key);
        let locked = self.locked(number);
        let mut stripe = locked.stripe.write();
        let Some(found) = stripe.find_live(at, self.now_ms()) else {
            return Written { outcome: None, position: None, noted: false };
        };
        let commit = self.log.commit(&[Op::Delete { scope, key }]);
        let (outcome, noted) = self.take_out(&mut stripe, locked, at, found, ChangeKind::Deleted, (commit.position, 0));
        drop(stripe);
        self.uncharge(at, outcome.as_ref());
        Written { outcome, position: Some(commit.position), noted: noted | self.feed_noted() }
    }

    /// Runs `edit` on the entry under the stripe's lock and writes what it returns, if anything. The outcome is the value before and what
    /// `edit` hands out. `edit` must not come back to the map.
    #[inline]
    pub(super) fn edit<T>(
        &self,
        scope: &str,
        key: &str,
        edit: impl FnOnce(Option<(&Stored, u64)>) -> Result<Edit<T>, WireError>,
    ) -> Result<Written<(Option<Stored>, T)>, WireError> {
        let (at, number) = self.address(scope, key);
        let locked = self.locked(number);
        let mut stripe = locked.stripe.write();
        // Asked under the lock: what a call before this one has seen expire must not be there again.
        let now_ms = self.now_ms();
        let found = stripe.find_live(at, now_ms);
        let current = found.map(|found| (stripe.stored(found), stripe.slots[found.0].version));
        let Edit { new, out } = edit(current)?;
        let Some((new, expiry)) = new else {
            let old = found.map(|found| stripe.stored(found).clone());
            return Ok(Written { outcome: (old, out), position: None, noted: false });
        };
        check_commit(scope.len() + key.len() + new.len())?;
        if self.usage.counts() {
            self.usage.charge(&[charge(at, found.map(|found| stripe.stored(found).len()), Some(new.len()))])?;
        }
        // What is there and not found has expired: it goes first, with a position of its own.
        let mut noted = false;
        if found.is_none() {
            noted = self.expire(&mut stripe, locked, at, now_ms).is_some_and(|(_, noted)| noted);
        }
        let (commit, old, watched) = self.put(&mut stripe, locked, at, found, new, expiry);
        noted |= watched;
        if let Expiry::At(at_ms) = expiry {
            self.note_expiry(at_ms);
            noted |= self.expire(&mut stripe, locked, at, now_ms).is_some_and(|(_, noted)| noted);
        }
        drop(stripe);
        Ok(Written { outcome: (old, out), position: Some(commit.position), noted: noted | self.feed_noted() })
    }

    #[inline]
    fn put(
        &self,
        stripe: &mut Stripe,
        locked: &LockedStripe,
        at: Address<'_>,
        found: Option<Found>,
        new: Stored,
        expiry: Expiry,
    ) -> (Commit, Option<Stored>, bool) {
        let expires_at = expiry.after(found.and_then(|found| stripe.expires_at(found.0)));
        let Address { scope, key, .. } = at;
        let op = Op::Set { scope, key, value: &new, created: found.is_none(), expires_at };
        let commit = self.log.commit(&[op]);
        let (old, noted) = self.place(stripe, locked, at, found, new, expires_at, (commit.position, commit.first, 0));
        (commit, old, noted)
    }

    /// Writes a value that is committed already: `commit` is its position, the insertion number it has if it is new, and its place
    /// in the commit. Returns the value before, and whether a watch wants to know.
    #[inline]
    #[allow(clippy::too_many_arguments)] // all of one write
    pub(super) fn place(
        &self,
        stripe: &mut Stripe,
        locked: &LockedStripe,
        at: Address<'_>,
        found: Option<Found>,
        new: Stored,
        expires_at: Option<u64>,
        (position, seq, index): (u64, u64, u64),
    ) -> (Option<Stored>, bool) {
        let watched = stripe.wants(at).then(|| new.clone());
        let (found, old) = match found {
            Some(found) => (found, Some(stripe.replace(found, new, position))),
            None => (stripe.insert(&self.seed, at, new, position, seq), None),
        };
        stripe.set_expiry(found, expires_at);
        let noted = watched.is_some();
        if noted {
            let kind = if old.is_none() { ChangeKind::Created } else { ChangeKind::Updated };
            let (scope, key, order, old) = (at.scope.into(), at.key.into(), (position, index), old.clone());
            self.note(stripe, locked, Change { scope, key, kind, order, old, new: watched });
        }
        (old, noted)
    }

    /// Removes an entry whose removal is committed already.
    pub(super) fn take_out(
        &self,
        stripe: &mut Stripe,
        locked: &LockedStripe,
        at: Address<'_>,
        found: Found,
        kind: ChangeKind,
        order: (u64, u64),
    ) -> (Option<Stored>, bool) {
        let old = stripe.remove(&self.seed, at, found);
        let noted = stripe.wants(at);
        if noted {
            let (scope, key, old) = (at.scope.into(), at.key.into(), old.clone());
            self.note(stripe, locked, Change { scope, key, kind, order, old, new: None });
        }
        (old, noted)
    }

    /// Counts an entry that is gone.
    pub(super) fn uncharge(&self, at: Address<'_>, old: Option<&Stored>) {
        if self.usage.counts() {
            self.usage.note(charge(at, old.map(Stored::len), None));
        }
    }

    #[cold]
    pub(super) fn note(&self, stripe: &mut Stripe, locked: &LockedStripe, change: Change) {
        stripe.changes.push(change);
        self.changes_waiting.0.fetch_add(1, Ordering::Relaxed);
        locked.dirty.store(true, Ordering::Release);
    }

    /// Whether the control loop has to hear that the feed has more, now that a write is over. With a journal it hears later.
    #[inline]
    pub(super) fn feed_noted(&self) -> bool {
        self.log.feeds_from_memory() && self.log.note_advance()
    }

    // --- all keys --------------------------------------------------------------------------------------------------

    /// The values of `scope` at one instant, in insertion order.
    pub(super) fn list(&self, scope: &str) -> Vec<Stored> {
        let hash = self.seed.scope(scope.as_bytes());
        let now_ms = self.now_ms();
        let mut values: Vec<(u64, Stored)> = {
            let guards = self.read_all();
            let mut values = Vec::with_capacity(guards.iter().map(|stripe| stripe.scope_len(hash, scope)).sum());
            for stripe in &guards {
                let slots = stripe.scope_slots(hash, scope, now_ms);
                values.extend(slots.map(|(_, slot)| (slot.seq, slot.stored.clone())));
            }
            values
        };
        // One sorted run per stripe: the stable sort finds and merges them.
        values.sort_by_key(|&(seq, _)| seq);
        values.into_iter().map(|(_, stored)| stored).collect()
    }

    /// The scopes that have keys at one instant, sorted by their bytes.
    pub(super) fn groups(&self) -> Vec<Box<str>> {
        let now_ms = self.now_ms();
        let names: Vec<Name> = {
            let guards = self.read_all();
            guards.iter().flat_map(|stripe| stripe.scope_names(now_ms)).cloned().collect()
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

    /// Scope names, keys and values in the map, stripe by stripe: not a cut.
    pub(super) fn bytes(&self) -> u64 {
        self.stripes.iter().map(|locked| locked.0.stripe.read().bytes).sum()
    }

    // --- changes ---------------------------------------------------------------------------------------------------

    pub(super) fn watch(&self, scope: Option<&str>) {
        self.with_watches(scope, |stripe, hash| stripe.watches.add(hash, scope));
    }

    pub(super) fn unwatch(&self, scope: Option<&str>) {
        self.with_watches(scope, |stripe, hash| stripe.watches.remove(hash, scope));
    }

    /// All stripes at once, so that a watch begins at one instant for every key.
    fn with_watches(&self, scope: Option<&str>, apply: impl Fn(&mut Stripe, u64)) {
        let hash = self.seed.scope(scope.unwrap_or_default().as_bytes());
        for stripe in &mut self.write_all() {
            apply(stripe, hash);
        }
    }

    /// Begins to remember changes for the feed, at one instant for every key.
    pub(super) fn begin_feed(&self) -> u64 {
        let _guards = self.write_all();
        self.log.begin_feed()
    }

    /// Moves the waiting changes that are acknowledged into `out`, in the order of their commits. Those that never will be are dropped.
    pub(super) fn take_changes(&self, out: &mut Vec<Change>) {
        let from = out.len();
        for locked in &self.stripes {
            if locked.0.dirty.load(Ordering::Acquire) {
                let mut stripe = locked.0.stripe.write();
                // Asked under the lock: what is acknowledged then is in here. After a failure there comes no more.
                let has_failed = self.log.failure().is_some();
                let acknowledged = self.log.acknowledged();
                let count = stripe.changes.partition_point(|change| change.order.0 <= acknowledged);
                let mut rest = stripe.changes.split_off(count);
                if has_failed {
                    self.changes_waiting.0.fetch_sub(rest.len(), Ordering::Relaxed);
                    rest.clear();
                }
                let mut taken = std::mem::replace(&mut stripe.changes, rest);
                locked.0.dirty.store(!stripe.changes.is_empty(), Ordering::Relaxed);
                drop(stripe);
                self.changes_waiting.0.fetch_sub(taken.len(), Ordering::Relaxed);
                out.append(&mut taken);
            }
        }
        out[from..].sort_by_key(|change| change.order);
    }

    pub(super) fn changes_waiting(&self) -> usize {
        self.changes_waiting.0.load(Ordering::Relaxed)
    }
}

/// How bytes change when a value of `old` bytes is replaced by one of `new`.
pub(super) fn charge(at: Address<'_>, old: Option<usize>, new: Option<usize>) -> Charge<'_> {
    let in_scope = |value: Option<usize>| value.map_or(0, |value| (at.key.len() + value) as i64);
    let in_all = |value: Option<usize>| value.map_or(0, |value| (at.scope.len() + at.key.len() + value) as i64);
    Charge { scope: at.scope, scope_delta: in_scope(new) - in_scope(old), total_delta: in_all(new) - in_all(old) }
}
