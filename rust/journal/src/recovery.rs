//! A directory as a start reads it: the newest whole snapshot, then every commit behind it.

use crate::catalog::{self, Catalog, SegmentFile, Snapshot};
use crate::error::JournalError;
use crate::files::Files;
use crate::part::{self, PartId};
use crate::reader::{Commit, Fault, PartReader, SegmentReader};
use crate::salvage::{Piece, Salvaged};
use crate::segment;
use iii_fast_core::log::record::{self, Broken};
use iii_fast_core::state::State;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

/// Threads that load a snapshot, where there are as many processors.
const LOADERS_MAX: usize = 4;
/// Records are remembered for the change feed in pieces of this size.
const RECENT_BYTES: usize = 64 << 10;

/// What a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last position; 0: there was nothing.
    pub last: u64,
    /// Entries of the snapshot.
    pub entries: u64,
    /// Commits that were replayed.
    pub commits: u64,
    /// Whether the engine before had ended in an orderly way (or there was none).
    pub clean: bool,
    /// What was cut off from the end of the journal, because it had not been written whole.
    pub torn: Option<Torn>,
    /// What was dropped, when something was damaged and salvaging was asked for.
    pub salvaged: Option<Salvaged>,
}

/// An end of the journal that had not been written whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Its length without that.
    pub offset: u64,
    /// The length of that.
    pub bytes: u64,
}

/// What [`recover`] has found, besides what it has put into the state.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) recovered: Recovered,
    /// The last segment with its length as far as it is whole.
    pub(crate) tail: Option<SegmentFile>,
    /// Up to where the snapshot makes the journal unnecessary.
    pub(crate) start: u64,
    /// The latest records, with their first and last positions.
    pub(crate) recent: Recent,
    /// What is damaged or missing; always empty unless salvaging.
    pub(crate) dropped: Vec<Piece>,
}

/// Brings what lies in the directory into `state`, which is empty. Changes no file.
pub(crate) fn recover(
    files: &dyn Files,
    catalog: &Catalog,
    state: &State,
    history_bytes_max: usize,
    salvage: bool,
) -> Result<Found, JournalError> {
    let faults = Faults { files, salvage, dropped: Mutex::default() };
    let snapshot = faults.snapshot(catalog)?;
    let loaded = load(&faults, &snapshot, state)?;
    let needed = match catalog.first_needed(snapshot.is_whole.then_some(&snapshot.snapshot)) {
        Ok(needed) => needed,
        Err(what) => {
            faults.missing(what)?;
            0
        }
    };
    let start = snapshot.snapshot.start;
    let mut replay = Replay {
        faults: &faults,
        state,
        start,
        needed,
        segments: &catalog.segments,
        found: Found { start, ..Found::default() },
        left: catalog.segments.iter().map(|segment| segment.bytes).sum(),
    };
    replay.found.recent.bytes_max = history_bytes_max as u64;
    replay.found.recovered.last = start;
    replay.found.recovered.clean = true;
    replay.run()?;
    let mut found = replay.found;
    found.recovered.entries = loaded.entries;
    let last = found.recovered.last;
    if loaded.version_max > last {
        let version = loaded.version_max;
        faults
            .missing(format!("the snapshot knows changes up to position {version}, and the journal ends at {last}"))?;
        found.recovered.last = version;
    }
    state.finish_loading();
    found.dropped = faults.dropped.into_inner();
    Ok(found)
}

/// What to do about files that are not as they should be: refuse, or take down what is dropped and go on.
pub(crate) struct Faults<'a> {
    files: &'a dyn Files,
    salvage: bool,
    dropped: Mutex<Vec<Piece>>,
}

impl Faults<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.files.directory().join(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, JournalError> {
        self.files.read(name, u64::MAX).map_err(JournalError::io(self.path(name), "read"))
    }

    /// `bytes` from the fault on are not used.
    fn damage(&self, name: &str, fault: &Fault, bytes: &[u8]) -> Result<(), JournalError> {
        if !self.salvage || fault.reason.is_other_version() {
            return Err(JournalError::fault(self.path(name), fault));
        }
        let piece = Piece {
            file: name.to_owned(),
            offset: fault.offset,
            reason: fault.reason.to_string(),
            bytes: bytes.to_vec(),
        };
        self.dropped.lock().push(piece);
        Ok(())
    }

    fn missing(&self, what: String) -> Result<(), JournalError> {
        if !self.salvage {
            return Err(JournalError::Missing { directory: self.files.directory().to_owned(), what });
        }
        self.dropped.lock().push(Piece { file: String::new(), offset: 0, reason: what, bytes: Vec::new() });
        Ok(())
    }

    /// The snapshot to begin with; when salvaging, all that is left of one if none is whole.
    fn snapshot(&self, catalog: &Catalog) -> Result<Chosen, JournalError> {
        let found = match catalog.snapshot(|id| catalog::read_header(self.files, id)) {
            Err(JournalError::Damaged { .. }) if self.salvage => None,
            other => other?,
        };
        let is_whole = found.is_some();
        let snapshot = found.unwrap_or_default();
        let ids = match is_whole {
            true => snapshot.parts.iter().map(|part| part.id).collect(),
            false if self.salvage => catalog.parts.keys().copied().collect(),
            false => Vec::new(),
        };
        Ok(Chosen { snapshot, is_whole, ids })
    }
}

