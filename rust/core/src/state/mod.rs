//! State: the lock-striped map (scope, key) -> value, `state::*` on it, and the changes it tells of. No I/O, no clock.
//!
//! # What holds when many threads use one [`State`]
//!
//! * Operations on one key, and transactions, are linearizable: each takes effect at one instant between its call and its return, and
//!   `update`, `compare_and_set` and `delete` see no other write between reading and writing (`state_stress.rs`: `updates_lose_nothing`,
//!   `a_deleted_value_goes_to_one_deleter`).
//! * [`State::list`], [`State::list_groups`], [`State::list_keys`] and [`State::page`] are cuts: one instant for all keys (`state_stress.rs`:
//!   `a_list_is_a_cut_in_insertion_order`). An overwrite keeps its place, a key that was deleted and set again is last; an
//!   insertion that returned before another one began comes first (`state_model.rs`).
//! * Every write has a position; positions of writes to one key grow in the order of the writes, and the log records all writes in the order of
//!   their positions.
//! * Changes of one key come out of [`State::take_changes`] in the order of its writes, with no gap from the instant its
//!   scope is watched (`state_stress.rs`: `changes_of_a_key_chain`).
//!
//! Lock order: stripes by ascending index, then the usage or the log; one-key operations hold one stripe only, and nothing else is
//! locked, called or waited for while a stripe is. No guard leaves the map's files, and a replaced value is dropped after its lock is released.

mod answer;
mod calls;
mod change;
mod cursor;
mod elsewhere;
mod equality;
mod form;
mod hash;
mod image;
mod input;
mod marks;
mod name;
mod pages;
mod paging;
pub(crate) mod plan;
mod quotas;
mod request;
mod scope_part;
mod stored;
mod stripe;
mod striped_map;
mod timers;
mod transact;
mod update;
mod watch;

use std::sync::Arc;

pub use answer::{Answer, Served};
pub use calls::{StateCall, serve};
pub(crate) use calls::{serve_opened, serve_request};
pub use change::{Change, ChangeKind};
pub use equality::json_equal;
pub use image::Captured;
pub use input::Texts;
pub(crate) use paging::PAGE_LOOKED_MAX;
pub use paging::{Page, PageRequest, RowTooLarge};
pub use quotas::Quotas;
pub use request::{PageOf, Request, Rules, SetOf, Swap};
pub use stored::Stored;
pub use stripe::Entry;
pub use striped_map::{Expiry, Written};
pub use transact::{Check, OpResult, TransactAction, TransactOp, Transacted, Transaction};
pub use update::{OpError, Update, Updated};

use crate::codec::Value;
use crate::error::WireError;
use crate::log::Log;
use crate::log::record::{Op, SnapshotEntry};
use striped_map::{Edit, StripedMap};

/// All state of one engine; shared by reference between threads.
pub struct State {
    map: StripedMap,
    quotas: Quotas,
}

/// When a compare-and-set writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// The key is not there.
    Absent,
    /// The value equals this one.
    Equals(Value<'a>),
    /// The entry has this version.
    Version(u64),
}

impl Condition<'_> {
    /// Whether it holds of an entry's value and version.
    pub(crate) fn holds(&self, current: Option<(&Stored, u64)>) -> bool {
        match (self, current) {
            (Condition::Absent, current) => current.is_none(),
            (_, None) => false,
            (Condition::Equals(expected), Some((stored, _))) => equality::equal(stored, *expected),
            (Condition::Version(version), Some((_, current))) => *version == current,
        }
    }
}

/// What a compare-and-set came to.
#[derive(Debug, Clone)]
pub struct Swapped {
    /// Whether it wrote.
    pub swapped: bool,
    /// Value and version after it.
    pub current: Option<(Stored, u64)>,
}

impl State {
    /// Empty state on `stripes` locks (rounded up to a power of two, at least 1) whose writes go to `log`.
    pub fn new(stripes: usize, quotas: Quotas, log: Arc<Log>) -> Self {
        State { map: StripedMap::new(stripes, &quotas, log), quotas }
    }

    /// Empty state without quotas, files or a feed.
    pub fn in_memory(stripes: usize) -> Self {
        State::new(stripes, Quotas::default(), Arc::new(Log::new(0)))
    }

    /// Where writes are recorded.
    pub fn log(&self) -> &Arc<Log> {
        &self.map.log
    }

    /// The time by which entries expire, Unix ms.
    pub fn now_ms(&self) -> u64 {
        self.map.now_ms()
    }

