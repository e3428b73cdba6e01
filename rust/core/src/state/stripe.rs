//! What lies behind one lock of the map. Nothing in here locks, blocks or calls out.

use hashbrown::HashTable;

use super::change::Change;
use super::hash::{Hashes, Seed};
use super::marks::Marks;
use super::name::Name;
use super::pages::Pages;
use super::scope_part::{NONE, ScopePart, ScopeParts};
use super::stored::Stored;
use super::timers::Timers;
use super::watch::Watches;

/// Tables this small are not worth shrinking.
const SHRINK_FROM: usize = 64;

/// One key at rest. `part` is its scope; `before` and `after` link the scope's entries of this stripe in insertion order.
pub(super) struct Slot {
    pub(super) key: Name,
    pub(super) stored: Stored,
    pub(super) version: u64,
    pub(super) seq: u64,
    pub(super) part: u32,
    pub(super) before: u32,
    pub(super) after: u32,
    /// Index of its expiry in the stripe's timers; `NONE` without one.
    pub(super) timer: u32,
}

/// A value with its place in time.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value.
    pub stored: Stored,
    /// Position of the write that it is from.
    pub version: u64,
    /// Insertion number: position in the order of insertions, unique within the map.
    pub seq: u64,
    /// Unix ms from which the entry is gone.
    pub expires_at: Option<u64>,
}

/// Entries lie densely in pages; two tables find them by (scope, key) and their scopes by name.
pub(super) struct Stripe {
    pub(super) slots: Pages<Slot>,
    index: HashTable<u32>,
    pub(super) parts: ScopeParts,
    scopes: HashTable<u32>,
    pub(super) timers: Timers,
    pub(super) marks: Marks,
    pub(super) watches: Watches,
    pub(super) changes: Vec<Change>,
    /// Scope names, keys and values of all entries here.
    pub(super) bytes: u64,
}

/// Names one key in one operation, hashed once.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) scope: &'a str,
    pub(super) key: &'a str,
    pub(super) hashes: Hashes,
}

/// Where a key is.
#[derive(Clone, Copy)]
pub(super) struct Found(pub(super) u32);

impl Stripe {
    pub(super) fn new() -> Self {
        Stripe {
            slots: Pages::new(),
            index: HashTable::new(),
            parts: ScopeParts::new(),
            scopes: HashTable::new(),
            timers: Timers::default(),
            marks: Marks::default(),
            watches: Watches::default(),
            changes: Vec::new(),
            bytes: 0,
        }
    }

    #[inline]
    pub(super) fn find(&self, at: Address<'_>) -> Option<Found> {
        let found = self.index.find(at.hashes.entry, |&id| {
            let slot = &self.slots[id];
            slot.key.is(at.key) && self.parts[slot.part].scope.is(at.scope)
        });
        found.copied().map(Found)
    }

    /// As [`Self::find`], but blind to what has expired.
    #[inline]
    pub(super) fn find_live(&self, at: Address<'_>, now_ms: u64) -> Option<Found> {
        self.find(at).filter(|found| self.is_live(found.0, now_ms))
    }

    /// Whether the entry's time has not come.
    #[inline]
    pub(super) fn is_live(&self, slot: u32, now_ms: u64) -> bool {
        let timer = self.slots[slot].timer;
        timer == NONE || self.timers.at(timer).is_none_or(|at| at > now_ms)
    }

    #[inline]
    pub(super) fn stored(&self, found: Found) -> &Stored {
        &self.slots[found.0].stored
    }

    pub(super) fn expires_at(&self, slot: u32) -> Option<u64> {
        self.timers.at(self.slots[slot].timer)
    }

    pub(super) fn entry(&self, found: Found) -> Entry {
        let slot = &self.slots[found.0];
        Entry {
            stored: slot.stored.clone(),
            version: slot.version,
            seq: slot.seq,
            expires_at: self.expires_at(found.0),
        }
    }

