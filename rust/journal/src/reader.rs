//! The records of one file, in order, up to its end or to the first that is not what it should be. Works on bytes: whatever
//! they are, nothing panics, and nothing is taken for a record that is none.

use crate::part::{self, PartHeader, PartId};
use crate::segment;
use iii_fast_core::log::record::{self, Broken, Record, SnapshotEntry, kind};
use memchr::memmem;
use std::fmt;

/// Where and why a file could not be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes before it.
    pub offset: u64,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong at some place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The file ends within its header.
    #[error("the header is cut short")]
    ShortHeader,
    /// The header is not one.
    #[error("the header is not that of such a file, or its checksum is wrong")]
    Header,
    /// The header belongs to another file.
    #[error("the header and the name of the file do not belong together")]
    OtherFile,
    /// Another version of the format.
    #[error("version {0} of the format; this engine knows version {known}", known = segment::VERSION)]
    OtherFormat(u32),
    /// A kind or version of record that is not known.
    #[error("a record of kind {kind}, version {version}, which this engine does not know")]
    OtherRecord {
        /// Its kind.
        kind: u8,
        /// Its version.
        version: u8,
    },
    /// A record that is none.
    #[error("{0}")]
    Broken(#[from] Broken),
    /// A record that does not belong here.
    #[error("a record of kind {0} does not belong here")]
    Misplaced(u8),
    /// Positions do not follow each other.
    #[error("the record ends at position {found} and should begin at position {expected}")]
    Position {
        /// What should follow.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A snapshot that has not been written to its end.
    #[error("the file ends before its last record")]
    NoEnd,
    /// A snapshot that has more, or fewer, entries than it says.
    #[error("the file has {found} entries and says that it has {expected}")]
    Count {
        /// What the last record says.
        expected: u64,
        /// What was there.
        found: u64,
    },
    /// Something follows the last record.
    #[error("something follows the last record")]
    Trailing,
}

impl Reason {
    /// Whether it is no damage but the work of another version of the engine.
    pub fn is_other_version(&self) -> bool {
        matches!(self, Reason::OtherFormat(_) | Reason::OtherRecord { .. })
    }

    /// Whether a write that did not come to its end looks like this.
    fn is_unfinished(&self) -> bool {
        matches!(self, Reason::Broken(Broken::Short | Broken::Checksum))
    }
}

impl Fault {
    /// Whether this fault of the header of the last segment is what a crash leaves: it has nothing but (part of) a header.
    pub(crate) fn is_unbegun(&self, bytes: &[u8]) -> bool {
        bytes.len() <= segment::HEADER_BYTES && !self.reason.is_other_version()
    }
}

/// A commit as it lies in a segment.
#[derive(Clone, Copy)]
pub struct Commit<'a> {
    /// Its operations.
    pub body: &'a [u8],
    /// How many they are.
    pub count: u64,
    /// Position of the last of them.
    pub position: u64,
    /// Where its record ends.
    pub end: usize,
}

impl fmt::Debug for Commit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {} of {} operations", self.position, self.count)
    }
}

/// Reads a segment.
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    offset: usize,
    last: u64,
    /// That of the segment; none when the header does not tell.
    number: Option<u64>,
    closed: bool,
}

impl<'a> SegmentReader<'a> {
    /// Begins with the whole file whose name says that it begins at position `first`.
    ///
    /// # Errors
    /// When the header is not that of such a file.
    pub fn new(bytes: &'a [u8], first: u64) -> Result<Self, Fault> {
        let number = segment::read_header(bytes, first)?;
        Ok(SegmentReader { number: Some(number), ..Self::behind_header(bytes, first) })
    }

    /// Begins behind the header, whatever that is.
    pub(crate) fn behind_header(bytes: &'a [u8], first: u64) -> Self {
        let offset = segment::HEADER_BYTES.min(bytes.len());
        SegmentReader { bytes, offset, last: first.saturating_sub(1), number: None, closed: false }
    }

