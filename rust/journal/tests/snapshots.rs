//! Snapshots while many threads write, expire and remove: what a start finds is the map as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::log::Progress;
use iii_fast_core::state::{Stored, TransactAction, TransactOp, Transaction};
use iii_fast_journal::files::Files;
use iii_fast_journal::{Options, SyncLevel};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use support::disk::{BROKEN, Disk, Fault, Kind, Loss, Random};
use support::{DEADLINE, Engine, contents, options, recover};

const THREADS: u64 = 3;

fn small() -> Options {
    Options { segment_bytes: 4 << 10, history_bytes_max: 2 << 10, ..options(SyncLevel::Never) }
}

/// One write of any sort; its position.
fn write_any(engine: &Engine, random: &mut Random, i: usize) -> Option<u64> {
    let (scope, key) = (["a", "b", "c"][random.below(3)], format!("k{}", random.below(200)));
    let value = Stored::new(&format!("[{i},\"{}\"]", "x".repeat(random.below(40))));
    let state = &engine.state;
    let position = match random.below(20) {
        0..=11 => state.set(scope, &key, value, None).unwrap().position,
        12 => state.set(scope, &key, value, Some(1_000 + random.below(1_000) as u64)).unwrap().position,
        13..=16 => state.delete(scope, &key).unwrap().position,
        17 if random.below(20) == 0 => state.delete_scope(scope).unwrap().position,
        18 => {
            state.advance_clock(i as u64);
            state.expire_due(10).position
        }
        _ => {
            let op = |scope: &'static str, action| TransactOp { scope: scope.into(), key: key.clone().into(), action };
            let set = TransactAction::Set { value, expires_at: None };
            let ops = vec![op("a", set), op("b", TransactAction::Delete)];
            state.transact(&Transaction { checks: Vec::new(), ops }).unwrap().position
        }
    };
    engine.log.hand_over();
    position
}

