//! The log of changes: gives every write its position and, where anybody wants them, makes records of the writes. No files:
//! what is recorded waits in memory until a journal takes it, or until the change feed reads it.
//!
//! # Life of a commit
//!
//! A writer that holds its stripes' locks calls [`Log::commit`], which allots the positions and appends the record under
//! the log's own lock: records lie in the order of their positions. At the end of a pass [`Log::hand_over`] wakes the journal, which
//! [takes](Log::take) everything that waits, writes it, and [acknowledges](Log::acknowledge) it; then whoever waits for a [`Receipt`] goes on.
//!
//! Lock order: stripes by ascending index, then the log. Nothing is taken inside.

pub mod history;
pub mod record;

use crate::calls::Wake;
use crate::error::{WireError, code};
use crate::state::Stored;
use history::{Filter, Found, History};
use parking_lot::{Mutex, RwLock};
use record::Op;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What is appended in memory moves to the history in pieces of this size.
const MEMORY_CHUNK_BYTES: usize = 64 << 10;

/// A committed write, and how far it has to come before it may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its position.
    pub position: u64,
    /// Whether it must be on the disk, whatever the configured level is.
    pub durable: bool,
}

/// How far a commit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not far enough yet.
    Waiting,
    /// It may be acknowledged.
    Acknowledged,
    /// It will never be.
    Failed,
}

/// The positions that a commit was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// That of its first operation: operation i creates entries with the insertion number `first + i`.
    pub first: u64,
    /// That of the commit, which is that of its last operation.
    pub position: u64,
}

struct Pending {
    bytes: Vec<u8>,
    last: u64,
}

/// The log of one engine.
pub struct Log {
    /// The last position that was given out.
    last: AtomicU64,
    /// Whether records are made. Changes only while no write can be under way.
    recording: AtomicBool,
    /// Whether a journal takes the records; without one everything counts as acknowledged at once.
    journaled: AtomicBool,
    pending: Mutex<Pending>,
    pending_bytes: AtomicUsize,
    acknowledged: AtomicU64,
    synced: AtomicU64,
    /// Up to here somebody waits for the disk, whatever the level is.
    sync_wanted: AtomicU64,
    failed: AtomicBool,
    failure: OnceLock<Box<str>>,
    history: Mutex<History>,
    feeding: AtomicBool,
    advanced: AtomicBool,
    journal: OnceLock<Box<dyn Wake>>,
    listeners: RwLock<Vec<Box<dyn Wake>>>,
}

impl Log {
    /// A log that only counts, until a journal or a feed wants more. `history_bytes_max`: records that are remembered.
    pub fn new(history_bytes_max: usize) -> Self {
        Log {
            last: AtomicU64::new(0),
            recording: AtomicBool::new(false),
            journaled: AtomicBool::new(false),
            pending: Mutex::new(Pending { bytes: Vec::new(), last: 0 }),
            pending_bytes: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(u64::MAX),
            synced: AtomicU64::new(u64::MAX),
            sync_wanted: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: OnceLock::new(),
            history: Mutex::new(History::new(history_bytes_max)),
            feeding: AtomicBool::new(false),
            advanced: AtomicBool::new(false),
            journal: OnceLock::new(),
            listeners: RwLock::default(),
        }
    }

    // --- writers ---------------------------------------------------------------------------------------------------