    /// The next commit.
    ///
    /// # Errors
    /// What is wrong with the next record; it is not passed.
    #[allow(clippy::should_implement_trait, reason = "it can fail, and go on after that")]
    pub fn next(&mut self) -> Result<Option<Commit<'a>>, Fault> {
        while self.offset < self.bytes.len() {
            if let Some(commit) = self.step().map_err(|reason| Fault { offset: self.offset as u64, reason })? {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    /// Passes one record.
    fn step(&mut self) -> Result<Option<Commit<'a>>, Reason> {
        let record = read(&self.bytes[self.offset..])?;
        if self.closed {
            return Err(Reason::Trailing);
        }
        let end = self.offset + record.size();
        let mut commit = None;
        match record.kind {
            kind::COMMIT => {
                let count = record::count_ops(record.body)?;
                follows(record.position.checked_sub(count), self.last, record.position)?;
                self.last = record.position;
                commit = Some(Commit { body: record.body, count, position: record.position, end });
            }
            kind::MARK | kind::CLOSE => {
                self.says_synced(&record).filter(|&synced| synced <= record.position).ok_or(Broken::Body)?;
                follows(Some(record.position), self.last, record.position)?;
                self.closed = record.kind == kind::CLOSE;
            }
            other => return Err(Reason::Misplaced(other)),
        }
        self.offset = end;
        Ok(commit)
    }

    /// Bytes that have been read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The position of the last commit that has been read.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether the record of an orderly end has been read.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether `fault`, in the last segment, is what a crash leaves of writes that nobody was promised anything about.
    pub fn is_torn(&self, fault: &Fault) -> bool {
        fault.reason.is_unfinished() && self.synced_behind() <= self.last
    }

    /// Up to which position marks and closes from here on say that everything is on the disk.
    fn synced_behind(&self) -> u64 {
        let rest = &self.bytes[self.offset..];
        let found = candidates(rest).filter_map(|at| self.says_synced(&read(&rest[at..]).ok()?));
        found.max().unwrap_or(0)
    }

    /// Up to which position a record says that everything is on the disk, if it is a mark or close of this segment. One that has not its
    /// number may be part of a key or value.
    fn says_synced(&self, record: &Record<'_>) -> Option<u64> {
        let (synced, number) = match record.kind {
            kind::MARK => record::mark(record.body).ok()?,
            kind::CLOSE => (record.position, record::number(record.body).ok()?),
            _ => return None,
        };
        self.number.is_none_or(|own| own == number).then_some(synced)
    }

    /// Goes on with the next record that can be used after a fault, whatever its position is; to the end if there is none.
    pub(crate) fn skip(&mut self) {
        self.closed = false;
        let rest = &self.bytes[self.offset..];
        let found = guesses(rest).find_map(|at| self.usable(rest.get(at..)?).map(|before| (at, before)));
        match found {
            Some((at, before)) => (self.offset, self.last) = (self.offset + at, before),
            None => self.offset = self.bytes.len(),
        }
    }

    /// The position before the record that `bytes` begin with, if it can follow.
    fn usable(&self, bytes: &[u8]) -> Option<u64> {
        let record = read(bytes).ok()?;
        let before = match record.kind {
            kind::COMMIT => record.position.checked_sub(record::count_ops(record.body).ok()?)?,
            _ => self.says_synced(&record).map(|_| record.position)?,
        };
        (before >= self.last).then_some(before)
    }
}

/// Reads a part of a snapshot.
pub struct PartReader<'a> {
    bytes: &'a [u8],
    header: PartHeader,
    offset: usize,
    entries: u64,
    /// Whether something was left out.
    skipped: bool,
}

impl<'a> PartReader<'a> {
    /// Begins with the whole file that by its name is the part `id`.
    ///
    /// # Errors
    /// When the header is not that of such a file.
    pub fn new(bytes: &'a [u8], id: PartId) -> Result<Self, Fault> {
        let header = part::read_header(bytes, id)?;
        Ok(Self::behind_header(bytes, header))
    }

