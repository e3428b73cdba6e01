//! A disk that fails at every operation in turn: nothing is acknowledged that a crash then takes away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::log::Progress;
use iii_fast_journal::files::Files;
use iii_fast_journal::{JournalError, Options, SyncLevel};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use support::disk::{BROKEN, Disk, Fault, Kind, Loss, NO_SPACE, PANIC};
use support::{Contents, Engine, contents, options, recover};

/// What there is after each position.
type Truths = BTreeMap<u64, Contents>;

const WRITES: usize = 24;

/// Writes one after the other, every third to the disk; at the end a snapshot has been tried. Until the first refusal.
fn write_some(engine: &Engine, truths: &mut Truths) {
    for i in 0..WRITES {
        let position = match i % 6 {
            5 => engine.delete("s", &format!("k{}", (i - 1) % 7)),
            _ => engine.set("s", &format!("k{}", i % 7), &format!("{i}")),
        };
        let Some(position) = position else { break };
        truths.insert(position, engine.contents());
        if engine.wait(position, i % 3 == 0) == Progress::Failed {
            break;
        }
    }
    let deadline = Instant::now() + support::DEADLINE;
    loop {
        let stats = engine.journal.stats();
        assert!(Instant::now() < deadline, "{stats:?}");
        if stats.snapshots > 0 || stats.snapshot_failure.is_some() || stats.failure.is_some() {
            return;
        }
        std::thread::yield_now();
    }
}

/// After a failure everything is refused, and nothing more acknowledged.
fn check_refusals(engine: &Engine, fault: Fault) {
    let Some(failure) = engine.log.failure() else { return };
    let expected = if fault.error == NO_SPACE { "No space left on device" } else { "Input/output error" };
    assert!(failure.contains("memory/journal-") || failure.contains("memory:"), "{failure}");
    assert!(failure.contains(expected), "{failure}");
    let acknowledged = engine.log.acknowledged();
    let error = engine.state.delete("s", "k1").unwrap_err();
    assert_eq!(error.code, "STORAGE_FAILED");
    assert!(engine.set("s", "late", "1").is_none());
    engine.log.hand_over();
    assert_eq!(engine.log.acknowledged(), acknowledged);
    assert_eq!(engine.journal.stats().failure.as_deref(), Some(failure));
}

/// Every crash that can follow leaves what was promised, and nothing that was not written.
fn check_crashes(disk: &Disk, truths: &Truths, acknowledged: u64, synced: u64, seed: u64) {
    let losses = [(Loss::Nothing, acknowledged), (Loss::Unsynced, synced), (Loss::Some(seed), synced)];
    for (loss, promised) in losses {
        let files: Arc<dyn Files> = Arc::new(disk.crash(loss));
        let (state, recovered) =
            recover(&files, &options(SyncLevel::Always)).unwrap_or_else(|error| panic!("{loss:?}: {error}"));
        assert!(recovered.last >= promised, "{loss:?}: up to {} of {promised}", recovered.last);
        assert_eq!(Some(&contents(&state)), truths.get(&recovered.last), "{loss:?} at {}", recovered.last);
    }
}

/// Makes the `nth` operation fail; whether there is one.
fn fail_at(level: SyncLevel, fault: Fault) -> bool {
    let mut truths = Truths::from([(0, Contents::new())]);
    let disk = Disk::default();
    // What was there before, unsynced at the end: the failing start begins with that.
    let engine = Engine::start(disk.clone(), Options { segment_bytes: 1 << 20, ..options(level) }).unwrap();
    for i in 0..3 {
        let position = engine.set("before", &format!("k{i}"), "1").unwrap();
        truths.insert(position, engine.contents());
        assert_eq!(engine.wait(position, false), Progress::Acknowledged);
    }
    let (acknowledged, disk) = (engine.log.acknowledged(), disk.crash(Loss::Nothing));
    drop(engine);

    disk.fail(fault);
    match Engine::start(disk.clone(), options(level)) {
        Err(error) => {
            assert!(matches!(error, JournalError::Io { .. }), "{error}");
            check_crashes(&disk, &truths, acknowledged, acknowledged, fault.nth as u64);
        }
        Ok(engine) => {
            assert_eq!(engine.recovered.last, acknowledged);
            write_some(&engine, &mut truths);
            check_refusals(&engine, fault);
            let (acknowledged, synced) = (engine.log.acknowledged(), engine.log.synced());
            check_crashes(&disk, &truths, acknowledged, synced, fault.nth as u64);
            drop(engine);
            check_crashes(&disk, &truths, acknowledged, synced, fault.nth as u64);
        }
    }
    disk.has_failed()
}

/// All operations in turn; at least `least`.
fn fail_everywhere(level: SyncLevel, kind: Option<Kind>, error: i32, least: usize) {
    for forever in [false, true] {
        let mut nth = 1;
        while fail_at(level, Fault { kind, nth, error, forever }) {
            nth += 1;
        }
        assert!(nth > least, "only {nth} operations");
    }
}