    /// Entries in this stripe.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Overwrites the value in its place and returns the old one.
    #[inline]
    pub(super) fn replace(&mut self, found: Found, new: Stored, version: u64) -> Stored {
        let slot = &mut self.slots[found.0];
        slot.version = version;
        self.bytes = self.bytes + new.len() as u64 - slot.stored.len() as u64;
        std::mem::replace(&mut slot.stored, new)
    }

    /// Sets, moves or takes back the time at which an entry expires.
    #[inline]
    pub(super) fn set_expiry(&mut self, found: Found, at: Option<u64>) {
        if at.is_some() || self.slots[found.0].timer != NONE {
            self.timers.set(&mut self.slots, found.0, at);
        }
    }

    /// Inserts a key that is not there at the end of its scope.
    pub(super) fn insert(&mut self, seed: &Seed, at: Address<'_>, new: Stored, version: u64, seq: u64) -> Found {
        let id = self.slots.len();
        let part = self.scopes.find(at.hashes.scope, |&part| self.parts[part].scope.is(at.scope)).copied();
        let (part, before) = match part {
            Some(part) => {
                let ScopePart { last, len, .. } = &mut self.parts[part];
                *len += 1;
                self.marks.appended(part, *len, seq, id);
                (part, std::mem::replace(last, id))
            }
            None => {
                let part = self.parts.add(at.scope, id);
                let rehash = |&part: &u32| seed.scope(self.parts[part].scope.bytes());
                self.scopes.insert_unique(at.hashes.scope, part, rehash);
                (part, NONE)
            }
        };
        if before != NONE {
            self.slots[before].after = id;
        }
        self.bytes += (at.scope.len() + at.key.len() + new.len()) as u64;
        let key = Name::new(at.key);
        self.slots.push(Slot { key, stored: new, version, seq, part, before, after: NONE, timer: NONE });
        let rehash = |&id: &u32| hash_of(seed, &self.slots, &self.parts, id);
        self.index.insert_unique(at.hashes.entry, id, rehash);
        Found(id)
    }

    /// Removes a key and returns its value. The last slot moves into the gap, so that slots stay dense.
    pub(super) fn remove(&mut self, seed: &Seed, at: Address<'_>, found: Found) -> Option<Stored> {
        let id = found.0;
        self.set_expiry(found, None);
        self.unchain(seed, at.hashes.scope, id);
        if let Ok(entry) = self.index.find_entry(at.hashes.entry, |&other| other == id) {
            entry.remove();
        }
        let last = self.slots.len() - 1;
        if last != id {
            self.repoint(seed, last, id);
        }
        let slot = self.slots.swap_remove(id);
        if is_sparse(&self.index) {
            let rehash = |&id: &u32| hash_of(seed, &self.slots, &self.parts, id);
            self.index.shrink_to(self.index.len() * 2, rehash);
        }
        let stored = slot.map(|slot| slot.stored)?;
        self.bytes -= (at.scope.len() + at.key.len() + stored.len()) as u64;
        Some(stored)
    }

    /// Takes a slot out of its scope's chain; a scope without entries is gone.
    fn unchain(&mut self, seed: &Seed, scope_hash: u64, id: u32) {
        let Slot { part, before, after, seq, .. } = self.slots[id];
        self.parts[part].len -= 1;
        if self.parts[part].len == 0 {
            if let Ok(entry) = self.scopes.find_entry(scope_hash, |&other| other == part) {
                entry.remove();
            }
            self.parts.remove(part);
            self.marks.forget(part);
            if is_sparse(&self.scopes) {
                let rehash = |&part: &u32| seed.scope(self.parts[part].scope.bytes());
                self.scopes.shrink_to(self.scopes.len() * 2, rehash);
            }
            return;
        }
        self.marks.removed(part, seq, (after != NONE).then(|| (self.slots[after].seq, after)));
        if before == NONE {
            self.parts[part].first = after
        } else {
            self.slots[before].after = after
        }
        if after == NONE { self.parts[part].last = before } else { self.slots[after].before = before }
    }