struct Chosen {
    snapshot: Snapshot,
    is_whole: bool,
    /// The parts to load.
    ids: Vec<PartId>,
}

// --- the snapshot ----------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Loaded {
    entries: u64,
    version_max: u64,
}

/// Loads the parts, several at a time.
fn load(faults: &Faults<'_>, chosen: &Chosen, state: &State) -> Result<Loaded, JournalError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let result = Mutex::new(Ok(Loaded::default()));
    let work = || {
        while let Some(&id) = chosen.ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = load_part(faults, id, state);
            let mut all = result.lock();
            match (&mut *all, one) {
                (Ok(all), Ok(one)) => {
                    all.entries += one.entries;
                    all.version_max = all.version_max.max(one.version_max);
                }
                (Ok(_), Err(error)) => *all = Err(error),
                (Err(_), _) => {}
            }
            if all.is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..processors.min(LOADERS_MAX).min(chosen.ids.len()) {
            // Without another thread this one does it all.
            let _ = std::thread::Builder::new().name("journal-load".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    result.into_inner()
}

fn load_part(faults: &Faults<'_>, id: PartId, state: &State) -> Result<Loaded, JournalError> {
    let name = part::name(id);
    let bytes = faults.read(&name)?;
    let mut reader = match PartReader::new(&bytes, id) {
        Ok(reader) => reader,
        Err(fault) => {
            let end = part::HEADER_BYTES.min(bytes.len());
            faults.damage(&name, &fault, &bytes[..end])?;
            PartReader::behind_header(&bytes, part::PartHeader { id, parts: 0, start: 0 })
        }
    };
    let mut loaded = Loaded::default();
    loop {
        let next = reader.next(|entry| {
            loaded.entries += 1;
            loaded.version_max = loaded.version_max.max(entry.version);
            state.load(&entry);
        });
        match next {
            Ok(true) => {}
            Ok(false) => return Ok(loaded),
            Err(fault) => {
                reader.skip();
                faults.damage(&name, &fault, &bytes[fault.offset as usize..reader.offset()])?;
                if reader.offset() == bytes.len() {
                    return Ok(loaded);
                }
            }
        }
    }
}

// --- the journal -----------------------------------------------------------------------------------------------------

struct Replay<'a> {
    faults: &'a Faults<'a>,
    state: &'a State,
    start: u64,
    /// Segments before this one are there for the history only.
    needed: usize,
    segments: &'a [SegmentFile],
    found: Found,
    /// Bytes of the segments that are not read yet.
    left: u64,
}

impl Replay<'_> {
    /// Reads all segments; the next one is fetched while one is replayed.
    fn run(&mut self) -> Result<(), JournalError> {
        let (faults, segments) = (self.faults, self.segments);
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            let fetch = move || {
                for segment in segments {
                    // The receiver is gone when something was wrong.
                    if sender.send(faults.read(&segment::name(segment.first))).is_err() {
                        return;
                    }
                }
            };
            let builder = std::thread::Builder::new().name("journal-read".to_owned());
            builder.spawn_scoped(scope, fetch).map_err(JournalError::io(faults.files.directory(), "start a thread"))?;
            for (index, bytes) in receiver.into_iter().enumerate() {
                self.segment(index, &bytes?)?;
            }
            Ok(())
        })
    }

    fn segment(&mut self, index: usize, bytes: &[u8]) -> Result<(), JournalError> {
        let first = self.segments[index].first;
        self.left -= self.segments[index].bytes;
        if index < self.needed {
            self.remember(first, bytes);
            return Ok(());
        }
        self.check_gap(index)?;
        let is_last = index + 1 == self.segments.len();
        let mut reader = match SegmentReader::new(bytes, first) {
            Ok(reader) => reader,
            Err(fault) if is_last && fault.is_unbegun(bytes) => {
                // The process that began it wrote nothing else.
                self.found.recovered.clean = false;
                self.cut(first, 0, bytes.len());
                return Ok(());
            }
            Err(fault) => {
                let end = segment::HEADER_BYTES.min(bytes.len());
                self.faults.damage(&segment::name(first), &fault, &bytes[..end])?;
                SegmentReader::behind_header(bytes, first)
            }
        };
        let mut recent = RecentReader::new(first, segment::HEADER_BYTES);
        loop {
            match reader.next() {
                Ok(Some(commit)) => {
                    self.commit(&commit)
                        .map_err(|fault| JournalError::fault(self.faults.path(&segment::name(first)), &fault))?;
                    recent.commit(&commit, bytes, self.left, &mut self.found.recent);
                }
                Ok(None) => break,
                Err(fault) if is_last && reader.is_torn(&fault) => {
                    self.cut(first, reader.offset(), bytes.len() - reader.offset());
                    break;
                }
                Err(fault) => {
                    reader.skip();
                    self.faults.damage(
                        &segment::name(first),
                        &fault,
                        &bytes[fault.offset as usize..reader.offset()],
                    )?;
                }
            }
        }
        recent.end(bytes, &mut self.found.recent);
        self.found.recovered.clean = reader.is_closed();
        self.found.recovered.last = self.found.recovered.last.max(reader.last());
        self.found.tail = Some(SegmentFile { first, bytes: reader.offset() as u64 });
        Ok(())
    }

    /// A needed segment has to go on where the one before, or the snapshot, ended.
    fn check_gap(&self, index: usize) -> Result<(), JournalError> {
        let first = self.segments[index].first;
        let last = self.found.recovered.last;
        if first == last.saturating_add(1) {
            return Ok(());
        }
        let name = segment::name(first);
        self.faults.missing(format!("the journal ends at position {last} before {name}"))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), Fault> {
        if commit.position <= self.start {
            return Ok(());
        }
        self.found.recovered.commits += 1;
        let mut index = 0;
        record::ops(commit.body, |op| {
            self.state.replay(commit.position, index, commit.count, &op);
            index += 1;
            Ok::<_, Broken>(())
        })
        .map_err(|broken| Fault { offset: commit.end as u64, reason: broken.into() })
    }

    fn cut(&mut self, first: u64, offset: usize, bytes: usize) {
        let file = self.faults.path(&segment::name(first));
        self.found.recovered.torn = Some(Torn { file, offset: offset as u64, bytes: bytes as u64 });
        self.found.tail = Some(SegmentFile { first, bytes: offset as u64 });
    }

    /// Reads a segment that only the history wants: it is no loss of state when it is damaged.
    fn remember(&mut self, first: u64, bytes: &[u8]) {
        let Ok(mut reader) = SegmentReader::new(bytes, first) else { return };
        let mut recent = RecentReader::new(first, segment::HEADER_BYTES);
        while let Ok(Some(commit)) = reader.next() {
            recent.commit(&commit, bytes, self.left, &mut self.found.recent);
        }
        recent.end(bytes, &mut self.found.recent);
    }
}