#[test]
fn always_survives_a_failure_of_every_operation() {
    fail_everywhere(SyncLevel::Always, None, NO_SPACE, 60);
}

#[test]
fn interval_survives_a_failure_of_every_operation() {
    fail_everywhere(SyncLevel::Interval, None, BROKEN, 50);
}

#[test]
fn never_survives_a_failure_of_every_operation() {
    fail_everywhere(SyncLevel::Never, None, BROKEN, 50);
}

#[test]
fn every_sync_may_fail() {
    fail_everywhere(SyncLevel::Always, Some(Kind::Sync), BROKEN, 25);
}

#[test]
fn a_snapshot_that_fails_is_no_failure_of_the_journal() {
    for kind in [Kind::Rename, Kind::Remove] {
        let disk = Disk::default();
        let engine =
            Engine::start(disk.clone(), Options { history_bytes_max: 0, ..options(SyncLevel::Always) }).unwrap();
        disk.fail(Fault { kind: Some(kind), nth: 1, error: NO_SPACE, forever: false });
        // After a failure the next one is tried a segment later: it is seen here for certain.
        let mut failure = None;
        for i in 0.. {
            assert!(engine.set_and_wait("s", &format!("k{}", i % 7), "2"));
            let stats = engine.journal.stats();
            failure = failure.or(stats.snapshot_failure.clone());
            if stats.snapshots > 0 && stats.snapshot_failure.is_none() {
                break;
            }
        }
        assert!(failure.is_some_and(|failure| failure.contains("No space left on device")));
        assert_eq!(engine.log.failure(), None);
        let truth = engine.stop();
        let files: Arc<dyn Files> = Arc::new(disk.crash(Loss::Unsynced));
        let (state, _) = recover(&files, &options(SyncLevel::Always)).unwrap();
        assert_eq!(contents(&state), truth);
    }
}

#[test]
fn a_durable_write_reaches_the_disk_whatever_the_level_is() {
    for level in [SyncLevel::Interval, SyncLevel::Never] {
        let disk = Disk::default();
        let options = Options { sync_interval: support::DEADLINE * 60, ..options(level) };
        let engine = Engine::start(disk.clone(), options.clone()).unwrap();
        for i in 0..50 {
            let position = engine.set("s", &format!("k{i}"), "1").unwrap();
            assert_eq!(engine.wait(position, true), Progress::Acknowledged);
            assert!(engine.log.synced() >= position);
            let files: Arc<dyn Files> = Arc::new(disk.crash(Loss::Unsynced));
            let (state, recovered) = recover(&files, &options).unwrap();
            assert_eq!((contents(&state), recovered.last), (engine.contents(), position));
        }
    }
}

#[test]
fn the_interval_brings_writes_to_the_disk() {
    let engine = Engine::start(Disk::default(), options(SyncLevel::Interval)).unwrap();
    let position = engine.set("s", "k", "1").unwrap();
    assert_eq!(engine.wait(position, false), Progress::Acknowledged);
    let deadline = Instant::now() + support::DEADLINE;
    while engine.log.synced() < position {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn a_panic_leaves_nobody_waiting() {
    // Appending is the writer's, syncing a thread of its own for this level, renaming the snapshot's.
    for (kind, failure) in [(Kind::Append, "writing panicked"), (Kind::Sync, "syncing panicked"), (Kind::Rename, "")] {
        let disk = Disk::default();
        let engine = Engine::start(disk.clone(), options(SyncLevel::Never)).unwrap();
        disk.fail(Fault { kind: Some(kind), nth: 1, error: PANIC, forever: false });
        let mut snapshot_failure = None;
        let deadline = Instant::now() + support::DEADLINE;
        for i in 0.. {
            assert!(Instant::now() < deadline, "{kind:?} was not reached");
            let Some(position) = engine.set("s", &format!("k{}", i % 7), "1") else { break };
            if engine.wait(position, kind == Kind::Sync) == Progress::Failed {
                break;
            }
            snapshot_failure = snapshot_failure.or(engine.journal.stats().snapshot_failure);
            if snapshot_failure.is_some() {
                break;
            }
        }
        assert_eq!(engine.log.failure().unwrap_or_default(), failure);
        assert_eq!(snapshot_failure.is_some(), kind == Kind::Rename, "{kind:?}");
        assert_eq!(engine.set_and_wait("s", "late", "1"), kind == Kind::Rename, "{kind:?}");
    }
}

#[test]
fn after_a_failure_nothing_waits_that_would_hold_its_writers_back() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    disk.fail(Fault { kind: Some(Kind::Append), nth: 1, error: NO_SPACE, forever: true });
    let positions: Vec<u64> = (0..100).filter_map(|i| engine.set("s", &format!("k{i}"), "1")).collect();
    assert!(positions.iter().all(|&position| engine.wait(position, false) == Progress::Failed));
    let deadline = Instant::now() + support::DEADLINE;
    while engine.log.waiting_bytes() > 0 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}
