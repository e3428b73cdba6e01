//! The journal of one engine: opened once, run by one thread, stopped by any.

use crate::appender::Appender;
use crate::bell::Bell;
use crate::catalog::{Catalog, SegmentFile};
use crate::error::JournalError;
use crate::files::{Directory, Files, Lock};
use crate::layout::Layout;
use crate::progress::{Current, Progress};
use crate::recovery::{self, Found, Recovered};
use crate::snapshot::{self, Rounds};
use crate::writer::{self, Writer};
use crate::{salvage, segment};
use iii_fast_core::calls::Wake;
use iii_fast_core::log::Log;
use iii_fast_core::state::State;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

/// When a write is acknowledged (docs/storage.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncLevel {
    /// When it is on the disk.
    Always,
    /// When the operating system has it; it is on the disk an interval later.
    Interval,
    /// When the operating system has it.
    Never,
}

/// How the journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where.
    pub directory: PathBuf,
    /// When writes are acknowledged.
    pub sync: SyncLevel,
    /// The interval of [`SyncLevel::Interval`].
    pub sync_interval: Duration,
    /// A segment with as many bytes gets no more.
    pub segment_bytes: u64,
    /// Bytes of changes that are remembered for the change feed, also across restarts.
    pub history_bytes_max: usize,
    /// Whether to keep what is intact when something is damaged, instead of refusing.
    pub salvage: bool,
}

/// What can be told of a running journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Snapshots that have been written since the start.
    pub snapshots: u64,
    /// Why the last snapshot could not be written; nothing is lost by that, but the journal grows.
    pub snapshot_failure: Option<String>,
    /// Why nothing can be written any more.
    pub failure: Option<String>,
}

/// The journal of one engine.
pub struct Journal {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) options: Options,
    pub(crate) log: Arc<Log>,
    pub(crate) bell: Bell,
    pub(crate) appender: Mutex<Appender>,
    pub(crate) progress: Progress,
    pub(crate) layout: Mutex<Layout>,
    pub(crate) rounds: Rounds,
    /// Of the snapshots of this process.
    pub(crate) generation: u32,
    stopping: AtomicBool,
    /// Whether it has run; held while it runs.
    ended: Mutex<bool>,
    _lock: Box<dyn Lock>,
}

/// The journal as the log wakes it.
struct Listener(Weak<Journal>);

impl Wake for Listener {
    fn wake(&self) {
        if let Some(journal) = self.0.upgrade() {
            journal.hand_over();
        }
    }
}

impl Journal {
    /// Brings what lies in the directory into the empty `state`, and takes over `log`, which is that of `state`. Nothing may be written to
    /// `state` before; writes after it wait for [`Journal::run`].
    ///
    /// # Errors
    /// When the directory cannot be used or does not hold what was written to it; `state` is of no use then.
    pub fn open(options: Options, state: &State, log: &Arc<Log>) -> Result<(Arc<Journal>, Recovered), JournalError> {
        let files = Arc::new(Directory::new(options.directory.clone()));
        Journal::open_with(files, options, state, log)
    }