    /// Gives `ops`, which are at least one, their positions and records them. The caller holds the locks of everything they change.
    #[inline]
    pub(crate) fn commit(&self, ops: &[Op<'_, &Stored>]) -> Commit {
        let count = ops.len() as u64;
        if !self.recording.load(Ordering::Relaxed) {
            let before = self.last.fetch_add(count, Ordering::Relaxed);
            return Commit { first: before + 1, position: before + count };
        }
        self.record(ops)
    }

    fn record(&self, ops: &[Op<'_, &Stored>]) -> Commit {
        let count = ops.len() as u64;
        let mut pending = self.pending.lock();
        let before = self.last.load(Ordering::Relaxed);
        let position = before + count;
        self.last.store(position, Ordering::Relaxed);
        record::encode_commit(&mut pending.bytes, position, ops);
        pending.last = position;
        if self.journaled.load(Ordering::Relaxed) {
            self.pending_bytes.store(pending.bytes.len(), Ordering::Relaxed);
        } else if pending.bytes.len() >= MEMORY_CHUNK_BYTES {
            self.remember(&mut pending);
        }
        Commit { first: before + 1, position }
    }

    /// Whether anything may be written.
    ///
    /// # Errors
    /// `STORAGE_FAILED` once a write or sync has failed.
    #[inline]
    pub fn check_writable(&self) -> Result<(), WireError> {
        if self.failed.load(Ordering::Relaxed) { Err(self.failed_error()) } else { Ok(()) }
    }

    /// Whether a write may ask to be on the disk before it is acknowledged.
    ///
    /// # Errors
    /// `DURABILITY_UNAVAILABLE` without a journal.
    pub fn check_durable(&self) -> Result<(), WireError> {
        if self.is_journaled() {
            return Ok(());
        }
        const TEXT: &str = "field `durable`: this engine keeps state in memory only; configure store_method file_based";
        Err(WireError::new(code::DURABILITY_UNAVAILABLE, TEXT))
    }

    /// What everybody is told whose write cannot be acknowledged.
    #[cold]
    pub fn failed_error(&self) -> WireError {
        let reason = self.failure.get().map_or("unknown", |reason| reason);
        let text = format!(
            "state is read-only since a write to its files failed: {reason}; free the disk or replace it, then restart the engine"
        );
        WireError::new(code::STORAGE_FAILED, text)
    }

    // --- who waits -------------------------------------------------------------------------------------------------

    /// How far a commit has come. One that must be durable is asked for by this.
    #[inline]
    pub fn progress(&self, receipt: Receipt) -> Progress {
        let reached = if receipt.durable { &self.synced } else { &self.acknowledged };
        if reached.load(Ordering::Acquire) >= receipt.position {
            return Progress::Acknowledged;
        }
        if self.failed.load(Ordering::Acquire) {
            return Progress::Failed;
        }
        if receipt.durable {
            self.sync_wanted.fetch_max(receipt.position, Ordering::Relaxed);
        }
        Progress::Waiting
    }

    /// Wakes the journal if there is something for it: call it when a pass is over, without any lock. It may write at once, on this
    /// thread, and tell the listeners.
    #[inline]
    pub fn hand_over(&self) {
        // A sync is also wanted for what the journal has taken already, just before it was asked for.
        if (self.pending_bytes.load(Ordering::Relaxed) > 0 || self.sync_wanted() > self.synced.load(Ordering::Relaxed))
            && let Some(journal) = self.journal.get()
        {
            journal.wake();
        }
    }

    /// Bytes that wait for the journal: whoever adds to them throttles on this, here nothing bounds it.
    pub fn waiting_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Is told whenever more is acknowledged, and of a failure; by the journal's threads and by whoever hands over.
    pub fn listen(&self, listener: Box<dyn Wake>) {
        self.listeners.write().push(listener);
    }

    /// Positions up to this one were given out elsewhere: state is not kept here.
    pub(crate) fn observe(&self, position: u64) {
        self.last.fetch_max(position, Ordering::Relaxed);
    }

    // --- looking ---------------------------------------------------------------------------------------------------

    /// The last position that was given out; while others write, no instant in particular.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The position up to which everything is acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire).min(self.last())
    }

    /// The position up to which everything is on the disk.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire).min(self.last())
    }

    /// Whether a journal takes the records.
    pub fn is_journaled(&self) -> bool {
        self.journaled.load(Ordering::Relaxed)
    }

