//! Files that are cut, flipped or gone: the next start has the truth, cuts off what was never promised, or refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::log::Progress;
use iii_fast_core::state::Stored;
use iii_fast_journal::files::Files;
use iii_fast_journal::segment::HEADER_BYTES;
use iii_fast_journal::{JournalError, Options, SyncLevel};
use std::sync::Arc;
use support::disk::{Disk, Loss};
use support::{Contents, Engine, FilesByName, contents, one_segment, options, orderly, recover, write_some};

fn start(files: &FilesByName) -> Result<(Contents, iii_fast_journal::Recovered), JournalError> {
    let files: Arc<dyn Files> = Arc::new(Disk::with(files));
    recover(&files, &options(SyncLevel::Always)).map(|(state, recovered)| (contents(&state), recovered))
}

/// A mark with its record.
const MARK_BYTES: u64 = 36;

/// The number that was drawn for a segment.
fn number_of(segment: &[u8]) -> u64 {
    u64::from_le_bytes(segment[28..36].try_into().unwrap())
}

fn last_segment(contents: &FilesByName) -> String {
    contents.keys().rfind(|name| name.ends_with(".log")).unwrap().clone()
}

#[test]
fn an_orderly_end_is_found_as_it_was() {
    let (contents, truth) = orderly(0);
    let (found, recovered) = start(&contents).unwrap();
    assert_eq!(found, truth);
    assert!(recovered.clean);
    assert_eq!(recovered.torn, None);
    assert!(recovered.entries > 0);
}

#[test]
fn every_flipped_byte_is_survived_or_refused() {
    for history_bytes_max in [0, 1 << 20] {
        let (contents, truth) = orderly(history_bytes_max);
        let (mut survived, mut refused) = (0, 0);
        let places = contents.iter().flat_map(|(name, bytes)| (0..bytes.len()).map(move |at| (name, at)));
        for ((name, at), flip) in places.flat_map(|place| [(place, 1), (place, 0xff)]) {
            let mut contents = contents.clone();
            contents.get_mut(name).unwrap()[at] ^= flip;
            match start(&contents) {
                Ok((found, _)) => {
                    assert_eq!(found, truth, "{name} at {at}");
                    survived += 1;
                }
                Err(JournalError::Damaged { file, offset, .. }) => {
                    assert!(file.ends_with(name) && offset <= at as u64, "{name} at {at}: {file:?} at {offset}");
                    refused += 1;
                }
                Err(other) => panic!("{name} at {at}: {other}"),
            }
        }
        // What survives is the record of the orderly end itself, and the segment that is there for the history only.
        assert!(survived > 0 && refused > 1000, "{survived} {refused}");
    }
}

#[test]
fn every_flipped_byte_after_a_crash_costs_the_last_batch_at_most() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), one_segment(SyncLevel::Always)).unwrap();
    let mut truths = Vec::new();
    write_some(&engine, |engine| truths.push(engine.contents()));
    let truth = truths.pop().unwrap();
    truths.retain(|before| *before != truth);
    let crashed = disk.crash(Loss::Unsynced).contents();
    let last = last_segment(&crashed);
    let mut cut = 0;
    for at in 0..crashed[&last].len() {
        let mut contents = crashed.clone();
        contents.get_mut(&last).unwrap()[at] ^= 1;
        match start(&contents) {
            Ok((found, recovered)) if found != truth => {
                assert_eq!(Some(&found), truths.last(), "more than the last batch is gone");
                assert!(recovered.torn.is_some_and(|torn| torn.file.ends_with(&last) && torn.bytes > 0));
                cut += 1;
            }
            Ok(_) | Err(JournalError::Damaged { .. }) => {}
            Err(other) => panic!("{at}: {other}"),
        }
    }
    assert!(cut > 0);
}

