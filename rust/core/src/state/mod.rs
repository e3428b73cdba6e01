//! State: the lock-striped map (scope, key) -> value, `state::*` on it, and the changes it tells of. No I/O, no clock.
//!
//! # What holds when many threads use one [`State`]
//!
//! * Operations on one key are linearizable: each takes effect at one instant between its call and its return, and
//!   `update` and `delete` see no other write between reading and writing (`state_stress.rs`: `updates_lose_nothing`,
//!   `a_deleted_value_goes_to_one_deleter`).
//! * [`State::list`] and [`State::list_groups`] are cuts: one instant for all keys (`state_stress.rs`:
//!   `a_list_is_a_cut_in_insertion_order`). An overwrite keeps its place, a key that was deleted and set again is last; an
//!   insertion that returned before another one began comes first (`state_model.rs`).
//! * Changes of one key come out of [`State::take_changes`] in the order of its writes, with no gap from the instant its
//!   scope is watched (`state_stress.rs`: `changes_of_a_key_chain`). Between keys there is no order.
//! * Operations on different keys have no order except that of the calls themselves: there are no transactions.
//!
//! Lock order: stripes by ascending index; one-key operations hold one stripe only, and nothing else is locked, called or
//! waited for while a stripe is. No guard leaves `striped_map.rs`, and a replaced value is dropped after its lock is released.

mod answer;
mod calls;
mod change;
mod equality;
mod hash;
mod name;
mod pages;
mod payload;
mod scope_part;
mod stored;
mod stripe;
mod striped_map;
mod update;
mod watch;

use std::sync::atomic::{AtomicUsize, Ordering};

pub use answer::{Answer, Served};
pub use calls::{StateCall, serve};
pub use change::{Change, ChangeKind};
pub use equality::json_equal;
pub use stored::Stored;
pub use stripe::Entry;
pub use striped_map::Written;
pub use update::{OpError, Update, Updated};

use crate::error::{WireError, code};
use striped_map::StripedMap;

/// All state of one engine; shared by reference between threads.
pub struct State {
    map: StripedMap,
    /// `usize::MAX` is no limit.
    value_bytes_max: AtomicUsize,
}

impl State {
    /// Empty state on `stripes` locks (rounded up to a power of two, at least 1) that takes values of at most
    /// `value_bytes_max` bytes of JSON text.
    pub fn new(stripes: usize, value_bytes_max: Option<usize>) -> Self {
        let value_bytes_max = AtomicUsize::new(value_bytes_max.unwrap_or(usize::MAX));
        State { map: StripedMap::new(stripes), value_bytes_max }
    }

    /// Changes the limit for writes from now on; what is stored stays.
    pub fn set_value_bytes_max(&self, value_bytes_max: Option<usize>) {
        self.value_bytes_max.store(value_bytes_max.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, scope: &str, key: &str) -> Option<Stored> {
        self.map.get(scope, key)
    }

    /// The value of a key with its version and its place in the insertion order.
    pub fn entry(&self, scope: &str, key: &str) -> Option<Entry> {
        self.map.entry(scope, key)
    }

    /// Stores a value; returns the one before.
    ///
    /// # Errors
    /// `VALUE_TOO_LARGE`; then nothing is written.
    pub fn set(&self, scope: &str, key: &str, new: Stored) -> Result<Written<Option<Stored>>, WireError> {
        self.check_size(new.len())?;
        Ok(self.map.set(scope, key, new))
    }

    /// Removes a key; returns its value. A key that is not there is no error and no change.
    pub fn delete(&self, scope: &str, key: &str) -> Written<Option<Stored>> {
        self.map.delete(scope, key)
    }

    /// Applies the operations of `update` to a key, all of them at one instant.
    ///
    /// # Errors
    /// `VALUE_TOO_LARGE` when the new value is, and `deserialization_error` when the stored text is not the valid JSON that
    /// [`State::set`] asks for; then nothing is written.
    pub fn update(&self, scope: &str, key: &str, update: &Update<'_>) -> Result<Written<Updated>, WireError> {
        let written = self.map.edit(scope, key, |old| {
            let applied = update.apply(old)?;
            if let Some(new) = &applied.new {
                self.check_size(new.len())?;
            }
            Ok::<_, WireError>((applied.new.clone(), applied))
        })?;
        let (old, applied) = written.outcome;
        let wrote = applied.new.is_some();
        let updated = Updated { new: applied.new.or_else(|| old.clone()), old, wrote, errors: applied.errors };
        Ok(Written { outcome: updated, noted: written.noted })
    }

    /// The values of a scope at one instant, in insertion order.
    pub fn list(&self, scope: &str) -> Vec<Stored> {
        self.map.list(scope)
    }

    /// The scopes that have keys at one instant, sorted by their UTF-8 bytes.
    pub fn list_groups(&self) -> Vec<Box<str>> {
        self.map.groups()
    }

    /// How many keys there are; while others write, no instant in particular.
    pub fn key_count(&self) -> usize {
        self.map.len()
    }

    /// Starts noting changes of a scope, or of all with `None`. Counted: pair with [`State::unwatch`].
    pub fn watch(&self, scope: Option<&str>) {
        self.map.watch(scope);
    }

    /// Ends one [`State::watch`]. Changes already noted stay.
    pub fn unwatch(&self, scope: Option<&str>) {
        self.map.unwatch(scope);
    }

    /// Moves the noted changes to the end of `out`. One consumer only: two would part the order of a key.
    pub fn take_changes(&self, out: &mut Vec<Change>) {
        self.map.take_changes(out);
    }

    /// Changes that wait for [`State::take_changes`]; whoever writes throttles on this, here nothing bounds it.
    pub fn changes_waiting(&self) -> usize {
        self.map.changes_waiting()
    }

    /// The wire's rule 21.
    fn check_size(&self, bytes: usize) -> Result<(), WireError> {
        let max = self.value_bytes_max.load(Ordering::Relaxed);
        if bytes <= max {
            return Ok(());
        }
        let text = format!("value of {bytes} bytes exceeds the configured max_value_bytes limit of {max}");
        Err(WireError::new(code::VALUE_TOO_LARGE, text))
    }
}