    /// Why nothing can be written any more.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(|reason| &**reason)
    }

    // --- the journal -----------------------------------------------------------------------------------------------

    /// A journal takes over, woken by `journal` when there is work; everything up to `last` is recovered and on the disk. Call it
    /// once, before anything is written.
    pub fn attach(&self, last: u64, journal: Box<dyn Wake>) {
        self.last.store(last, Ordering::Relaxed);
        self.acknowledged.store(last, Ordering::Relaxed);
        self.synced.store(last, Ordering::Relaxed);
        self.history.lock().begin(last);
        self.recording.store(true, Ordering::Relaxed);
        self.journaled.store(true, Ordering::Release);
        let _ = self.journal.set(journal);
    }

    /// Records from before the start, for the history; in order, before [`Log::attach`].
    pub fn recall(&self, mut bytes: Vec<u8>, first: u64, last: u64) {
        self.history.lock().push(&mut bytes, first, last);
    }

    /// Exchanges everything that waits for the empty `bytes`; the position of the last of it, if there is any.
    pub fn take(&self, bytes: &mut Vec<u8>) -> Option<u64> {
        let mut pending = self.pending.lock();
        if pending.bytes.is_empty() {
            return None;
        }
        std::mem::swap(&mut pending.bytes, bytes);
        self.pending_bytes.store(0, Ordering::Relaxed);
        Some(pending.last)
    }

    /// Whether a sync is wanted that the level does not ask for: up to which position.
    pub fn sync_wanted(&self) -> u64 {
        self.sync_wanted.load(Ordering::Relaxed)
    }

    /// Everything up to `acknowledged` may be acknowledged and up to `synced` is on the disk.
    pub fn acknowledge(&self, acknowledged: u64, synced: u64) {
        self.synced.store(synced, Ordering::Release);
        self.acknowledged.store(acknowledged, Ordering::Release);
        self.announce();
    }

    /// Remembers records that are acknowledged, for the feed; just before [`Log::acknowledge`]. Leaves `bytes` empty.
    pub fn remember_acknowledged(&self, bytes: &mut Vec<u8>, first: u64, last: u64) {
        self.history.lock().push(bytes, first, last);
    }

    /// A write or sync has failed: nothing more is acknowledged. The first reason counts.
    pub fn fail(&self, reason: &str) {
        let _ = self.failure.set(reason.into());
        self.failed.store(true, Ordering::Release);
        self.announce();
    }

    fn announce(&self) {
        if self.feeding.load(Ordering::Relaxed) {
            self.advanced.store(true, Ordering::Release);
        }
        for listener in self.listeners.read().iter() {
            listener.wake();
        }
    }

    // --- the change feed -------------------------------------------------------------------------------------------

    /// Remembers changes from now on. The caller makes sure that no write is under way. Returns where the feed begins.
    pub(crate) fn begin_feed(&self) -> u64 {
        self.feeding.store(true, Ordering::Relaxed);
        if !self.recording.swap(true, Ordering::Relaxed) {
            self.history.lock().begin(self.last());
        }
        self.acknowledged()
    }

    /// Whether writes in memory have to be announced to the feed.
    #[inline]
    pub(crate) fn feeds_from_memory(&self) -> bool {
        self.recording.load(Ordering::Relaxed) && !self.journaled.load(Ordering::Relaxed)
    }

    /// A write in memory is over: the feed has more. Returns whether that is news.
    pub(crate) fn note_advance(&self) -> bool {
        !self.advanced.swap(true, Ordering::AcqRel)
    }

    /// Whether the feed has advanced since [`Log::take_advanced`].
    pub fn has_advanced(&self) -> bool {
        self.advanced.load(Ordering::Acquire)
    }

    /// Whether the feed has advanced since this was asked before.
    pub fn take_advanced(&self) -> bool {
        self.advanced.load(Ordering::Acquire) && self.advanced.swap(false, Ordering::AcqRel)
    }

    /// Acknowledged changes after `since`.
    ///
    /// # Errors
    /// `HISTORY_LOST` when they are not remembered, or `since` has not come yet.
    pub fn read(&self, since: u64, filter: Filter<'_>, count_max: usize, bytes_max: usize) -> Result<Found, WireError> {
        if !self.is_journaled() {
            self.remember(&mut self.pending.lock());
        }
        let upto = self.acknowledged();
        // Cloned out: whoever writes must not wait for the feed.
        let chunks = self.history.lock().after(since, upto)?;
        Ok(history::read(&chunks, since, upto, filter, count_max, bytes_max))
    }

    /// Moves what waits to the history.
    fn remember(&self, pending: &mut Pending) {
        if !pending.bytes.is_empty() {
            let last = pending.last;
            self.history.lock().push_next(&mut pending.bytes, last);
        }
    }
}