    /// As [`Journal::open`], on the files of a directory that is no matter what.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_with(
        files: Arc<dyn Files>,
        options: Options,
        state: &State,
        log: &Arc<Log>,
    ) -> Result<(Arc<Journal>, Recovered), JournalError> {
        let directory = files.directory().to_owned();
        let lock = files.lock().map_err(JournalError::io(&directory, "lock the directory"))?;
        let lock = lock.ok_or(JournalError::InUse { directory })?;
        let mut catalog = Catalog::read(&*files)?;
        for name in std::mem::take(&mut catalog.unfinished) {
            files.remove(&name).map_err(JournalError::io(files.directory().join(&name), "remove"))?;
        }
        let mut found = recovery::recover(&*files, &catalog, state, options.history_bytes_max, options.salvage)?;
        let mut generation = catalog.generation() + 1;
        if found.dropped.is_empty() {
            finish_tail(&*files, &found)?;
        } else {
            catalog = salvage::write(&*files, &catalog, state, &mut found)?;
            generation = catalog.generation();
        }
        let last = found.recovered.last;
        let current = begin_segment(&*files, last + 1)?;
        let layout =
            Layout::new(&catalog, found.start, SegmentFile { first: last + 1, bytes: segment::HEADER_BYTES as u64 });
        for (bytes, first, last) in found.recent.pieces {
            log.recall(bytes, first, last);
        }
        let journal = Arc::new(Journal {
            files,
            log: log.clone(),
            bell: Bell::default(),
            appender: Mutex::default(),
            progress: Progress::new(log.clone(), options.sync == SyncLevel::Always, current, last),
            layout: Mutex::new(layout),
            rounds: Rounds::default(),
            generation,
            stopping: AtomicBool::new(false),
            ended: Mutex::new(false),
            options,
            _lock: lock,
        });
        log.attach(last, Box::new(Listener(Arc::downgrade(&journal))));
        Ok((journal, found.recovered))
    }

    /// Writes what comes until [`Journal::stop`], then the rest, and ends the journal in an orderly way. `state` is that of
    /// [`Journal::open`]. A failure is told by [`Log::failure`]; this returns after a stop all the same.
    pub fn run(&self, state: &State) {
        let mut ended = self.ended.lock();
        if *ended {
            return;
        }
        let (sender, starts) = sync_channel(1);
        let writer = Mutex::new(Writer::new(self, state, sender));
        std::thread::scope(|scope| {
            let rounds = Builder::new().name("journal-snapshot".to_owned());
            let snapshots = move || snapshot::run(self, state, &starts);
            if let Err(error) = rounds.spawn_scoped(scope, snapshots) {
                self.progress.fail(&format!("cannot start a thread: {error}"));
            }
            let writer = &writer;
            if self.options.sync == SyncLevel::Always {
                let second = Builder::new().name("journal-write".to_owned());
                let run = move || writer::run(self, writer, Progress::sync_beside);
                if let Err(error) = second.spawn_scoped(scope, run) {
                    self.progress.fail(&format!("cannot start a thread: {error}"));
                }
            } else {
                let syncs = Builder::new().name("journal-sync".to_owned());
                let interval = (self.options.sync == SyncLevel::Interval).then_some(self.options.sync_interval);
                if let Err(error) = syncs.spawn_scoped(scope, move || self.keep_synced(interval)) {
                    self.progress.fail(&format!("cannot start a thread: {error}"));
                }
            }
            self.appender.lock().open();
            writer::run(self, writer, Progress::sync);
            self.progress.end();
        });
        *ended = true;
    }

    /// Makes [`Journal::run`] end. Callable from any thread.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// How it is.
    pub fn stats(&self) -> Stats {
        Stats {
            disk_bytes: self.layout.lock().disk_bytes(),
            snapshots: self.rounds.done.load(Ordering::Relaxed),
            snapshot_failure: self.rounds.failure.lock().clone(),
            failure: self.log.failure().map(str::to_owned),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Begins the segment behind everything that is written, which is synced first. The caller has the lock of `appender`.
    pub(crate) fn change_segment(&self) -> Result<(), JournalError> {
        self.progress.sync()?;
        if self.progress.has_failed() {
            return Ok(()); // by another thread, which has told why
        }
        let first = self.progress.written() + 1;
        self.progress.set_current(begin_segment(&*self.files, first)?);
        self.layout.lock().began(SegmentFile { first, bytes: segment::HEADER_BYTES as u64 });
        Ok(())
    }

    fn keep_synced(&self, interval: Option<Duration>) {
        let work = std::panic::AssertUnwindSafe(|| self.progress.keep_synced(interval));
        if std::panic::catch_unwind(work).is_err() {
            self.progress.fail("syncing panicked");
        }
    }
}

/// Makes the end of the journal that is there whole, and brings it to the disk: it counts as such from now on.
fn finish_tail(files: &dyn Files, found: &Found) -> Result<(), JournalError> {
    let Some(tail) = found.tail else { return Ok(()) };
    let name = segment::name(tail.first);
    files.truncate(&name, tail.bytes).map_err(JournalError::io(files.directory().join(&name), "truncate"))
}

/// Makes the segment whose first record will be at `first`; what may lie under its name has no record.
fn begin_segment(files: &dyn Files, first: u64) -> Result<Current, JournalError> {
    let name = segment::name(first);
    let path = files.directory().join(&name);
    let number = files.random().map_err(JournalError::io(&path, "draw a number for"))?;
    let output = files.create(&name).map_err(JournalError::io(&path, "create"))?;
    output.append(&[&segment::header(first, number)]).map_err(JournalError::io(&path, "write"))?;
    output.sync().map_err(JournalError::io(&path, "sync"))?;
    snapshot::sync_names(files)?;
    let twin = output.twin().map_err(JournalError::io(&path, "open"))?;
    Ok(Current { output: Arc::from(output), twin: Arc::from(twin), path, number })
}
