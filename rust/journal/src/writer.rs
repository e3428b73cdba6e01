//! The threads that write: one at a time takes what all writers have left and appends it, while another may be bringing what it appended
//! before to the disk.

use crate::appender::SLOW_THERE;
use crate::error::JournalError;
use crate::journal::{Journal, SyncLevel};
use crate::progress::Progress;
use iii_fast_core::state::State;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

pub(crate) struct Writer<'a> {
    journal: &'a Journal,
    state: &'a State,
    /// None at the end.
    rounds: Option<SyncSender<u64>>,
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
    while writer.lock().step() {
        if journal.options.sync == SyncLevel::Always && sync(&journal.progress).is_err() {
            return;
        }
    }
}

impl<'a> Writer<'a> {
    /// `rounds` takes the positions from which snapshots are to be made.
    pub(crate) fn new(journal: &'a Journal, state: &'a State, rounds: SyncSender<u64>) -> Self {
        Writer { journal, state, rounds: Some(rounds) }
    }

    /// Waits for something to write, and writes it; false at the end and after a failure, which is told.
    fn step(&mut self) -> bool {
        let journal = self.journal;
        loop {
            let is_stopping = journal.is_stopping();
            if self.rounds.is_none() {
                return false; // ended in another thread
            }
            let Some(wrote) = journal.appender.lock().write(journal, SLOW_THERE) else { return false };
            journal.pass_on_wanted();
            if self.begin_round().is_none() {
                return false;
            }
            if wrote {
                return true;
            }
            if is_stopping {
                journal.appender.lock().close(journal);
                self.rounds = None;
                return false;
            }
            journal.bell.wait();
        }
    }

    /// Has a snapshot written if it pays and none is being written. None after a failure.
    fn begin_round(&mut self) -> Option<()> {
        let journal = self.journal;
        if journal.rounds.busy.load(Ordering::Acquire)
            || !journal.layout.lock().wants_round(journal.options.segment_bytes, || self.state.live_bytes())
        {
            return Some(());
        }
        let start = journal.appender.lock().cut(journal)?;
        journal.rounds.busy.store(true, Ordering::Release);
        if self.rounds.as_ref().is_none_or(|rounds| rounds.try_send(start).is_err()) {
            journal.rounds.busy.store(false, Ordering::Release);
        }
        Some(())
    }

    fn discard(&self) {
        while !self.journal.is_stopping() {
            self.journal.appender.lock().discard(self.journal);
            self.journal.bell.wait();
        }
    }
}