#[test]
fn every_cut_leaves_a_prefix_with_all_that_was_synced() {
    for level in [SyncLevel::Always, SyncLevel::Never] {
        let disk = Disk::default();
        let engine = Engine::start(disk.clone(), one_segment(level)).unwrap();
        assert!(engine.set_and_wait("s", "first", "1"));
        let before = engine.stop();
        let engine = Engine::start(disk.clone(), one_segment(level)).unwrap();
        // Lengths of the last segment, with what was acknowledged then.
        let mut acknowledged: Vec<(usize, Contents)> = vec![(0, before)];
        write_some(&engine, |engine| {
            let contents = disk.contents();
            acknowledged.push((contents[&last_segment(&contents)].len(), engine.contents()));
        });
        let mut contents = disk.contents();
        let last = last_segment(&contents);
        let len = contents[&last].len();
        assert_eq!(disk.synced_bytes(&last), if level == SyncLevel::Always { len } else { HEADER_BYTES });
        for len in (0..=len).rev() {
            contents.get_mut(&last).unwrap().truncate(len);
            let (found, recovered) = start(&contents).unwrap();
            let (whole, truth) = acknowledged.iter().rfind(|(bytes, _)| *bytes <= len).unwrap();
            assert_eq!(found, *truth, "cut to {len}");
            // The mark of the next batch may be whole; it has nothing to lose.
            let rest = (len - whole) as u64 - if *whole == 0 && len >= HEADER_BYTES { HEADER_BYTES as u64 } else { 0 };
            let torn = recovered.torn.map_or(0, |torn| torn.bytes);
            assert_eq!(
                torn,
                if rest >= MARK_BYTES && len > HEADER_BYTES { rest - MARK_BYTES } else { rest },
                "cut to {len}"
            );
            assert!(!recovered.clean);
        }
    }
}

#[test]
fn a_torn_tail_is_gone_for_good() {
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    assert!(engine.set_and_wait("s", "a", "1"));
    let mut contents = disk.contents();
    drop(engine);
    let last = last_segment(&contents);
    contents.get_mut(&last).unwrap().extend_from_slice(b"half a record");
    let disk = Disk::with(&contents);
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    assert_eq!(engine.recovered.torn.as_ref().map(|torn| torn.bytes), Some(13));
    assert!(engine.set_and_wait("s", "b", "2"));
    let truth = engine.contents();
    // Whatever happens from now on: the former last segment is one in the middle, and whole.
    let (found, recovered) = start(&disk.crash(Loss::Unsynced).contents()).unwrap();
    assert_eq!((found, recovered.torn), (truth, None));
}

#[test]
fn a_file_that_is_gone_is_missed() {
    let (contents, truth) = orderly(0);
    let names: Vec<&String> = contents.keys().collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(start(&contents).unwrap().0, truth);
    // That the last segment is gone nothing tells, unless a snapshot knows what was in it.
    for name in names.iter().filter(|name| ***name != last_segment(&contents)) {
        let mut without = contents.clone();
        without.remove(*name);
        let Err(JournalError::Missing { what, .. }) = start(&without) else { panic!("not refused without {name}") };
        assert_eq!(what.contains("no snapshot has all its parts"), name.ends_with(".snap"), "{what}");
    }
    let mut only_snapshot = contents.clone();
    only_snapshot.retain(|name, _| name.ends_with(".snap"));
    assert!(matches!(start(&only_snapshot), Err(JournalError::Missing { .. })));
}

#[test]
fn what_is_not_needed_is_not_missed() {
    let (contents, truth) = orderly(1 << 20);
    let names: Vec<&String> = contents.keys().collect();
    assert_eq!(names.len(), 6, "{names:?}");
    // The first segment is there for the history; with it the snapshot is not needed.
    for name in [names[0], names[4], names[5]] {
        let mut without = contents.clone();
        without.remove(name);
        assert_eq!(start(&without).unwrap().0, truth, "without {name}");
    }
    let mut without = contents.clone();
    without.remove(names[0]);
    without.remove(names[4]);
    assert!(matches!(start(&without), Err(JournalError::Missing { .. })));
}

#[test]
fn a_missing_segment_in_the_middle_is_named() {
    let disk = Disk::default();
    for i in 0..6 {
        let engine = Engine::start(disk.clone(), one_segment(SyncLevel::Always)).unwrap();
        assert!(engine.set_and_wait("s", &format!("k{i}"), "1"));
    }
    let contents = disk.contents();
    let segments: Vec<&String> = contents.keys().filter(|name| name.ends_with(".log")).collect();
    assert!(segments.len() > 4);
    for (index, name) in segments.iter().enumerate().take(segments.len() - 1) {
        let mut without = contents.clone();
        without.remove(*name);
        let Err(JournalError::Missing { what, .. }) = start(&without) else { panic!("not refused") };
        // The first one by its own name, others by that of the next.
        assert!(what.contains(segments[if index == 0 { 0 } else { index + 1 }].as_str()), "{what}");
    }
}

