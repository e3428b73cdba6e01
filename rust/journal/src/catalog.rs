//! What lies in a directory, and what of it a start needs.

use crate::error::JournalError;
use crate::files::Files;
use crate::part::{self, PartHeader, PartId};
use crate::segment;
use std::collections::BTreeMap;

/// A segment that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) first: u64,
    pub(crate) bytes: u64,
}

/// The files of a directory that are ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// By their first positions.
    pub(crate) segments: Vec<SegmentFile>,
    /// Parts of snapshots with their lengths.
    pub(crate) parts: BTreeMap<PartId, u64>,
    /// Names of what was not finished.
    pub(crate) unfinished: Vec<String>,
}

/// The snapshot that a start begins with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Its parts. Without a snapshot: none.
    pub(crate) parts: Vec<PartHeader>,
    /// Changes behind it may be missing in it; everything up to it is there.
    pub(crate) start: u64,
}

impl Catalog {
    /// Lists the directory.
    pub(crate) fn read(files: &dyn Files) -> Result<Catalog, JournalError> {
        let mut catalog = Catalog::default();
        for file in files.list().map_err(JournalError::io(files.directory(), "list the directory"))? {
            if let Some(first) = segment::parse_name(&file.name) {
                catalog.segments.push(SegmentFile { first, bytes: file.bytes });
            } else if let Some(id) = part::parse_name(&file.name) {
                catalog.parts.insert(id, file.bytes);
            } else if file.name.ends_with(".tmp") {
                catalog.unfinished.push(file.name);
            }
        }
        catalog.segments.sort_unstable_by_key(|segment| segment.first);
        Ok(catalog)
    }

    /// The last generation that has begun; 0: none.
    pub(crate) fn generation(&self) -> u32 {
        self.parts.keys().next_back().map_or(0, |id| id.generation)
    }

    /// The names of all files, without what was not finished.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let parts = self.parts.keys().map(|&id| part::name(id));
        parts.chain(self.segments.iter().map(|segment| segment::name(segment.first)))
    }

    /// The newest generation of which all parts are there; `header` reads that of a part. Older ones, and one that was only begun, are
    /// not needed.
    pub(crate) fn snapshot<E>(
        &self,
        mut header: impl FnMut(PartId) -> Result<PartHeader, E>,
    ) -> Result<Option<Snapshot>, E> {
        let mut generation = self.generation();
        loop {
            let from = PartId { generation, part: 0 };
            let to = PartId { generation, part: u32::MAX };
            let parts: Vec<PartHeader> =
                self.parts.range(from..=to).map(|(&id, _)| header(id)).collect::<Result<_, E>>()?;
            if !parts.is_empty() && parts.iter().all(|part| part.parts as usize == parts.len()) {
                let start = parts.iter().map(|part| part.start).min().unwrap_or(0);
                return Ok(Some(Snapshot { parts, start }));
            }
            match self.parts.range(..from).next_back() {
                Some((older, _)) => generation = older.generation,
                None => return Ok(None),
            }
        }
    }

    /// The index of the first segment that is needed behind `snapshot`.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn first_needed(&self, snapshot: Option<&Snapshot>) -> Result<usize, String> {
        if self.segments.is_empty() && self.parts.is_empty() {
            return Ok(0);
        }
        let wanted = snapshot.map_or(1, |snapshot| snapshot.start.saturating_add(1));
        self.segments.iter().position(|segment| segment.first == wanted).ok_or_else(|| {
            let name = segment::name(wanted);
            match snapshot {
                Some(_) => format!("{name}, which the snapshot needs, is not there"),
                None if self.parts.is_empty() => format!("{name}, with which the journal begins, is not there"),
                None => format!("no snapshot has all its parts, and {name} is not there"),
            }
        })
    }
}

/// Reads the header of a part that is there.
pub(crate) fn read_header(files: &dyn Files, id: PartId) -> Result<PartHeader, JournalError> {
    let name = part::name(id);
    let path = files.directory().join(&name);
    let bytes = files.read(&name, part::HEADER_BYTES as u64).map_err(JournalError::io(&path, "read"))?;
    part::read_header(&bytes, id).map_err(|fault| JournalError::fault(path, &fault))
}