// --- the history -----------------------------------------------------------------------------------------------------

/// The latest records, as many as the change feed remembers.
#[derive(Default)]
pub(crate) struct Recent {
    /// Records with their first and last positions.
    pub(crate) pieces: VecDeque<(Vec<u8>, u64, u64)>,
    bytes: u64,
    bytes_max: u64,
}

impl Recent {
    /// Nothing before the start is remembered.
    pub(crate) fn forget(&mut self) {
        self.pieces.clear();
    }

    fn push(&mut self, bytes: &[u8], first: u64, last: u64) {
        self.bytes += bytes.len() as u64;
        self.pieces.push_back((bytes.to_vec(), first, last));
        while self.bytes > self.bytes_max
            && let Some((oldest, _, _)) = self.pieces.pop_front()
        {
            self.bytes -= oldest.len() as u64;
        }
    }
}

/// Cuts the records of one segment into pieces.
struct RecentReader {
    from: usize,
    end: usize,
    first: u64,
    last: u64,
}

impl RecentReader {
    fn new(first: u64, from: usize) -> Self {
        RecentReader { from, end: from, first, last: first - 1 }
    }

    /// `left`: bytes of later segments.
    fn commit(&mut self, commit: &Commit<'_>, bytes: &[u8], left: u64, recent: &mut Recent) {
        let before = commit.position - commit.count;
        if before != self.last {
            // Something was skipped, which the history must not hide.
            self.end(bytes, recent);
            self.from = commit.end - record::HEAD_BYTES - commit.body.len();
            self.first = before + 1;
        }
        (self.end, self.last) = (commit.end, commit.position);
        if (bytes.len() - self.from) as u64 + left > recent.bytes_max + RECENT_BYTES as u64 {
            // It would be forgotten before the end.
            (self.from, self.first) = (self.end, self.last + 1);
        } else if self.end - self.from >= RECENT_BYTES {
            self.end(bytes, recent);
        }
    }

    fn end(&mut self, bytes: &[u8], recent: &mut Recent) {
        if self.end > self.from {
            recent.push(&bytes[self.from..self.end], self.first, self.last);
            (self.from, self.first) = (self.end, self.last + 1);
        }
    }
}
