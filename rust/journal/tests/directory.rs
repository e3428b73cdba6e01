//! Directories of the operating system: who may use them, what a start does to them, verifying and copying while an engine runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_journal::backup::backup;
use iii_fast_journal::verify::verify;
use iii_fast_journal::{JournalError, Options, SyncLevel};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{Engine, options};
use tempfile::TempDir;

fn refusal(directory: &Path) -> JournalError {
    Engine::start_in(directory, options(SyncLevel::Always)).err().expect("a refusal")
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes until there has been a snapshot, and some more behind it; ends in an orderly way.
fn fill(directory: &Path) -> support::Contents {
    let engine = Engine::start_in(directory, Options { history_bytes_max: 0, ..options(SyncLevel::Always) }).unwrap();
    for i in 0.. {
        assert!(engine.set_and_wait(["a", "b"][i % 2], &format!("k{}", i % 13), &format!("{i}")));
        if engine.journal.stats().snapshots > 0 {
            break;
        }
    }
    engine.stop();
    let engine = Engine::start_in(directory, support::one_segment(SyncLevel::Always)).unwrap();
    for i in 0..3 {
        assert!(engine.set_and_wait("c", &format!("k{i}"), "\"last\""));
    }
    engine.stop()
}

#[test]
fn a_directory_is_made_with_what_is_above_it_and_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new().unwrap();
    let directory = home.path().join("a/b/data");
    let engine = Engine::start_in(&directory, options(SyncLevel::Always)).unwrap();
    assert!(engine.recovered.clean && engine.recovered.last == 0);
    assert!(engine.set_and_wait("s", "k", "1"));
    drop(engine);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(names(&directory), ["journal-00000000000000000001.log", "lock"]);
}

#[test]
fn two_engines_cannot_use_one_directory() {
    let home = TempDir::new().unwrap();
    let engine = Engine::start_in(home.path(), options(SyncLevel::Always)).unwrap();
    let error = refusal(home.path());
    assert!(matches!(&error, JournalError::InUse { directory } if directory == home.path()));
    assert!(error.to_string().contains("in use by another engine"), "{error}");
    assert!(engine.set_and_wait("s", "k", "1"), "the first one goes on");
    drop(engine);
    Engine::start_in(home.path(), options(SyncLevel::Always)).unwrap();
}

#[test]
fn a_path_that_cannot_be_a_directory_is_refused() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    for directory in [file.clone(), file.join("data"), PathBuf::from("/proc/no/such")] {
        let error = refusal(&directory);
        assert!(matches!(error, JournalError::Io { .. }), "{error}");
        assert!(error.to_string().starts_with(&directory.display().to_string()), "{error}");
    }
}

