//! Writing: one thread at a time takes what all writers have left and appends it, while another may be bringing what it appended before to
//! the disk.

use crate::error::JournalError;
use crate::journal::{Journal, SyncLevel};
use crate::progress::Progress;
use iii_fast_core::log::record::{self, kind};
use iii_fast_core::state::State;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

/// Batches below this are copied for the history, so that the buffer can be used again and no memory is wasted.
const COPY_BYTES_MAX: usize = 32 << 10;

pub(crate) struct Writer<'a> {
    journal: &'a Journal,
    state: &'a State,
    /// None at the end.
    rounds: Option<SyncSender<u64>>,
    batch: Vec<u8>,
    mark: Vec<u8>,
}

/// Writes until the journal is stopped, syncing with `sync` where the level asks. Several threads may do this: one writes, the others
/// bring what they have written to the disk. After a failure they only take, so that nobody waits for them.
pub(crate) fn run(journal: &Journal, writer: &Mutex<Writer<'_>>, sync: fn(&Progress) -> Result<(), JournalError>) {
    if catch_unwind(AssertUnwindSafe(|| write(journal, writer, sync))).is_err() {
        journal.progress.fail("writing panicked");
    }
    let mut writer = writer.lock();
    if journal.progress.has_failed() {
        writer.discard();
    }
    writer.rounds = None;
}

/// Until the end or a failure; who fails has told why.
fn write(journal: &Journal, writer: &Mutex<Writer<'_>>, sync: fn(&Progress) -> Result<(), JournalError>) {
    // Whoever has the lock waits for work, and gives it up for the disk.
    while writer.lock().step_or_fail() {
        if journal.options.sync == SyncLevel::Always && sync(&journal.progress).is_err() {
            return;
        }
    }
}

impl<'a> Writer<'a> {
    /// `rounds` takes the positions from which snapshots are to be made.
    pub(crate) fn new(journal: &'a Journal, state: &'a State, rounds: SyncSender<u64>) -> Self {
        Writer { journal, state, rounds: Some(rounds), batch: Vec::new(), mark: Vec::new() }
    }

    /// As [`Writer::step`]; false after a failure as well, which is known before the lock goes: whoever wrote behind a batch that is
    /// not whole, or began a segment after it, would make it damage.
    fn step_or_fail(&mut self) -> bool {
        let progress = &self.journal.progress;
        match catch_unwind(AssertUnwindSafe(|| self.step())) {
            Ok(Ok(goes_on)) => return goes_on,
            Ok(Err(error)) => progress.fail(&error.to_string()),
            Err(_) => progress.fail("writing panicked"),
        }
        false
    }

    /// Waits for something to write, and writes it; false at the end.
    fn step(&mut self) -> Result<bool, JournalError> {
        loop {
            let is_stopping = self.journal.is_stopping();
            if self.rounds.is_none() || self.journal.progress.has_failed() {
                return Ok(false); // in another thread, which has told why
            }
            let wrote = self.write_batch()?;
            let wanted = self.journal.log.sync_wanted();
            if wanted > 0 {
                self.journal.progress.want(wanted);
            }
            self.begin_round()?;
            if wrote {
                return Ok(true);
            }
            if is_stopping {
                self.close()?;
                self.rounds = None;
                return Ok(false);
            }
            self.journal.bell.wait();
        }
    }

    /// Writes everything that waits; false when nothing does.
    fn write_batch(&mut self) -> Result<bool, JournalError> {
        let Some(last) = self.journal.log.take(&mut self.batch) else { return Ok(false) };
        if self.journal.layout.lock().current_bytes() >= self.journal.options.segment_bytes {
            self.journal.change_segment()?;
        }
        let before = self.journal.progress.written();
        self.append(before)?;
        self.remember(before + 1, last);
        self.journal.progress.wrote(last);
        Ok(true)
    }

    /// Appends a mark and the batch; `before` is the position before it.
    fn append(&mut self, before: u64) -> Result<(), JournalError> {
        self.mark.clear();
        record::encode_mark(&mut self.mark, before, self.journal.progress.synced());
        let current = self.journal.progress.current();
        current.output.append(&[&self.mark, &self.batch]).map_err(JournalError::io(current.path, "write"))?;
        self.journal.layout.lock().grew((self.mark.len() + self.batch.len()) as u64);
        Ok(())
    }

    /// Gives the batch to the history.
    fn remember(&mut self, first: u64, last: u64) {
        if self.journal.options.history_bytes_max == 0 {
            self.batch.clear();
        } else if self.batch.len() <= COPY_BYTES_MAX {
            self.journal.log.remember_acknowledged(self.batch.as_slice().to_vec(), first, last);
            self.batch.clear();
        } else {
            let mut batch = std::mem::take(&mut self.batch);
            batch.shrink_to_fit();
            self.journal.log.remember_acknowledged(batch, first, last);
        }
    }

    /// Has a snapshot written if it pays and none is being written.
    fn begin_round(&mut self) -> Result<(), JournalError> {
        let journal = self.journal;
        if journal.rounds.busy.load(Ordering::Acquire)
            || !journal.layout.lock().wants_round(journal.options.segment_bytes, || self.state.live_bytes())
        {
            return Ok(());
        }
        let written = journal.progress.written();
        if journal.layout.lock().current_first() <= written {
            journal.change_segment()?;
        }
        journal.rounds.busy.store(true, Ordering::Release);
        if self.rounds.as_ref().is_none_or(|rounds| rounds.try_send(written).is_err()) {
            journal.rounds.busy.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// The orderly end: the last record says that everything before it is on the disk.
    fn close(&mut self) -> Result<(), JournalError> {
        let journal = self.journal;
        journal.progress.sync()?;
        if journal.progress.has_failed() {
            return Ok(());
        }
        let last = journal.progress.written();
        self.batch.clear();
        record::encode(&mut self.batch, kind::CLOSE, last, |_| {});
        self.append(last)?;
        let current = journal.progress.current();
        current.output.sync().map_err(JournalError::io(current.path, "sync"))
    }

    fn discard(&mut self) {
        while !self.journal.is_stopping() {
            self.batch.clear();
            while self.journal.log.take(&mut self.batch).is_some() {
                self.batch.clear();
            }
            self.journal.bell.wait();
        }
    }
}