    /// Sets the time; it never goes back.
    pub fn advance_clock(&self, now_unix_ms: u64) {
        self.map.advance_clock(now_unix_ms);
    }

    /// Whether there is something for [`State::expire_due`].
    #[inline]
    pub fn has_due(&self) -> bool {
        self.map.has_due()
    }

    /// Removes about `count_max` entries whose time has come; the outcome is how many. Call it again while [`State::has_due`].
    pub fn expire_due(&self, count_max: usize) -> Written<usize> {
        self.map.expire_due(count_max)
    }

    // --- reading ---------------------------------------------------------------------------------------------------

    /// The value of a key.
    #[inline]
    pub fn get(&self, scope: &str, key: &str) -> Option<Stored> {
        self.map.get(scope, key)
    }

    /// The value of a key with its version, its place in the insertion order and its expiry.
    pub fn entry(&self, scope: &str, key: &str) -> Option<Entry> {
        self.map.entry(scope, key)
    }

    /// Several entries at one instant.
    pub fn entries(&self, keys: &[(&str, &str)]) -> Vec<Option<Entry>> {
        self.map.entries(keys)
    }

    /// The values of a scope at one instant, in insertion order.
    pub fn list(&self, scope: &str) -> Vec<Stored> {
        self.map.list(scope)
    }

    /// The scopes that have keys at one instant, sorted by their UTF-8 bytes.
    pub fn list_groups(&self) -> Vec<Box<str>> {
        self.map.groups()
    }

    /// The keys of a scope that begin with `prefix` at one instant, in insertion order.
    pub fn list_keys(&self, scope: &str, prefix: Option<&str>) -> Vec<Box<str>> {
        self.map.list_keys(scope, prefix)
    }

    /// One page of a scope at one instant, in insertion order.
    ///
    /// # Errors
    /// When the first entry alone is larger than the page may be.
    pub fn page(&self, request: PageRequest<'_>) -> Result<Page, RowTooLarge> {
        self.map.page(request)
    }

    /// How many keys there are; while others write, no instant in particular.
    pub fn key_count(&self) -> usize {
        self.map.len()
    }

    /// Bytes of all scope names, keys and values, the scope counted with each entry; no instant in particular either.
    pub fn live_bytes(&self) -> u64 {
        self.map.bytes()
    }

    // --- writing ---------------------------------------------------------------------------------------------------
    //
    // All of these answer `STORAGE_FAILED` once the files cannot be written, and the codes of quotas; then nothing is written.

    /// Stores a value; returns the one before. `expires_at`: Unix ms.
    ///
    /// # Errors
    /// `STORAGE_FAILED` and the quotas'.
    pub fn set(
        &self,
        scope: &str,
        key: &str,
        new: Stored,
        expires_at: Option<u64>,
    ) -> Result<Written<Option<Stored>>, WireError> {
        self.check(scope, key)?;
        self.quotas.check_value(new.len())?;
        let expiry = Expiry::new(expires_at);
        let written = self.map.edit(scope, key, |_| Ok(Edit { new: Some((new, expiry)), out: () }))?;
        let Written { outcome: (old, ()), position, noted } = written;
        Ok(Written { outcome: old, position, noted })
    }

    /// Removes a key; returns its value. A key that is not there is no error and no change.
    ///
    /// # Errors
    /// `STORAGE_FAILED`.
    pub fn delete(&self, scope: &str, key: &str) -> Result<Written<Option<Stored>>, WireError> {
        self.log().check_writable()?;
        Ok(self.map.delete(scope, key))
    }

    /// Applies the operations of `update` to a key, all of them at one instant.
    ///
    /// # Errors
    /// As [`State::set`], and `deserialization_error` when the stored text is not the valid JSON that it asks for.
    pub fn update(
        &self,
        scope: &str,
        key: &str,
        update: &Update<'_>,
        expiry: Expiry,
    ) -> Result<Written<Updated>, WireError> {
        self.check(scope, key)?;
        let written = self.map.edit(scope, key, |old| {
            let applied = update.apply(old.map(|(stored, _)| stored))?;
            if let Some(new) = &applied.new {
                self.quotas.check_value(new.len())?;
            }
            Ok(Edit { new: applied.new.clone().map(|new| (new, expiry)), out: applied })
        })?;
        let Written { outcome: (old, applied), position, noted } = written;
        let new = applied.new.or_else(|| old.clone());
        Ok(Written {
            outcome: Updated { new, old, wrote: position.is_some(), errors: applied.errors },
            position,
            noted,
        })
    }

