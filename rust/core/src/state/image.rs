//! The map as it goes to the disk and comes back: portions of a stripe for a snapshot, and loading in any order.

use super::name::Name;
use super::quotas::Charge;
use super::stored::Stored;
use super::stripe::Found;
use super::striped_map::StripedMap;
use crate::log::record::{Op, SnapshotEntry};

/// One entry as a snapshot takes it; shares the value.
pub struct Captured {
    scope: Box<str>,
    key: Box<str>,
    stored: Stored,
    version: u64,
    seq: u64,
    expires_at: Option<u64>,
}

impl Captured {
    /// What is written of it.
    pub fn as_entry(&self) -> SnapshotEntry<'_, &Stored> {
        let Captured { scope, key, stored, version, seq, expires_at } = self;
        SnapshotEntry { scope, key, value: stored, version: *version, seq: *seq, expires_at: *expires_at }
    }
}

impl StripedMap {
    /// Adds up to `count_max` entries of a stripe to `out`, from the end (or the slot `before`) towards the beginning; returns where the
    /// next portion goes on. An entry that moves between two portions moves towards the beginning, so none that stays as it is gets missed.
    pub(super) fn capture(
        &self,
        stripe: usize,
        before: Option<u32>,
        count_max: usize,
        out: &mut Vec<Captured>,
    ) -> Option<u32> {
        let stripe = self.locked(stripe).stripe.read();
        let end = before.unwrap_or(u32::MAX).min(stripe.slots.len());
        let begin = end.saturating_sub(count_max.max(1) as u32);
        for id in (begin..end).rev() {
            let slot = &stripe.slots[id];
            out.push(Captured {
                scope: stripe.parts[slot.part].scope.text(),
                key: slot.key.text(),
                stored: slot.stored.clone(),
                version: slot.version,
                seq: slot.seq,
                expires_at: stripe.expires_at(id),
            });
        }
        (begin > 0).then_some(begin)
    }

    /// Takes an entry of a snapshot in, unless a later version of it is there.
    pub(super) fn load(&self, entry: &SnapshotEntry<'_>) {
        self.restore(entry, true);
    }

    /// Applies one operation of the journal to what is not newer than it; what has its own position is of the same commit. `seq` is the insertion number if it creates an entry.
    pub(super) fn replay(&self, position: u64, seq: u64, op: &Op<'_>) {
        match *op {
            Op::Set { scope, key, value, created, expires_at } => {
                self.restore(&SnapshotEntry { scope, key, value, version: position, seq, expires_at }, created);
            }
            Op::Delete { scope, key } | Op::Expire { scope, key } => {
                let (at, number) = self.address(scope, key);
                let mut stripe = self.locked(number).stripe.write();
                if let Some(found) = stripe.find(at).filter(|found| stripe.slots[found.0].version <= position) {
                    stripe.remove(&self.seed, at, found);
                }
            }
            Op::DeleteScope { scope } => self.remove_older(scope, position),
        }
    }

    /// `renewed`: the entry brings its own insertion number, also if another life of its key is there.
    fn restore(&self, entry: &SnapshotEntry<'_>, renewed: bool) {
        let (at, number) = self.address(entry.scope, entry.key);
        let stored = Stored::restored(entry.value);
        let mut stripe = self.locked(number).stripe.write();
        let found = match stripe.find(at) {
            Some(found) if stripe.slots[found.0].version > entry.version => return,
            Some(found) => {
                stripe.replace(found, stored, entry.version);
                if renewed {
                    stripe.slots[found.0].seq = entry.seq;
                }
                found
            }
            None => stripe.insert(&self.seed, at, stored, entry.version, entry.seq),
        };
        stripe.set_expiry(found, entry.expires_at);
    }

    fn remove_older(&self, scope: &str, position: u64) {
        let hash = self.seed.scope(scope.as_bytes());
        for number in 0..self.stripe_count() {
            let mut stripe = self.locked(number).stripe.write();
            let keys: Vec<Name> = {
                let Some(part) = stripe.part(hash, scope) else { continue };
                let first = stripe.parts[part].first;
                let older = stripe.chain(first).filter(|(_, slot)| slot.version <= position);
                older.map(|(_, slot)| slot.key.clone()).collect()
            };
            for key in keys {
                let key = key.text();
                let (at, _) = self.address(scope, &key);
                if let Some(Found(id)) = stripe.find(at) {
                    stripe.remove(&self.seed, at, Found(id));
                }
            }
        }
    }

    /// Puts everything into its order and counts it.
    pub(super) fn finish_loading(&self) {
        for number in 0..self.stripe_count() {
            let mut stripe = self.locked(number).stripe.write();
            stripe.relink();
            if let Some(timer) = stripe.timers.first() {
                self.note_expiry(timer.at);
            }
            if self.usage.counts() {
                for slot in (0..stripe.slots.len()).map(|id| &stripe.slots[id]) {
                    let scope = stripe.parts[slot.part].scope.text();
                    let scope_delta = (slot.key.bytes().len() + slot.stored.len()) as i64;
                    let total_delta = scope_delta + scope.len() as i64;
                    self.usage.note(Charge { scope: &scope, scope_delta, total_delta });
                }
            }
        }
    }
}
