//! Appending what waits in the log to the segment that is written: the writing thread's work, and that of whoever hands over, as long as the
//! operating system takes it quickly.

use crate::error::JournalError;
use crate::journal::{Journal, SyncLevel};
use iii_fast_core::log::record;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// More than this is left to the writing thread: copying it takes longer than waking somebody.
const HERE_BYTES_MAX: usize = 256 << 10;
/// An append that took longer was held up by the disk, not by copying.
const SLOW: Duration = Duration::from_millis(2);
/// The same of the writing thread, for as many bytes as [`HERE_BYTES_MAX`]: it may have had to wait for the processor.
pub(crate) const SLOW_THERE: Duration = Duration::from_millis(10);
/// So long after a slow append only the writing thread writes, so that nobody else is held up.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// What appending needs; whoever has its lock may append and change segments.
#[derive(Default)]
pub(crate) struct Appender {
    /// Between the start of the threads and the last record.
    open: bool,
    slow_until: Option<Instant>,
    batch: Vec<u8>,
    mark: Vec<u8>,
}

impl Journal {
    /// Writes what waits, without another thread if that is quick; else wakes the writing thread.
    pub(crate) fn hand_over(&self) {
        if self.options.sync == SyncLevel::Always || !self.write_here() {
            self.bell.ring();
        }
    }

    /// False when the writing thread has something to do.
    fn write_here(&self) -> bool {
        let Some(mut appender) = self.appender.try_lock() else { return false };
        if !appender.may_write_here(self) || appender.write(self, SLOW).is_none() {
            return false;
        }
        self.pass_on_wanted();
        !self.may_want_round()
    }

    /// Somebody waits for the disk, whatever the level is.
    pub(crate) fn pass_on_wanted(&self) {
        let wanted = self.log.sync_wanted();
        if wanted > 0 {
            self.progress.want(wanted);
        }
    }

    /// Work of whoever has the lock of `appender`; none when it fails or has failed. That is known before the lock goes: whoever wrote behind a
    /// batch that is not whole, or began a segment after it, would make it damage.
    fn unless_failed<T>(&self, work: impl FnOnce() -> Result<T, JournalError>) -> Option<T> {
        if self.progress.has_failed() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => self.progress.fail(&error.to_string()),
            Err(_) => self.progress.fail("writing panicked"),
        }
        None
    }

    fn may_want_round(&self) -> bool {
        !self.rounds.busy.load(Ordering::Acquire) && self.layout.lock().may_want_round(self.options.segment_bytes)
    }
}

impl Appender {
    /// Whoever hands over may append from now on.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    fn may_write_here(&mut self, journal: &Journal) -> bool {
        if self.slow_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        self.slow_until = None;
        self.open
            && journal.log.waiting_bytes() <= HERE_BYTES_MAX
            && journal.layout.lock().current_bytes() < journal.options.segment_bytes
    }

    /// Writes everything that waits: whether something did. None after a failure. `slow`: an append that takes longer says that the
    /// disk is behind.
    pub(crate) fn write(&mut self, journal: &Journal, slow: Duration) -> Option<bool> {
        journal.unless_failed(|| {
            let Some(last) = journal.log.take(&mut self.batch) else { return Ok(false) };
            if journal.layout.lock().current_bytes() >= journal.options.segment_bytes {
                journal.change_segment()?;
            }
            let before = journal.progress.written();
            let begun = Instant::now();
            self.append(journal, before)?;
            if begun.elapsed() > slow * (1 + self.batch.len() / HERE_BYTES_MAX) as u32 {
                self.slow_until = Instant::now().checked_add(SLOW_FOR);
            }
            journal.log.remember_acknowledged(&mut self.batch, before + 1, last);
            journal.progress.wrote(last);
            Ok(true)
        })
    }

    /// Begins a segment behind everything that is written, unless that is done: up to where. None after a failure.
    pub(crate) fn cut(&mut self, journal: &Journal) -> Option<u64> {
        journal.unless_failed(|| {
            let written = journal.progress.written();
            if journal.layout.lock().current_first() <= written {
                journal.change_segment()?;
            }
            Ok(written)
        })
    }

    /// Appends a mark and the batch; `before` is the position before it.
    fn append(&mut self, journal: &Journal, before: u64) -> Result<(), JournalError> {
        let current = journal.progress.current();
        self.mark.clear();
        record::encode_mark(&mut self.mark, before, journal.progress.synced(), current.number);
        current.output.append(&[&self.mark, &self.batch]).map_err(JournalError::io(current.path, "write"))?;
        journal.layout.lock().grew((self.mark.len() + self.batch.len()) as u64);
        Ok(())
    }

    /// The orderly end: the last record says that everything before it is on the disk. None after a failure.
    pub(crate) fn close(&mut self, journal: &Journal) -> Option<()> {
        self.open = false;
        journal.unless_failed(|| {
            journal.progress.sync()?;
            if journal.progress.has_failed() {
                return Ok(());
            }
            let last = journal.progress.written();
            self.batch.clear();
            let current = journal.progress.current();
            record::encode_close(&mut self.batch, last, current.number);
            self.append(journal, last)?;
            current.output.sync().map_err(JournalError::io(current.path, "sync"))
        })
    }

    /// Takes what waits and will never be written, so that nobody waits for it.
    pub(crate) fn discard(&mut self, journal: &Journal) {
        self.batch.clear();
        while journal.log.take(&mut self.batch).is_some() {
            self.batch.clear();
        }
    }
}