#[test]
fn what_was_not_finished_is_removed_and_what_is_not_ours_stays() {
    let home = TempDir::new().unwrap();
    let truth = fill(home.path());
    for name in ["snapshot-00000007-00000.snap.tmp", "notes.txt", "journal-1.log", "snapshot-1-1.snap"] {
        fs::write(home.path().join(name), "x").unwrap();
    }
    let engine = Engine::start_in(home.path(), options(SyncLevel::Always)).unwrap();
    assert_eq!(engine.contents(), truth);
    let names = names(home.path());
    assert!(!names.contains(&"snapshot-00000007-00000.snap.tmp".to_owned()));
    for name in ["notes.txt", "journal-1.log", "snapshot-1-1.snap"] {
        assert!(names.contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn positions_go_on_after_every_restart() {
    let home = TempDir::new().unwrap();
    let mut last = 0;
    for i in 0..5 {
        let engine = Engine::start_in(home.path(), options(SyncLevel::Always)).unwrap();
        assert_eq!(engine.recovered.last, last);
        let position = engine.set("s", &format!("k{i}"), "1").unwrap();
        assert_eq!(position, last + 1);
        last = position;
        engine.stop();
    }
}

#[test]
fn damage_is_refused_with_what_can_be_done() {
    let home = TempDir::new().unwrap();
    fill(home.path());
    let snapshot = names(home.path()).into_iter().find(|name| name.ends_with(".snap")).unwrap();
    let path = home.path().join(snapshot);
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let before = names(home.path());
    let text = refusal(home.path()).to_string();
    let start = format!("{}: damaged at byte 48: the checksum is wrong; ", path.display());
    assert!(text.starts_with(&start), "{text}");
    for help in [&format!("iii-fast verify {}", home.path().display()), "iii-fast restore", "iii-fast serve --salvage"]
    {
        assert!(text.contains(help), "{text}");
    }
    assert_eq!(names(home.path()), before);
}

#[test]
fn verifying_tells_everything_and_changes_nothing() {
    let home = TempDir::new().unwrap();
    let truth = fill(home.path());
    let (mut calls, mut end) = (0, (0, 0));
    let report = verify(home.path(), &mut |done, total| {
        calls += 1;
        end = (done, total);
        ControlFlow::Continue(())
    })
    .unwrap();
    let files: Vec<String> = names(home.path()).into_iter().filter(|name| name != "lock").collect();
    let bytes: u64 = files.iter().map(|name| fs::metadata(home.path().join(name)).unwrap().len()).sum();
    assert_eq!((report.files, calls, end), (files.len() as u64, files.len(), (bytes, bytes)));
    assert!(report.entries > 0 && report.commits >= 3 && report.damages.is_empty() && report.torn_bytes == 0);
    assert!(report.last >= truth.values().map(|entry| Some(entry.1)).max().unwrap());

    // Two places in different files, and a torn end.
    let mut damaged = Vec::new();
    for suffix in [".snap", ".log"] {
        let path = home.path().join(files.iter().find(|name| name.ends_with(suffix)).unwrap());
        let mut contents = fs::read(&path).unwrap();
        contents[60] ^= 1;
        fs::write(&path, contents).unwrap();
        damaged.push(path);
    }
    let last = home.path().join(files.iter().rfind(|name| name.ends_with(".log")).unwrap());
    let mut contents = fs::read(&last).unwrap();
    contents.extend_from_slice(&[0; 100]);
    fs::write(&last, contents).unwrap();
    let report = verify(home.path(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    for path in &damaged {
        assert!(report.damages.iter().any(|damage| damage.file == *path), "{report:?}");
    }
    assert_eq!(report.torn_bytes, 100);
    fs::remove_file(&damaged[0]).unwrap();
    let report = verify(home.path(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert!(report.damages.iter().any(|damage| damage.file == home.path()), "{report:?}");
    assert!(verify(&home.path().join("absent"), &mut |_, _| ControlFlow::Continue(())).is_err());
}

#[test]
fn salvaging_keeps_what_is_intact_and_writes_down_the_rest() {
    let home = TempDir::new().unwrap();
    let truth = fill(home.path());
    let before = names(home.path());
    let path = home.path().join(before.iter().rfind(|name| name.ends_with(".log")).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(6).rposition(|window| window == b"\"last\"").unwrap();
    bytes[at + 1] = b'X';
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(refusal(home.path()), JournalError::Damaged { .. }));

    let salvage = Options { salvage: true, ..options(SyncLevel::Always) };
    let engine = Engine::start_in(home.path(), salvage.clone()).unwrap();
    let mut kept = truth.clone();
    kept.remove(&("c".to_owned(), "k2".to_owned()));
    assert_eq!(engine.contents(), kept);
    let salvaged = engine.recovered.salvaged.clone().unwrap();
    assert_eq!(salvaged.dropped.len(), 1);
    let dropped = fs::read(salvaged.directory.join("dropped.bin")).unwrap();
    let line_end = dropped.iter().position(|&byte| byte == b'\n').unwrap();
    let line = std::str::from_utf8(&dropped[..line_end]).unwrap();
    let piece = &salvaged.dropped[0];
    let (offset, len) = (piece.offset as usize, piece.bytes as usize);
    let expected = format!(
        "{{\"file\":\"{}\",\"offset\":{offset},\"bytes\":{len},\"reason\":\"the checksum is wrong\"}}",
        path.file_name().unwrap().to_str().unwrap()
    );
    assert_eq!(line, expected);
    assert_eq!(&dropped[line_end + 1..], [&bytes[offset..offset + len], b"\n"].concat());
    let moved = names(&salvaged.directory);
    assert!(before.iter().filter(|name| *name != "lock").all(|name| moved.contains(name)), "{moved:?}");

    // From then on it is a directory like any other; positions are larger than all before.
    let position = engine.set("s", "k", "1").unwrap();
    assert!(position > truth.values().map(|entry| entry.1).max().unwrap() + 1);
    let kept = engine.stop();
    let engine = Engine::start_in(home.path(), salvage).unwrap();
    assert_eq!((engine.contents(), &engine.recovered.salvaged), (kept, &None));
    drop(engine);
    assert_eq!(verify(home.path(), &mut |_, _| ControlFlow::Continue(())).unwrap().damages, []);
}

#[test]
fn a_copy_of_a_running_engine_can_be_started_from() {
    let home = TempDir::new().unwrap();
    let source = home.path().join("data");
    // So small that rounds and removals go on all the time.
    let running = Options { history_bytes_max: 0, segment_bytes: 2_000, ..options(SyncLevel::Always) };
    let engine = Engine::start_in(&source, running).unwrap();
    let (acknowledged, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..u64::MAX {
                assert!(engine.set_and_wait("s", &format!("k{}", i % 50), &format!("{i}")));
                acknowledged.store(i, Ordering::SeqCst);
                if ended.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        for i in 0..10 {
            let promised = acknowledged.load(Ordering::SeqCst);
            let target = home.path().join(format!("copy-{i}"));
            let report = backup(&source, &target, &mut going_on).unwrap();
            assert_eq!(report.damages, []);
            let verified = verify(&source, &mut |_, _| ControlFlow::Continue(())).unwrap();
            assert_eq!(verified.damages, []);
            let copy = Engine::start_in(&target, options(SyncLevel::Always)).unwrap();
            assert!(copy.recovered.torn.is_none());
            let newest = copy.contents().values().map(|(value, ..)| value.parse::<u64>().unwrap()).max().unwrap_or(0);
            assert!(newest >= promised, "{newest} of {promised}");
            assert!(copy.set_and_wait("s", "more", "0"));
        }
        ended.store(true, Ordering::SeqCst);
    });
    assert!(names(home.path()).iter().all(|name| !name.contains("partial")));
}

fn going_on(done: u64, total: u64) -> ControlFlow<()> {
    assert!(done <= total);
    ControlFlow::Continue(())
}

#[test]
fn what_is_interrupted_ends_at_once_and_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let source = home.path().join("data");
    fill(&source);
    let before = names(&source);
    let mut looks = 0;
    backup(&source, &home.path().join("whole"), &mut |_, _| {
        looks += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(looks > 4);
    for last in 1..=looks {
        let mut calls = 0;
        let target = home.path().join("deep/deeper/copy");
        let stopped = backup(&source, &target, &mut |_, _| {
            calls += 1;
            if calls == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(JournalError::Interrupted { .. })), "{stopped:?}");
        assert_eq!(calls, last);
        assert_eq!(names(home.path()), ["data", "whole"]);
    }
    let stopped = verify(&source, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(JournalError::Interrupted { .. })), "{stopped:?}");
    assert_eq!(names(&source), before);
}

#[test]
fn a_long_file_is_not_read_to_its_end_before_the_next_look() {
    let home = TempDir::new().unwrap();
    // One segment, and no snapshot that could take its place.
    let options = Options { segment_bytes: 1 << 30, ..options(SyncLevel::Never) };
    let engine = Engine::start_in(home.path(), options).unwrap();
    let value = format!("\"{}\"", "x".repeat(100_000));
    for i in 0..80 {
        engine.set("s", &format!("k{i}"), &value).unwrap();
    }
    engine.stop();
    let mut looks = 0;
    verify(home.path(), &mut |_, _| {
        looks += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    let files = names(home.path()).len() - 1;
    assert!(looks >= files + 7, "{looks} looks at 8 MB in {files} files");
}

#[test]
fn a_place_that_cannot_be_made_is_told_as_it_is() {
    let home = TempDir::new().unwrap();
    let source = home.path().join("data");
    fill(&source);
    // Nobody can make a directory there, and the system says so with "not found".
    let refused = backup(&source, Path::new("/proc/copy"), &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(JournalError::Io { .. })), "{refused:?}");
}

#[test]
fn a_copy_is_whole_or_not_there() {
    let home = TempDir::new().unwrap();
    let source = home.path().join("data");
    let truth = fill(&source);
    let target = home.path().join("copy");
    fs::create_dir(&target).unwrap();
    backup(&source, &target, &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(Engine::start_in(&target, options(SyncLevel::Always)).unwrap().contents(), truth);
    assert!(matches!(
        backup(&source, &target, &mut |_, _| ControlFlow::Continue(())),
        Err(JournalError::Occupied { .. })
    ));
    assert!(matches!(
        backup(&source, &target.join("lock"), &mut |_, _| ControlFlow::Continue(())),
        Err(JournalError::Occupied { .. })
    ));

    let snapshot = source.join(names(&source).into_iter().find(|name| name.ends_with(".snap")).unwrap());
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[60] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    let Err(JournalError::Damaged { file, offset, .. }) =
        backup(&source, &home.path().join("other"), &mut |_, _| ControlFlow::Continue(()))
    else {
        panic!("copied damage")
    };
    assert_eq!((file, offset), (snapshot, 48));
    assert_eq!(names(home.path()), ["copy", "data"]);
    assert!(
        backup(&home.path().join("absent"), &home.path().join("other"), &mut |_, _| ControlFlow::Continue(())).is_err()
    );
    assert_eq!(names(home.path()), ["copy", "data"]);
}