    /// Makes everything that refers to slot `from` refer to `to`.
    fn repoint(&mut self, seed: &Seed, from: u32, to: u32) {
        let hash = hash_of(seed, &self.slots, &self.parts, from);
        if let Some(id) = self.index.find_mut(hash, |&id| id == from) {
            *id = to;
        }
        let Slot { part, before, after, seq, timer, .. } = self.slots[from];
        if before == NONE {
            self.parts[part].first = to
        } else {
            self.slots[before].after = to
        }
        if after == NONE {
            self.parts[part].last = to
        } else {
            self.slots[after].before = to
        }
        self.marks.moved(part, seq, to);
        if timer != NONE {
            self.timers.moved(timer, to);
        }
    }

    /// Brings every chain into the order of insertion: after loading in any order.
    pub(super) fn relink(&mut self) {
        let mut order: Vec<(u32, u64, u32)> =
            (0..self.slots.len()).map(|id| (self.slots[id].part, self.slots[id].seq, id)).collect();
        order.sort_unstable();
        self.marks = Marks::default();
        let mut before = NONE;
        let mut len = 0;
        for (i, &(part, seq, id)) in order.iter().enumerate() {
            let is_first = i == 0 || order[i - 1].0 != part;
            let after = order.get(i + 1).filter(|next| next.0 == part).map_or(NONE, |next| next.2);
            if is_first {
                (before, len) = (NONE, 0);
                self.parts[part].first = id;
            }
            len += 1;
            self.marks.appended(part, len, seq, id);
            self.slots[id].before = before;
            self.slots[id].after = after;
            self.parts[part].last = id;
            before = id;
        }
    }

    pub(super) fn part(&self, scope_hash: u64, scope: &str) -> Option<u32> {
        self.scopes.find(scope_hash, |&part| self.parts[part].scope.is(scope)).copied()
    }

    /// How many entries of `scope` are here, those that have expired included.
    pub(super) fn scope_len(&self, scope_hash: u64, scope: &str) -> usize {
        self.part(scope_hash, scope).map_or(0, |part| self.parts[part].len as usize)
    }

    /// The slots of `scope` that are here, in insertion order, without what has expired.
    pub(super) fn scope_slots(&self, scope_hash: u64, scope: &str, now_ms: u64) -> impl Iterator<Item = (u32, &Slot)> {
        let first = self.part(scope_hash, scope).map_or(NONE, |part| self.parts[part].first);
        self.chain(first).filter(move |&(id, _)| self.is_live(id, now_ms))
    }

    /// The chain from slot `first` on.
    pub(super) fn chain(&self, first: u32) -> impl Iterator<Item = (u32, &Slot)> {
        let mut next = first;
        std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            let (id, slot) = (next, &self.slots[next]);
            next = slot.after;
            Some((id, slot))
        })
    }

    /// Whether some entry here has expired and is still there.
    pub(super) fn has_due(&self, now_ms: u64) -> bool {
        self.timers.first().is_some_and(|timer| timer.at <= now_ms)
    }

    /// The scopes that have entries here, in no order.
    pub(super) fn scope_names(&self, now_ms: u64) -> impl Iterator<Item = &Name> {
        let look = self.has_due(now_ms);
        let lives = move |part: &&ScopePart| !look || self.chain(part.first).any(|(id, _)| self.is_live(id, now_ms));
        self.parts.iter().filter(lives).map(|part| &part.scope)
    }

    /// Whether changes of this scope are watched.
    #[inline]
    pub(super) fn wants(&self, at: Address<'_>) -> bool {
        self.watches.want(at.hashes.scope, at.scope)
    }
}

fn hash_of(seed: &Seed, slots: &Pages<Slot>, parts: &ScopeParts, id: u32) -> u64 {
    let slot = &slots[id];
    seed.entry(parts[slot.part].scope.bytes(), slot.key.bytes()).entry
}

fn is_sparse(table: &HashTable<u32>) -> bool {
    table.capacity() > SHRINK_FROM && table.len() < table.capacity() / 8
}