    /// Stores a value if `condition` holds.
    ///
    /// # Errors
    /// As [`State::set`].
    pub fn compare_and_set(
        &self,
        scope: &str,
        key: &str,
        new: Stored,
        condition: &Condition<'_>,
        expires_at: Option<u64>,
    ) -> Result<Written<Swapped>, WireError> {
        self.check(scope, key)?;
        self.quotas.check_value(new.len())?;
        let expiry = Expiry::new(expires_at);
        let written = self.map.edit(scope, key, |current| {
            let out = current.map(|(_, version)| version);
            Ok(Edit { new: condition.holds(current).then(|| (new.clone(), expiry)), out })
        })?;
        let Written { outcome: (old, version), position, noted } = written;
        let is_past = expires_at.is_some_and(|at| at <= self.now_ms());
        let current = match position {
            Some(_) if is_past => None,
            Some(position) => Some((new, position)),
            None => old.zip(version),
        };
        Ok(Written { outcome: Swapped { swapped: position.is_some(), current }, position, noted })
    }

    /// Makes all checks and then does everything, at one instant, or nothing.
    ///
    /// # Errors
    /// As [`State::update`], of whichever operation is the first to fail.
    pub fn transact(&self, transaction: &Transaction<'_>) -> Result<Written<Transacted>, WireError> {
        self.log().check_writable()?;
        let writes = |op: &&TransactOp<'_>| !matches!(op.action, TransactAction::Delete);
        for op in transaction.ops.iter().filter(writes) {
            self.quotas.check_names(&op.scope, &op.key)?;
        }
        self.map.transact(transaction, |value| self.quotas.check_value(value.len()))
    }

    /// Removes all keys of a scope at one instant; how many there were.
    ///
    /// # Errors
    /// `STORAGE_FAILED`.
    pub fn delete_scope(&self, scope: &str) -> Result<Written<u64>, WireError> {
        self.log().check_writable()?;
        Ok(self.map.delete_scope(scope))
    }

    fn check(&self, scope: &str, key: &str) -> Result<(), WireError> {
        self.log().check_writable()?;
        self.quotas.check_names(scope, key)
    }

    // --- changes ---------------------------------------------------------------------------------------------------

    /// Starts noting changes of a scope, or of all with `None`. Counted: pair with [`State::unwatch`].
    pub fn watch(&self, scope: Option<&str>) {
        self.map.watch(scope);
    }

    /// Ends one [`State::watch`]. Changes already noted stay.
    pub fn unwatch(&self, scope: Option<&str>) {
        self.map.unwatch(scope);
    }

    /// Moves the noted changes that are acknowledged to the end of `out`, in the order of their commits. One consumer only: two would
    /// part the order of a key.
    pub fn take_changes(&self, out: &mut Vec<Change>) {
        self.map.take_changes(out);
    }

    /// Changes that wait for [`State::take_changes`]; whoever writes throttles on this, here nothing bounds it.
    pub fn changes_waiting(&self) -> usize {
        self.map.changes_waiting()
    }

    /// Makes sure that the log remembers changes from now on; the position up to which writes are acknowledged.
    pub fn begin_feed(&self) -> u64 {
        self.map.begin_feed()
    }

    // --- the disk --------------------------------------------------------------------------------------------------

    /// Parts of the map that [`State::capture`] takes one by one.
    pub fn stripe_count(&self) -> usize {
        self.map.stripe_count()
    }

    /// A portion of a part for a snapshot: up to `count_max` entries before `before`, or from the end. Returns where the next
    /// portion goes on, if there is one. See docs/storage.md, Writing, for why this misses nothing.
    pub fn capture(
        &self,
        stripe: usize,
        before: Option<u32>,
        count_max: usize,
        out: &mut Vec<Captured>,
    ) -> Option<u32> {
        self.map.capture(stripe, before, count_max, out)
    }

    /// Takes an entry of a snapshot in unless a later version is there; any thread, any order, before [`State::finish_loading`].
    pub fn load(&self, entry: &SnapshotEntry<'_>) {
        self.map.load(entry);
    }

    /// Applies operation `index` of the `count` of the commit at `position`; in order, before [`State::finish_loading`].
    pub fn replay(&self, position: u64, index: u64, count: u64, op: &Op<'_>) {
        self.map.replay(position, position + 1 + index - count, op);
    }

    /// Puts what was loaded into its order. Until then only loading may go on.
    pub fn finish_loading(&self) {
        self.map.finish_loading();
    }
}