#[test]
fn the_map_comes_back_as_it_was() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), small()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let engine = &engine;
            scope.spawn(move || {
                let mut random = Random(thread);
                let mut i = 0;
                while i < 3_000 || engine.journal.stats().snapshots < 5 {
                    let position = write_any(engine, &mut random, i);
                    if i % 16 == 0 {
                        position.inspect(|&position| assert_eq!(engine.wait(position, false), Progress::Acknowledged));
                    }
                    i += 1;
                }
            });
        }
    });
    assert_eq!(engine.journal.stats().snapshot_failure, None);
    let now = engine.state.now_ms();
    let truth = engine.stop();
    let files: Arc<dyn Files> = Arc::new(disk.crash(Loss::Unsynced));
    let (state, recovered) = recover(&files, &small()).unwrap();
    state.advance_clock(now);
    assert!(recovered.entries > 0 && recovered.clean);
    let mut found = contents(&state);
    // What has expired and was not removed yet is there on one side as on the other, and seen on neither.
    found.retain(|_, (.., expires_at)| expires_at.is_none_or(|at| at > now));
    assert_eq!(found, truth);
    // Old segments and generations are gone.
    let names: Vec<String> = disk.contents().into_keys().collect();
    assert!(names.iter().filter(|name| name.ends_with(".snap")).all(|name| name.starts_with("snapshot-00000001")));
    assert!(!names.contains(&iii_fast_journal::segment::name(1)), "{names:?}");
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_any_time() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), Options { sync: SyncLevel::Always, ..small() }).unwrap();
    let acknowledged: Vec<AtomicU64> = (0..THREADS).map(AtomicU64::new).map(|_| AtomicU64::new(0)).collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (thread, acknowledged) in acknowledged.iter().enumerate() {
            let (engine, ended) = (&engine, &ended);
            scope.spawn(move || {
                for i in 1.. {
                    // The same number under two keys, at one instant.
                    let op = |scope: &'static str| TransactOp {
                        scope: scope.into(),
                        key: format!("{thread}").into(),
                        action: TransactAction::Set { value: Stored::new(&format!("{i}")), expires_at: None },
                    };
                    let transaction = Transaction { checks: Vec::new(), ops: vec![op("a"), op("b")] };
                    let position = engine.state.transact(&transaction).unwrap().position.unwrap();
                    assert_eq!(engine.wait(position, false), Progress::Acknowledged);
                    acknowledged.store(i, Ordering::SeqCst);
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        let mut crashes = 0;
        while crashes < 200 || engine.journal.stats().snapshots < 3 {
            let promised: Vec<u64> = acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect();
            let loss = if crashes % 2 == 0 { Loss::Unsynced } else { Loss::Some(crashes) };
            let files: Arc<dyn Files> = Arc::new(disk.crash(loss));
            let (state, _) = recover(&files, &small()).unwrap_or_else(|error| panic!("{loss:?}: {error}"));
            for (thread, promised) in promised.into_iter().enumerate() {
                let number = |scope| {
                    let stored = state.get(scope, &format!("{thread}"));
                    stored.map_or(0, |stored| std::str::from_utf8(stored.bytes()).unwrap().parse::<u64>().unwrap())
                };
                assert!(number("a") >= promised, "{} of {promised}", number("a"));
                assert_eq!(number("a"), number("b"), "half a commit");
            }
            crashes += 1;
        }
        ended.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_new_process_begins_a_new_generation_and_removes_the_old_one() {
    let disk = Disk::default();
    let mut truth = None;
    for generation in 1..=3 {
        let engine =
            Engine::start(disk.clone(), Options { history_bytes_max: 0, ..options(SyncLevel::Always) }).unwrap();
        assert!(truth.is_none_or(|truth| truth == engine.contents()));
        for i in 0.. {
            assert!(engine.set_and_wait("s", &format!("k{}", i % 5), &format!("{i}")));
            if engine.journal.stats().snapshots > 0 {
                break;
            }
        }
        truth = Some(engine.stop());
        let names: Vec<String> = disk.contents().into_keys().collect();
        let snapshots: Vec<&String> = names.iter().filter(|name| name.ends_with(".snap")).collect();
        assert_eq!(snapshots.len(), 2);
        assert!(snapshots.iter().all(|name| name.starts_with(&format!("snapshot-{generation:08}-"))), "{snapshots:?}");
    }
}

#[test]
fn a_file_that_could_not_be_removed_is_tried_again_with_the_next_round() {
    let disk = Disk::default();
    let keep_nothing = || Options { history_bytes_max: 0, ..options(SyncLevel::Always) };
    let write_until = |engine: &Engine, is_over: &dyn Fn() -> bool| {
        while !is_over() {
            assert!(engine.set_and_wait("s", "k", "1"));
        }
    };
    let engine = Engine::start(disk.clone(), keep_nothing()).unwrap();
    write_until(&engine, &|| engine.journal.stats().snapshots > 0);
    engine.stop();
    // The first round of a process removes the parts of the one before, and then segments.
    for (kept, nth) in [("snapshot-00000001-00000.snap", 1), ("journal-", 3)] {
        let engine = Engine::start(disk.clone(), keep_nothing()).unwrap();
        let name = disk.contents().into_keys().find(|name| name.starts_with(kept)).unwrap();
        disk.fail(Fault { kind: Some(Kind::Remove), nth, error: BROKEN, forever: false });
        write_until(&engine, &|| disk.has_failed());
        // No other round begins before something is written.
        let deadline = Instant::now() + DEADLINE;
        while engine.journal.stats().snapshot_failure.is_none() {
            assert!(Instant::now() < deadline, "{:?}", engine.journal.stats());
            std::thread::yield_now();
        }
        let stats = engine.journal.stats();
        let failure = stats.snapshot_failure.unwrap();
        assert!(failure.contains(&format!("{name}: cannot remove: ")), "{failure}");
        let contents = disk.contents();
        assert!(contents.contains_key(&name));
        assert_eq!(stats.disk_bytes, contents.values().map(|data| data.len() as u64).sum::<u64>());
        write_until(&engine, &|| engine.journal.stats().snapshots > stats.snapshots);
        assert_eq!(engine.journal.stats().snapshot_failure, None);
        assert!(!disk.contents().contains_key(&name), "{name} is forgotten");
        disk.mend();
        engine.stop();
    }
}

#[test]
fn files_leave_the_cache_of_the_system_before_they_go() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), small()).unwrap();
    for i in 0.. {
        assert!(engine.set_and_wait("s", &format!("k{}", i % 5), &format!("{i}")));
        if engine.journal.stats().snapshots > 2 {
            break;
        }
    }
    // Parts were replaced twice, and segments removed.
    assert!(!disk.contents().contains_key("journal-00000000000000000001.log"), "{:?}", disk.contents().keys());
    assert_eq!(disk.gone_at_once(), [""; 0]);
    engine.stop();
}

#[test]
fn the_statistics_count_what_is_there() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    let bytes = || disk.contents().values().map(|data| data.len() as u64).sum::<u64>();
    assert_eq!(engine.journal.stats().disk_bytes, bytes());
    for i in 0..100 {
        assert!(engine.set_and_wait("s", &format!("k{i}"), "1"));
    }
    engine.wait_snapshots(1);
    let journal = engine.journal.clone();
    engine.stop();
    assert_eq!(journal.stats().disk_bytes, bytes());
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always));
    assert!(engine.is_err(), "the journal that has ended still has its lock");
    drop(journal);
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    assert_eq!(engine.journal.stats().disk_bytes, bytes());
}