#[test]
fn what_another_version_wrote_is_refused_whatever_is_asked() {
    use iii_fast_core::log::record;
    let (contents, _) = orderly(0);
    let last = last_segment(&contents);
    let first: u64 = last[8..28].parse().unwrap();
    let mut other_kind = contents.clone();
    record::encode(other_kind.get_mut(&last).unwrap(), 32, first, |_| {});
    let mut other_format = contents.clone();
    let header = &mut other_format.get_mut(&last).unwrap()[..28];
    header[8] = 4;
    let checksum = crc32c(&header[..24]);
    header[24..].copy_from_slice(&checksum.to_le_bytes());
    for contents in [other_kind, other_format] {
        for salvage in [false, true] {
            let files: Arc<dyn Files> = Arc::new(Disk::with(&contents));
            let result = recover(&files, &Options { salvage, ..options(SyncLevel::Always) });
            let Err(JournalError::OtherVersion { file, .. }) = result else { panic!("not refused") };
            assert!(file.ends_with(&last));
            assert_eq!(Disk::with(&contents).contents(), contents);
        }
    }
}

#[test]
fn a_mark_that_speaks_of_what_was_not_written_yet_is_damage() {
    use iii_fast_core::log::record;
    let (contents, truth) = orderly(0);
    let last = last_segment(&contents);
    let first: u64 = last[8..28].parse().unwrap();
    for (synced, is_damage) in [(first - 1, false), (first, true)] {
        let mut contents = contents.clone();
        let segment = contents.get_mut(&last).unwrap();
        let rest = segment.split_off(HEADER_BYTES);
        record::encode_mark(segment, first - 1, synced, number_of(segment));
        segment.extend(rest);
        match start(&contents) {
            Ok((found, _)) => assert!(!is_damage && found == truth),
            Err(JournalError::Damaged { offset, .. }) => assert!(is_damage && offset == HEADER_BYTES as u64),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn the_bytes_of_a_mark_in_a_value_do_not_make_a_torn_tail_damage() {
    use iii_fast_core::log::record::{self, kind};
    // A mark of another segment, which says that more is synced than will be here.
    let further = Disk::default();
    let engine = Engine::start(further.clone(), one_segment(SyncLevel::Always)).unwrap();
    write_some(&engine, |_| {});
    drop(engine);
    let further = further.contents();
    let bytes = &further[&last_segment(&further)];
    let is_mark = |at: &usize| bytes[*at..].get(8..12) == Some(&[kind::MARK, record::VERSION, 0, 0]);
    let at = (0..bytes.len()).rfind(is_mark).unwrap();
    let mark = &bytes[at..at + record::decode(&bytes[at..]).unwrap().size()];

    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), one_segment(SyncLevel::Always)).unwrap();
    assert!(engine.set_and_wait("s", "a", "1"));
    let truth = engine.contents();
    let packed = [&[0xc1, 0xc4, mark.len() as u8 + 1], mark, b"."].concat();
    let position = engine.state.set("s", "b", Stored::from(packed), None).unwrap().position.unwrap();
    engine.log.hand_over();
    assert_eq!(engine.wait(position, false), Progress::Acknowledged);
    let mut torn = disk.contents();
    drop(engine);
    let segment = torn.get_mut(&last_segment(&torn.clone())).unwrap();
    segment.truncate(segment.len() - 1);
    assert!(segment.ends_with(mark));
    let (found, recovered) = start(&torn).unwrap();
    assert_eq!(found, truth);
    assert!(recovered.torn.is_some_and(|torn| torn.bytes as usize > mark.len()));
}

/// The checksum of the format, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn the_history_survives_a_restart() {
    use iii_fast_core::log::history::Filter;
    let disk = Disk::default();
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    write_some(&engine, |_| {});
    engine.wait_snapshots(1);
    let before = engine.log.read(0, Filter::default(), usize::MAX, usize::MAX).unwrap();
    assert!(before.items.len() > 40);
    drop(engine);
    let engine = Engine::start(disk.clone(), options(SyncLevel::Always)).unwrap();
    assert_eq!(engine.log.read(0, Filter::default(), usize::MAX, usize::MAX).unwrap(), before);
    assert!(engine.set_and_wait("s", "k", "1"));
    let after = engine.log.read(before.position, Filter::default(), usize::MAX, usize::MAX).unwrap();
    assert_eq!(after.items.len(), 1, "positions go on");
    assert_eq!(after.position, before.position + 1);
    drop(engine);
    let small = Options { history_bytes_max: 300, ..options(SyncLevel::Always) };
    let engine = Engine::start(disk, small).unwrap();
    let last = after.position;
    assert!(engine.log.read(0, Filter::default(), usize::MAX, usize::MAX).is_err());
    assert!(engine.log.read(last, Filter::default(), usize::MAX, usize::MAX).unwrap().items.is_empty());
    assert!(!contents(&engine.state).is_empty());
}
