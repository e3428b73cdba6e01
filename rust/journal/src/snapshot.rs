//! Snapshots: the entries of the map, part by part, so that a start need not replay everything that ever happened.

use crate::error::JournalError;
use crate::files::{Files, Output};
use crate::journal::Journal;
use crate::layout::Layout;
use crate::pace::{Pace, Room};
use crate::part::{self, PartHeader, PartId};
use crate::segment;
use iii_fast_core::log::record::{self, kind};
use iii_fast_core::state::{Captured, State};
use parking_lot::Mutex;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

/// Entries that are taken under one short lock; then whoever waits for the processor gets it.
const PORTION: usize = 16;
/// A record of entries is closed when it has as much.
const RECORD_BYTES: usize = 64 << 10;
/// Bytes that are written at once: the same goes for a long write.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes of a part after which the disk gets them: a sync of the journal may have to wait for what it has not yet done.
const SPILL_BYTES: usize = 256 << 10;

/// How the rounds of this process have gone.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Whether one is under way.
    pub(crate) busy: AtomicBool,
    pub(crate) done: AtomicU64,
    /// Why the last one failed, if it did.
    pub(crate) failure: Mutex<Option<String>>,
}

/// A part that has been written, under its unfinished name.
pub(crate) struct WrittenPart {
    pub(crate) bytes: u64,
    /// The journal has to be on the disk up to here before the part may count: what these writes have changed is in it, and what they have
    /// removed is not.
    pub(crate) seen: u64,
}

/// The name of a part until it is whole.
pub(crate) fn unfinished_name(id: PartId) -> String {
    part::name(id) + ".tmp"
}