    /// Begins behind the header, whatever that is.
    pub(crate) fn behind_header(bytes: &'a [u8], header: PartHeader) -> Self {
        PartReader { bytes, header, offset: part::HEADER_BYTES.min(bytes.len()), entries: 0, skipped: false }
    }

    /// What the header says.
    pub fn header(&self) -> PartHeader {
        self.header
    }

    /// Hands the entries of the next record to `each`; false at the orderly end of the file.
    ///
    /// # Errors
    /// What is wrong with the next record; it is not passed, though `each` may have seen some of its entries.
    pub fn next(&mut self, each: impl FnMut(SnapshotEntry<'a>)) -> Result<bool, Fault> {
        self.step(each).map_err(|reason| Fault { offset: self.offset as u64, reason })
    }

    fn step(&mut self, mut each: impl FnMut(SnapshotEntry<'a>)) -> Result<bool, Reason> {
        if self.offset == self.bytes.len() {
            return Err(Reason::NoEnd);
        }
        let record = read(&self.bytes[self.offset..])?;
        if record.position != self.header.start {
            return Err(Reason::Position { expected: self.header.start, found: record.position });
        }
        match record.kind {
            kind::ENTRIES => {
                let mut entries = 0;
                record::entries(record.body, |entry| {
                    entries += 1;
                    each(entry);
                    Ok::<_, Broken>(())
                })?;
                self.entries += entries;
                self.offset += record.size();
                Ok(true)
            }
            kind::END => {
                let expected = record::number(record.body)?;
                if expected != self.entries && !self.skipped {
                    return Err(Reason::Count { expected, found: self.entries });
                }
                if self.offset + record.size() < self.bytes.len() {
                    return Err(Reason::Trailing);
                }
                self.offset = self.bytes.len();
                Ok(false)
            }
            other => Err(Reason::Misplaced(other)),
        }
    }

    /// Entries that have been read.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes that have been read.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Goes on with the next record of entries after a fault, whatever its position is; to the end if there is none.
    pub(crate) fn skip(&mut self) {
        self.skipped = true;
        let rest = &self.bytes[self.offset..];
        let start = |at: usize| {
            let record = read(rest.get(at..)?).ok().filter(|record| record.kind == kind::ENTRIES)?;
            record::entries(record.body, |_| Ok::<_, Broken>(())).ok()?;
            Some((at, record.position))
        };
        match guesses(rest).find_map(start) {
            Some((at, start)) => (self.offset, self.header.start) = (self.offset + at, start),
            None => self.offset = self.bytes.len(),
        }
    }
}

/// The record that `bytes` begin with, if it is whole and of a kind that is known.
fn read(bytes: &[u8]) -> Result<Record<'_>, Reason> {
    let record = record::decode(bytes)?;
    let known = matches!(record.kind, kind::COMMIT | kind::MARK | kind::CLOSE | kind::ENTRIES | kind::END);
    if !known || record.version != record::VERSION {
        return Err(Reason::OtherRecord { kind: record.kind, version: record.version });
    }
    if bytes[10..12] != [0, 0] {
        return Err(Broken::Body.into());
    }
    Ok(record)
}

fn follows(before: Option<u64>, last: u64, found: u64) -> Result<(), Reason> {
    if before == Some(last) { Ok(()) } else { Err(Reason::Position { expected: last.saturating_add(1), found }) }
}

/// Offsets at which reading may go on after a fault, the likeliest first: in place, where the record's own length leads (what
/// looks like a record before that may be part of a key), anywhere.
fn guesses(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let own = bytes.first_chunk::<4>().map(|len| record::HEAD_BYTES + u32::from_le_bytes(*len) as usize);
    std::iter::once(0).chain(own).chain(candidates(bytes))
}

/// Offsets at which a record may begin.
fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    // Version and the two zeros behind the kind, at offset 9 of every record.
    memmem::find_iter(bytes, &[record::VERSION, 0, 0]).filter_map(|at| at.checked_sub(9))
}
