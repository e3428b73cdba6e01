//! Who appends what waits: whoever hands over, while that is quick and the level does not ask for the disk; else the journal's own thread.
#![allow(clippy::unwrap_used)]

mod support;

use iii_fast_core::log::{Progress, Receipt};
use iii_fast_journal::{Options, SyncLevel};
use std::time::{Duration, Instant};
use support::disk::Disk;
use support::{Engine, options};

/// Longer than an append that only copies, or waits for the processor.
const SLOW: Duration = Duration::from_millis(20);
/// How long the thread has it to itself then.
const SLOW_FOR: Duration = Duration::from_secs(1);

fn start(sync: SyncLevel) -> (Disk, Engine) {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), Options { segment_bytes: 1 << 20, ..options(sync) }).unwrap();
    assert!(engine.set_and_wait("s", "first", "1"));
    (disk, engine)
}

/// Whether the next write is acknowledged when it is handed over, by an append on this thread.
fn appends_here(disk: &Disk, engine: &Engine) -> bool {
    let position = engine.set("s", "k", "1").unwrap();
    let progress = engine.log.progress(Receipt { position, durable: false });
    let here = disk.last_appended_by() == Some(std::thread::current().id());
    assert_eq!(engine.wait(position, false), Progress::Acknowledged);
    here && progress == Progress::Acknowledged
}

/// The journal's thread may be at it by chance.
fn appends_here_some_time(disk: &Disk, engine: &Engine) -> bool {
    let deadline = Instant::now() + support::DEADLINE;
    while Instant::now() < deadline {
        if appends_here(disk, engine) {
            return true;
        }
    }
    false
}

#[test]
fn whoever_hands_over_appends_unless_the_disk_is_waited_for() {
    for sync in [SyncLevel::Interval, SyncLevel::Never] {
        let (disk, engine) = start(sync);
        assert!(appends_here_some_time(&disk, &engine), "{sync:?}");
    }
    let (disk, engine) = start(SyncLevel::Always);
    assert!((0..100).all(|_| !appends_here(&disk, &engine)));
}

#[test]
fn after_a_slow_append_nobody_else_is_held_up_for_a_while() {
    let (disk, engine) = start(SyncLevel::Never);
    disk.slow_down(SLOW);
    // Whoever appends finds that out.
    appends_here(&disk, &engine);
    let since = Instant::now();
    disk.slow_down(Duration::ZERO);
    while since.elapsed() < SLOW_FOR / 2 {
        let here = appends_here(&disk, &engine);
        assert!(!here || since.elapsed() >= SLOW_FOR - SLOW);
    }
    assert!(appends_here_some_time(&disk, &engine), "for ever");
}

#[test]
fn while_the_disk_stays_slow_nobody_else_tries() {
    let (disk, engine) = start(SyncLevel::Never);
    disk.slow_down(SLOW);
    // Whoever appends finds that out.
    appends_here(&disk, &engine);
    let since = Instant::now();
    while since.elapsed() < SLOW_FOR + SLOW_FOR / 2 {
        assert!(!appends_here(&disk, &engine), "after {:?}", since.elapsed());
        // The thread has acknowledged, and lets go a moment later.
        let acknowledged = Instant::now();
        while acknowledged.elapsed() < SLOW / 10 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_is_large_is_left_to_the_thread() {
    let (disk, engine) = start(SyncLevel::Never);
    assert!(appends_here_some_time(&disk, &engine));
    let value = format!("\"{}\"", "x".repeat(300 << 10));
    for _ in 0..5 {
        let position = engine.set("s", "large", &value).unwrap();
        assert_eq!(engine.wait(position, false), Progress::Acknowledged);
        assert_ne!(disk.last_appended_by(), Some(std::thread::current().id()));
    }
}

#[test]
fn after_the_end_nobody_appends() {
    let (disk, engine) = start(SyncLevel::Never);
    let log = engine.log.clone();
    let state = engine.state.clone();
    engine.stop();
    let contents = disk.contents();
    let _ = state.set("s", "late", iii_fast_core::state::Stored::new("1"), None);
    log.hand_over();
    assert_eq!(disk.contents(), contents);
}
