//! Reading all files of a directory without using it: an engine may be running there.

use crate::catalog::{Catalog, SegmentFile};
use crate::error::JournalError;
use crate::files::{Directory, Files};
use crate::part::{self, PartHeader, PartId};
use crate::reader::{Fault, PartReader, SegmentReader};
use crate::segment;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How often it is begun again because files came and went.
const TRIES: usize = 16;

/// How many bytes are checked between two looks at whether to go on.
const LOOK_BYTES: usize = 1 << 20;

/// Told how many bytes of how many are done; [`ControlFlow::Break`] ends the work at once.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// What a directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that were read.
    pub files: u64,
    /// Entries in snapshots.
    pub entries: u64,
    /// Commits in the journal.
    pub commits: u64,
    /// The first position in the journal, if there is any.
    pub first: Option<u64>,
    /// The last position in the journal, if there is any.
    pub last: Option<u64>,
    /// Bytes at the end of the journal that have not been written whole: the next start cuts them off.
    pub torn_bytes: u64,
    /// What is wrong; the engine refuses to start with any of it that it needs.
    pub damages: Vec<Damage>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file; the directory when files are missing.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// Why.
    pub reason: String,
}

/// Reads and checks everything in `directory`; `progress` is told how many bytes of how many have been read, and begins again when the
/// files have changed underneath.
///
/// # Errors
/// When files cannot be read, another version of the engine wrote them, or `progress` ends it. Damage is no error, but part of the report.
pub fn verify(directory: &Path, progress: Progress<'_>) -> Result<Report, JournalError> {
    let files = Directory::new(directory);
    for _ in 0..TRIES {
        let mut check = Check { files: &files, report: Report::default(), done: 0, total: 0, progress: &mut *progress };
        match check.run() {
            Ok(is_missing) if is_missing && check.has_changed()? => {}
            Ok(_) => return Ok(check.report),
            Err(error) if error.is_absence(directory) && directory.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Err(JournalError::Restless { directory: directory.to_owned() })
}

struct Check<'a> {
    files: &'a Directory,
    report: Report,
    done: u64,
    total: u64,
    progress: Progress<'a>,
}

impl Check<'_> {
    /// Reads everything; whether files seem to be missing.
    fn run(&mut self) -> Result<bool, JournalError> {
        let catalog = Catalog::read(self.files)?;
        self.total = catalog.parts.values().sum::<u64>() + catalog.segments.iter().map(|one| one.bytes).sum::<u64>();
        let mut headers = BTreeMap::new();
        for &id in catalog.parts.keys() {
            headers.insert(id, self.part(id)?);
        }
        // The journal is listed after the snapshots were read: it is ahead of them then.
        let segments = Catalog::read(self.files)?.segments;
        let catalog = Catalog { segments, ..catalog };
        let snapshot =
            catalog.snapshot(|id| headers.get(&id).and_then(|read| read.as_ref()).map(|read| read.0).ok_or(()));
        let mut missing = None;
        let mut needed = usize::MAX;
        let (mut start, mut version_max) = (0, 0);
        if let Ok(snapshot) = snapshot {
            if let Some(snapshot) = &snapshot {
                start = snapshot.start;
                let versions = snapshot.parts.iter().filter_map(|part| headers.get(&part.id)?.as_ref());
                version_max = versions.map(|read| read.1).max().unwrap_or(0);
            }
            match catalog.first_needed(snapshot.as_ref()) {
                Ok(index) => needed = index,
                Err(what) => missing = Some(what),
            }
        }
        let mut last = start;
        for (index, segment) in catalog.segments.iter().enumerate() {
            let is_last = index + 1 == catalog.segments.len();
            if index > needed && segment.first != last.saturating_add(1) {
                let name = segment::name(segment.first);
                missing.get_or_insert_with(|| format!("the journal ends at position {last} before {name}"));
            }
            last = self.segment(*segment, is_last)?;
        }
        if needed != usize::MAX && last < version_max {
            let known = version_max;
            missing.get_or_insert_with(|| {
                format!("the snapshot knows changes up to position {known}, and the journal ends at {last}")
            });
        }
        let is_missing = missing.is_some();
        let file = self.files.directory().to_owned();
        self.report.damages.extend(missing.map(|reason| Damage { file, offset: 0, reason }));
        Ok(is_missing)
    }

    /// Whether other files are there than were read.
    fn has_changed(&self) -> Result<bool, JournalError> {
        let now = Catalog::read(self.files)?;
        Ok((now.parts.len() + now.segments.len()) as u64 != self.report.files
            || now.segments.first().map(|segment| segment.first) != self.report.first)
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, JournalError> {
        let path = self.files.directory().join(name);
        let bytes = self.files.read(name, limit).map_err(JournalError::io(path, "read"))?;
        self.done += bytes.len() as u64;
        self.report.files += 1;
        self.go_on()?;
        Ok(bytes)
    }

    fn go_on(&mut self) -> Result<(), JournalError> {
        match (self.progress)(self.done, self.total.max(self.done)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(JournalError::Interrupted { directory: self.files.directory().to_owned() }),
        }
    }

    /// Looks whether to go on when reading has come behind `look`; returns where to look next.
    fn go_on_at(&mut self, offset: usize, look: usize) -> Result<usize, JournalError> {
        if offset < look {
            return Ok(look);
        }
        self.go_on()?;
        Ok(offset + LOOK_BYTES)
    }

    fn damage(&mut self, name: &str, fault: &Fault) -> Result<(), JournalError> {
        let file = self.files.directory().join(name);
        if fault.reason.is_other_version() {
            return Err(JournalError::fault(file, fault));
        }
        self.report.damages.push(Damage { file, offset: fault.offset, reason: fault.reason.to_string() });
        Ok(())
    }

    /// The header of a part and the highest version in it; none when the header is damaged.
    fn part(&mut self, id: PartId) -> Result<Option<(PartHeader, u64)>, JournalError> {
        let name = part::name(id);
        let bytes = self.read(&name, u64::MAX)?;
        let mut reader = match PartReader::new(&bytes, id) {
            Ok(reader) => reader,
            Err(fault) => {
                self.damage(&name, &fault)?;
                return Ok(None);
            }
        };
        let header = reader.header();
        let mut version_max = 0;
        let mut look = LOOK_BYTES;
        loop {
            look = self.go_on_at(reader.offset(), look)?;
            match reader.next(|entry| version_max = entry.version.max(version_max)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    self.damage(&name, &fault)?;
                    reader.skip();
                    if reader.offset() == bytes.len() {
                        break;
                    }
                }
            }
        }
        self.report.entries += reader.entries();
        Ok(Some((header, version_max)))
    }

    /// The position at which a segment ends.
    fn segment(&mut self, segment: SegmentFile, is_last: bool) -> Result<u64, JournalError> {
        let name = segment::name(segment.first);
        // An engine may be appending to the last one: what comes from now on does not count.
        let bytes = self.read(&name, if is_last { segment.bytes } else { u64::MAX })?;
        self.report.first.get_or_insert(segment.first);
        let mut reader = match SegmentReader::new(&bytes, segment.first) {
            Ok(reader) => reader,
            Err(fault) if is_last && fault.is_unbegun(&bytes) => {
                self.report.torn_bytes += bytes.len() as u64;
                return Ok(segment.first - 1);
            }
            Err(fault) => {
                self.damage(&name, &fault)?;
                SegmentReader::behind_header(&bytes, segment.first)
            }
        };
        let mut look = LOOK_BYTES;
        loop {
            look = self.go_on_at(reader.offset(), look)?;
            match reader.next() {
                Ok(Some(_)) => self.report.commits += 1,
                Ok(None) => break,
                Err(fault) if is_last && reader.is_torn(&fault) => {
                    self.report.torn_bytes += (bytes.len() - reader.offset()) as u64;
                    break;
                }
                Err(fault) => {
                    self.damage(&name, &fault)?;
                    reader.skip();
                }
            }
        }
        self.report.last = Some(reader.last());
        Ok(reader.last())
    }
}