/// Makes a round for each position that comes, until no more can come.
pub(crate) fn run(journal: &Journal, state: &State, starts: &Receiver<u64>) {
    for start in starts {
        let rounds = &journal.rounds;
        let result = catch_unwind(AssertUnwindSafe(|| round(journal, state, start)));
        let failure = match result {
            Ok(Ok(finished)) => {
                rounds.done.fetch_add(u64::from(finished), Ordering::Relaxed);
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("writing a snapshot panicked".to_owned()),
        };
        if failure.is_some() {
            journal.layout.lock().postpone(journal.options.segment_bytes);
        }
        *rounds.failure.lock() = failure;
        rounds.busy.store(false, Ordering::Release);
        // The next round may be due already.
        journal.bell.ring();
    }
}

/// Writes all parts, then removes what they make unnecessary; false when the journal has ended meanwhile.
fn round(journal: &Journal, state: &State, start: u64) -> Result<bool, JournalError> {
    let files = &*journal.files;
    let is_over = || journal.is_stopping() || journal.progress.is_over();
    let live_bytes = state.live_bytes();
    let behind = || journal.layout.lock().behind();
    let room = Room::new(behind(), live_bytes, journal.options.segment_bytes);
    let parts = state.stripe_count() as u32;
    for number in 0..parts {
        let header = PartHeader { id: PartId { generation: journal.generation, part: number }, parts, start };
        let unfinished = unfinished_name(header.id);
        let pace = Pace::of(number, parts, room, behind());
        let written = write_part(files, state, header, &is_over, &pace);
        let Some(written) = written.inspect_err(|_| drop(files.remove(&unfinished)))? else {
            drop(files.remove(&unfinished));
            return Ok(false);
        };
        journal.progress.want(written.seen);
        journal.bell.ring();
        if !journal.progress.wait_synced(written.seen) {
            drop(files.remove(&unfinished));
            return Ok(false);
        }
        finish_part(files, header.id, &pace)?;
        journal.layout.lock().wrote_part(header.id, written.bytes);
    }
    sync_names(files)?;
    clean_up(journal, start, &Pace::of(parts, parts, room, behind()))?;
    Ok(true)
}

/// Writes one part and brings it to the disk; none when it `is_over` before the end.
pub(crate) fn write_part(
    files: &dyn Files,
    state: &State,
    header: PartHeader,
    is_over: &dyn Fn() -> bool,
    pace: &Pace,
) -> Result<Option<WrittenPart>, JournalError> {
    let name = unfinished_name(header.id);
    let path = files.directory().join(&name);
    let output = files.create(&name).map_err(JournalError::io(&path, "create"))?;
    let mut writer = PartWriter {
        output,
        buffer: part::header(&header).to_vec(),
        start: header.start,
        bytes: 0,
        unspilled: 0,
        entries: 0,
    };
    let (mut portion, mut before) = (Vec::new(), None);
    loop {
        if is_over() {
            return Ok(None);
        }
        before = state.capture(header.id.part as usize, before, PORTION, &mut portion);
        writer.entries(&portion).map_err(JournalError::io(&path, "write"))?;
        portion.clear();
        pace.pause();
        if before.is_none() {
            break;
        }
    }
    let seen = state.log().last();
    writer.end().map_err(JournalError::io(&path, "write"))?;
    writer.output.sync().map_err(JournalError::io(&path, "sync"))?;
    Ok(Some(WrittenPart { bytes: writer.bytes, seen }))
}

/// Gives a part its name, in the place of a former one.
pub(crate) fn finish_part(files: &dyn Files, id: PartId, pace: &Pace) -> Result<(), JournalError> {
    let (unfinished, name) = (unfinished_name(id), part::name(id));
    let path = files.directory().join(&unfinished);
    files.forget(&name, &|| pace.pause());
    files.rename(&unfinished, &name).map_err(JournalError::io(path, "rename"))
}

pub(crate) fn sync_names(files: &dyn Files) -> Result<(), JournalError> {
    files.sync_names(None).map_err(JournalError::io(files.directory(), "sync the directory"))
}

/// Removes the parts of other generations, then the segments that are not needed, the oldest first.
fn clean_up(journal: &Journal, start: u64, pace: &Pace) -> Result<(), JournalError> {
    let history_bytes = journal.options.history_bytes_max as u64;
    let (parts, segments) = {
        let mut layout = journal.layout.lock();
        (layout.finished(journal.generation, start), layout.unneeded(history_bytes))
    };
    let removed_parts = remove(journal, pace, &parts, part::name, Layout::removed_part);
    let removed_segments = remove(journal, pace, &segments, segment::name, Layout::removed_segment);
    removed_parts.and(removed_segments)
}

/// Removes files; all it can, whatever goes wrong with one.
fn remove<Id: Copy>(
    journal: &Journal,
    pace: &Pace,
    ids: &[Id],
    name: fn(Id) -> String,
    removed: fn(&mut Layout, Id),
) -> Result<(), JournalError> {
    let mut result = Ok(());
    for &id in ids {
        let name = name(id);
        journal.files.forget(&name, &|| pace.pause());
        match journal.files.remove(&name) {
            // One that somebody else has removed is gone as well.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = journal.files.directory().join(&name);
                result = result.and(Err(JournalError::io(path, "remove")(error)));
            }
            _ => removed(&mut journal.layout.lock(), id),
        }
    }
    result.and_then(|()| sync_names(&*journal.files))
}

struct PartWriter {
    output: Box<dyn Output>,
    buffer: Vec<u8>,
    start: u64,
    bytes: u64,
    unspilled: usize,
    entries: u64,
}

impl PartWriter {
    fn entries(&mut self, portion: &[Captured]) -> std::io::Result<()> {
        let mut left = portion.iter().peekable();
        while left.peek().is_some() {
            record::encode(&mut self.buffer, kind::ENTRIES, self.start, |out| {
                let from = out.len();
                while out.len() - from < RECORD_BYTES
                    && let Some(captured) = left.next()
                {
                    record::put_entry(out, &captured.as_entry());
                }
            });
            if self.buffer.len() >= WRITE_BYTES {
                self.flush()?;
            }
        }
        self.entries += portion.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<()> {
        let entries = self.entries;
        record::encode(&mut self.buffer, kind::END, self.start, |out| out.extend_from_slice(&entries.to_le_bytes()));
        self.flush()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.bytes += self.buffer.len() as u64;
        self.unspilled += self.buffer.len();
        self.output.append(&[&self.buffer])?;
        self.buffer.clear();
        if self.unspilled >= SPILL_BYTES {
            self.unspilled = 0;
            self.output.spill();
        }
        Ok(())
    }
}
