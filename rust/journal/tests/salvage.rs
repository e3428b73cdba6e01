//! Salvaging: whatever is damaged, the rest is kept, and a crash on the way costs nothing more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_journal::files::Files;
use iii_fast_journal::{JournalError, Options, Recovered, SyncLevel};
use std::sync::Arc;
use support::disk::{BROKEN, Disk, Fault, Loss};
use support::{Contents, FilesByName, contents, options, orderly, recover};

fn start(disk: &Disk, salvage: bool) -> Result<(Contents, Recovered), JournalError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (state, recovered) = recover(&files, &Options { salvage, ..options(SyncLevel::Always) })?;
    Ok((contents(&state), recovered))
}

fn flipped(contents: &FilesByName, name: &str, at: usize) -> FilesByName {
    let mut contents = contents.clone();
    contents.get_mut(name).unwrap()[at] ^= 0x55;
    contents
}

/// Keys that differ.
fn difference(found: &Contents, truth: &Contents) -> usize {
    let lost = truth.iter().filter(|(key, entry)| found.get(*key) != Some(entry)).count();
    lost + found.keys().filter(|key| !truth.contains_key(*key)).count()
}

#[test]
fn every_damaged_byte_costs_one_record_at_most() {
    let (contents, truth) = orderly(0);
    let mut salvaged = 0;
    for (name, bytes) in &contents {
        for at in 0..bytes.len() {
            let damaged = flipped(&contents, name, at);
            let disk = Disk::with(&damaged);
            let (found, recovered) = start(&disk, true).unwrap_or_else(|error| panic!("{name} at {at}: {error}"));
            // One record of a snapshot is all of a part here, and there are two.
            let most = if name.ends_with(".snap") { truth.len() } else { 1 };
            assert!(difference(&found, &truth) <= most && found.len() > 4, "{name} at {at}");
            if let Some(report) = recovered.salvaged {
                salvaged += 1;
                assert!(report.dropped.iter().any(|piece| piece.file == *name), "{name} at {at}: {report:?}");
                let now = disk.contents();
                let aside = report.directory.file_name().unwrap().to_str().unwrap();
                for (name, bytes) in &damaged {
                    assert_eq!(now.get(&format!("{aside}/{name}")), Some(bytes), "{name} was not set aside");
                }
                assert!(now.contains_key(&format!("{aside}/dropped.bin")));
            }
            // Done once: the directory is whole then.
            let (again, recovered) = start(&disk, false).unwrap();
            assert_eq!((again, recovered.salvaged), (found, None), "{name} at {at}");
        }
    }
    assert!(salvaged > 800, "{salvaged}");
}

#[test]
fn missing_files_are_salvaged_too() {
    let (contents, truth) = orderly(0);
    for name in contents.keys() {
        let mut without = contents.clone();
        without.remove(name);
        let disk = Disk::with(&without);
        let (found, recovered) = start(&disk, true).unwrap();
        if found != truth {
            assert!(recovered.salvaged.is_some() || Some(name) == contents.keys().rfind(|name| name.ends_with(".log")));
        }
        assert_eq!(start(&disk, false).unwrap().0, found);
    }
}

#[test]
fn nothing_is_salvaged_where_nothing_is_wrong() {
    let (contents, truth) = orderly(0);
    let disk = Disk::with(&contents);
    let (found, recovered) = start(&disk, true).unwrap();
    assert_eq!((found, recovered.salvaged), (truth, None));
    assert!(contents.keys().all(|name| disk.contents().contains_key(name)));
}

#[test]
fn a_crash_while_salvaging_costs_nothing_more() {
    let (contents, _) = orderly(0);
    let last = contents.keys().rfind(|name| name.ends_with(".log")).unwrap().clone();
    let damaged = flipped(&contents, &last, 70);
    let kept = start(&Disk::with(&damaged), true).unwrap().0;
    let mut nth = 0;
    loop {
        nth += 1;
        let disk = Disk::with(&damaged);
        disk.fail(Fault { kind: None, nth, error: BROKEN, forever: true });
        let result = start(&disk, true);
        if !disk.has_failed() {
            break;
        }
        assert!(matches!(result, Err(JournalError::Io { .. })), "operation {nth}");
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some(nth as u64), Loss::Some(1000 + nth as u64)] {
            let crashed = disk.crash(loss);
            match start(&crashed, false) {
                Ok((found, _)) => assert_eq!(found, kept, "operation {nth}, {loss:?}"),
                Err(JournalError::Damaged { .. } | JournalError::Missing { .. }) => {}
                Err(other) => panic!("operation {nth}, {loss:?}: {other}"),
            }
            assert_eq!(start(&disk.crash(loss), true).unwrap().0, kept, "operation {nth}, {loss:?}");
        }
    }
    assert!(nth > 20, "{nth}");
}
