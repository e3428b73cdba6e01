//! What lies behind one lock of the map. Nothing in here locks, blocks or calls out.

use hashbrown::HashTable;

use super::change::{Change, ChangeKind};
use super::hash::{Hashes, Seed};
use super::name::Name;
use super::pages::Pages;
use super::scope_part::{NONE, ScopePart, ScopeParts};
use super::stored::Stored;
use super::watch::Watches;

/// Tables this small are not worth shrinking.
const SHRINK_FROM: usize = 64;

/// One key at rest. `part` is its scope; `before` and `after` link the scope's entries of this stripe in insertion order.
struct Slot {
    key: Name,
    stored: Stored,
    version: u64,
    seq: u64,
    part: u32,
    before: u32,
    after: u32,
}

/// A value with its place in time: `version` counts its writes from 1, `seq` is the insertion order within state.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value.
    pub stored: Stored,
    /// Writes to this key since it was inserted, that one included.
    pub version: u64,
    /// Position in the order of insertions; unique within the map.
    pub seq: u64,
}

/// Entries lie densely in pages; two tables find them by (scope, key) and their scopes by name.
pub(super) struct Stripe {
    slots: Pages<Slot>,
    index: HashTable<u32>,
    parts: ScopeParts,
    scopes: HashTable<u32>,
    pub(super) watches: Watches,
    pub(super) changes: Vec<Change>,
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
pub(super) struct Found(u32);

impl Stripe {
    pub(super) fn new() -> Self {
        Stripe {
            slots: Pages::new(),
            index: HashTable::new(),
            parts: ScopeParts::new(),
            scopes: HashTable::new(),
            watches: Watches::default(),
            changes: Vec::new(),
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

    #[inline]
    pub(super) fn stored(&self, found: Found) -> &Stored {
        &self.slots[found.0].stored
    }

    pub(super) fn entry(&self, found: Found) -> Entry {
        let slot = &self.slots[found.0];
        Entry { stored: slot.stored.clone(), version: slot.version, seq: slot.seq }
    }

    /// Entries in this stripe.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Overwrites the value in its place and returns the old one.
    #[inline]
    pub(super) fn replace(&mut self, found: Found, new: Stored) -> Stored {
        let slot = &mut self.slots[found.0];
        slot.version += 1;
        std::mem::replace(&mut slot.stored, new)
    }

    /// Inserts a key that is not there at the end of its scope.
    pub(super) fn insert(&mut self, seed: &Seed, at: Address<'_>, new: Stored, seq: u64) {
        let id = self.slots.len();
        let part = self.scopes.find(at.hashes.scope, |&part| self.parts[part].scope.is(at.scope)).copied();
        let (part, before) = match part {
            Some(part) => {
                let ScopePart { last, len, .. } = &mut self.parts[part];
                *len += 1;
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
        self.slots.push(Slot { key: Name::new(at.key), stored: new, version: 1, seq, part, before, after: NONE });
        let rehash = |&id: &u32| hash_of(seed, &self.slots, &self.parts, id);
        self.index.insert_unique(at.hashes.entry, id, rehash);
    }

    /// Removes a key and returns its value. The last slot moves into the gap, so that slots stay dense.
    pub(super) fn remove(&mut self, seed: &Seed, at: Address<'_>, found: Found) -> Option<Stored> {
        let id = found.0;
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
        slot.map(|slot| slot.stored)
    }

    /// Takes a slot out of its scope's chain; a scope without entries is gone.
    fn unchain(&mut self, seed: &Seed, scope_hash: u64, id: u32) {
        let Slot { part, before, after, .. } = self.slots[id];
        self.parts[part].len -= 1;
        if self.parts[part].len == 0 {
            if let Ok(entry) = self.scopes.find_entry(scope_hash, |&other| other == part) {
                entry.remove();
            }
            self.parts.remove(part);
            if is_sparse(&self.scopes) {
                let rehash = |&part: &u32| seed.scope(self.parts[part].scope.bytes());
                self.scopes.shrink_to(self.scopes.len() * 2, rehash);
            }
            return;
        }
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
        let Slot { part, before, after, .. } = self.slots[from];
        if before == NONE {
            self.parts[part].first = to
        } else {
            self.slots[before].after = to
        }
        if after == NONE { self.parts[part].last = to } else { self.slots[after].before = to }
    }

    fn part(&self, scope_hash: u64, scope: &str) -> Option<&ScopePart> {
        let part = self.scopes.find(scope_hash, |&part| self.parts[part].scope.is(scope))?;
        Some(&self.parts[*part])
    }

    /// How many entries of `scope` are here.
    pub(super) fn scope_len(&self, scope_hash: u64, scope: &str) -> usize {
        self.part(scope_hash, scope).map_or(0, |part| part.len as usize)
    }

    /// The entries of `scope` that are here, in insertion order, with their `seq`.
    pub(super) fn scope_values(&self, scope_hash: u64, scope: &str) -> impl Iterator<Item = (u64, &Stored)> {
        let mut next = self.part(scope_hash, scope).map_or(NONE, |part| part.first);
        std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            let slot = &self.slots[next];
            next = slot.after;
            Some((slot.seq, &slot.stored))
        })
    }

    /// The scopes that have entries here, in no order.
    pub(super) fn scope_names(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().map(|part| &part.scope)
    }

    /// Whether changes of this scope are watched.
    #[inline]
    pub(super) fn wants(&self, at: Address<'_>) -> bool {
        self.watches.want(at.hashes.scope, at.scope)
    }

    /// Notes a change; at least one of `old` and `new` is there.
    pub(super) fn note(&mut self, at: Address<'_>, old: Option<Stored>, new: Option<Stored>) {
        let kind = match (&old, &new) {
            (_, None) => ChangeKind::Deleted,
            (None, Some(_)) => ChangeKind::Created,
            (Some(_), Some(_)) => ChangeKind::Updated,
        };
        self.changes.push(Change { scope: at.scope.into(), key: at.key.into(), kind, old, new });
    }
}

fn hash_of(seed: &Seed, slots: &Pages<Slot>, parts: &ScopeParts, id: u32) -> u64 {
    let slot = &slots[id];
    seed.entry(parts[slot.part].scope.bytes(), slot.key.bytes()).entry
}

fn is_sparse(table: &HashTable<u32>) -> bool {
    table.capacity() > SHRINK_FROM && table.len() < table.capacity() / 8
}
