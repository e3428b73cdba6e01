//! An engine's state with its journal, on a disk in memory or in a directory, and what can be compared of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod disk;

use iii_fast_core::calls::Wake;
use iii_fast_core::log::{Log, Progress, Receipt};
use iii_fast_core::state::{Quotas, State, Stored};
use iii_fast_journal::files::{Directory, Files};
use iii_fast_journal::{Journal, JournalError, Options, Recovered, SyncLevel};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use disk::Disk;

pub const DEADLINE: Duration = Duration::from_secs(60);

/// Small segments and few parts, so that a few writes make many files.
pub fn options(sync: SyncLevel) -> Options {
    Options {
        directory: PathBuf::from("memory"),
        sync,
        sync_interval: Duration::from_millis(20),
        segment_bytes: 400,
        history_bytes_max: 1 << 20,
        salvage: false,
    }
}

/// Value, version, insertion number, expiry of every key.
pub type Contents = BTreeMap<(String, String), (String, u64, u64, Option<u64>)>;

#[derive(Default)]
struct Signal {
    turns: Mutex<u64>,
    changed: Condvar,
}

struct Signaller(Arc<Signal>);

impl Wake for Signaller {
    fn wake(&self) {
        *self.0.turns.lock().unwrap() += 1;
        self.0.changed.notify_all();
    }
}

/// A running engine; ends in an orderly way when dropped.
pub struct Engine {
    pub state: Arc<State>,
    pub log: Arc<Log>,
    pub journal: Arc<Journal>,
    pub recovered: Recovered,
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// What a start makes of the files; nothing is written behind it.
pub fn recover(files: &Arc<dyn Files>, options: &Options) -> Result<(Arc<State>, Recovered), JournalError> {
    let log = Arc::new(Log::new(options.history_bytes_max));
    let state = Arc::new(State::new(2, Quotas::default(), log.clone()));
    let (_, recovered) = Journal::open_with(files.clone(), options.clone(), &state, &log)?;
    Ok((state, recovered))
}

impl Engine {
    pub fn start(files: impl Files + 'static, options: Options) -> Result<Engine, JournalError> {
        let log = Arc::new(Log::new(options.history_bytes_max));
        let state = Arc::new(State::new(2, Quotas::default(), log.clone()));
        let (journal, recovered) = Journal::open_with(Arc::new(files), options, &state, &log)?;
        let signal = Arc::<Signal>::default();
        log.listen(Box::new(Signaller(signal.clone())));
        let (own, running) = (journal.clone(), state.clone());
        let thread = Some(std::thread::spawn(move || own.run(&running)));
        Ok(Engine { state, log, journal, recovered, signal, thread })
    }

    pub fn start_in(directory: &Path, options: Options) -> Result<Engine, JournalError> {
        Engine::start(Directory::new(directory), Options { directory: directory.to_owned(), ..options })
    }

    /// Writes without waiting; the position.
    pub fn set(&self, scope: &str, key: &str, value: &str) -> Option<u64> {
        let position = self.state.set(scope, key, Stored::new(value), None).ok()?.position;
        self.log.hand_over();
        position
    }

    pub fn delete(&self, scope: &str, key: &str) -> Option<u64> {
        let position = self.state.delete(scope, key).ok()?.position;
        self.log.hand_over();
        position
    }

    /// How it ends with what was written at `position`.
    pub fn wait(&self, position: u64, durable: bool) -> Progress {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = *self.signal.turns.lock().unwrap();
            match self.log.progress(Receipt { position, durable }) {
                Progress::Waiting => {}
                other => return other,
            }
            self.log.hand_over();
            let turns = self.signal.turns.lock().unwrap();
            drop(self.signal.changed.wait_timeout_while(turns, DEADLINE, |turns| *turns == seen).unwrap());
            assert!(Instant::now() < deadline, "position {position} was neither acknowledged nor refused");
        }
    }

    /// Writes and waits until it is acknowledged; false when it is not.
    pub fn set_and_wait(&self, scope: &str, key: &str, value: &str) -> bool {
        self.set(scope, key, value).is_some_and(|position| self.wait(position, false) == Progress::Acknowledged)
    }

    /// Waits for so many snapshots since the start.
    pub fn wait_snapshots(&self, count: u64) {
        let deadline = Instant::now() + DEADLINE;
        while self.journal.stats().snapshots < count {
            assert!(Instant::now() < deadline, "{:?}", self.journal.stats());
            std::thread::yield_now();
        }
    }

    pub fn contents(&self) -> Contents {
        contents(&self.state)
    }

    /// Ends in an orderly way.
    pub fn stop(mut self) -> Contents {
        self.journal.stop();
        self.thread.take().unwrap().join().unwrap();
        self.contents()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.journal.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn contents(state: &State) -> Contents {
    let mut found = Contents::new();
    for scope in state.list_groups() {
        let mut before = None;
        for key in state.list_keys(&scope, None) {
            let entry = state.entry(&scope, &key).unwrap();
            assert!(before < Some(entry.seq), "{scope}/{key} is out of order");
            before = Some(entry.seq);
            let value = String::from_utf8(entry.stored.bytes().to_vec()).unwrap();
            found.insert((scope.to_string(), key.to_string()), (value, entry.version, entry.seq, entry.expires_at));
        }
    }
    assert_eq!(found.len(), state.key_count());
    found
}

/// Files by name.
pub type FilesByName = BTreeMap<String, Vec<u8>>;

/// Some of everything: segments, a snapshot, deletes; each write acknowledged before the next. `after` sees the engine after each write.
pub fn write_some(engine: &Engine, mut after: impl FnMut(&Engine)) {
    for i in 0..40 {
        let value = format!("\"{}\"", "v".repeat(i % 7));
        assert!(engine.set_and_wait(["a", "b"][i % 2], &format!("k{}", i % 11), &value));
        after(engine);
        if i % 5 == 4 {
            let position = engine.delete("a", &format!("k{}", i % 11));
            assert!(position.is_none_or(|position| engine.wait(position, false) == Progress::Acknowledged));
            after(engine);
        }
    }
}

/// So large that no snapshot is made: only a start begins a segment.
pub fn one_segment(level: SyncLevel) -> Options {
    Options { segment_bytes: 1 << 20, ..options(level) }
}

/// A directory after an orderly end, and what is in it: a segment, which goes if there is no history, a snapshot, three segments.
pub fn orderly(history_bytes_max: usize) -> (FilesByName, Contents) {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), one_segment(SyncLevel::Always)).unwrap();
    write_some(&engine, |_| {});
    engine.stop();
    let engine = Engine::start(disk.clone(), Options { history_bytes_max, ..options(SyncLevel::Always) }).unwrap();
    engine.wait_snapshots(1);
    assert!(engine.set_and_wait("a", "k1", "1"));
    engine.stop();
    for i in 0..2 {
        let engine = Engine::start(disk.clone(), one_segment(SyncLevel::Always)).unwrap();
        assert!(engine.set_and_wait("c", &format!("k{i}"), "1"));
        assert!(
            engine.delete("b", &format!("k{i}")).is_some_and(|at| engine.wait(at, false) == Progress::Acknowledged)
        );
        if i == 1 {
            let truth = engine.stop();
            return (disk.contents(), truth);
        }
    }
    unreachable!()
}
