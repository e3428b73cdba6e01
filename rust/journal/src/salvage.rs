//! Starting with what is intact of damaged files. What was kept becomes a snapshot of its own; the files that were there, and
//! what could not be used of them, go to a directory beside it.

use crate::catalog::{Catalog, SegmentFile};
use crate::error::JournalError;
use crate::files::Files;
use crate::pace::Pace;
use crate::part::{PartHeader, PartId};
use crate::recovery::Found;
use crate::{segment, snapshot};
use iii_fast_core::codec::json::write_string;
use iii_fast_core::state::State;
use std::path::PathBuf;
use std::time::SystemTime;

/// What was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Where the files that were there are now.
    pub directory: PathBuf,
    /// The pieces that could not be used.
    pub dropped: Vec<Dropped>,
}

/// A piece that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Name of the file; empty when a file is missing.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// A piece that is dropped, with its bytes.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) reason: String,
    pub(crate) bytes: Vec<u8>,
}

/// Writes what is in `state`, sets aside what was there, and returns what lies in the directory then. At every instant the directory
/// is either refused as it was before, or starts with everything that was kept.
pub(crate) fn write(
    files: &dyn Files,
    catalog: &Catalog,
    state: &State,
    found: &mut Found,
) -> Result<Catalog, JournalError> {
    let aside = write_dropped(files, found)?;
    // Behind whatever the damaged files may have held, with a gap: nothing of them can be taken for its continuation.
    let named = catalog.segments.last().map_or(0, |segment| segment.first);
    let start = found.recovered.last.max(named).saturating_add(1);
    let generation = catalog.generation() + 1;
    let parts = state.stripe_count() as u32;
    let mut written = Catalog::default();
    for part in 0..parts {
        let header = PartHeader { id: PartId { generation, part }, parts, start };
        if let Some(part) = snapshot::write_part(files, state, header, &|| false, &Pace::alone())? {
            written.parts.insert(header.id, part.bytes);
        }
    }
    let name = segment::name(start + 1);
    let path = files.directory().join(&name);
    let number = files.random().map_err(JournalError::io(&path, "draw a number for"))?;
    let output = files.create(&name).map_err(JournalError::io(&path, "create"))?;
    output.append(&[&segment::header(start + 1, number)]).map_err(JournalError::io(&path, "write"))?;
    output.sync().map_err(JournalError::io(&path, "sync"))?;
    for &id in written.parts.keys() {
        snapshot::finish_part(files, id, &Pace::alone())?;
    }
    snapshot::sync_names(files)?;
    for name in catalog.names() {
        let path = files.directory().join(&name);
        files.rename(&name, &format!("{aside}/{name}")).map_err(JournalError::io(path, "rename"))?;
    }
    files.sync_names(Some(&aside)).map_err(JournalError::io(files.directory().join(&aside), "sync the directory"))?;
    snapshot::sync_names(files)?;
    found.recovered.last = start;
    found.start = start;
    found.recent.forget();
    written.segments.push(SegmentFile { first: start + 1, bytes: segment::HEADER_BYTES as u64 });
    Ok(written)
}

/// Writes down what is dropped; returns the name of the directory in which that is.
fn write_dropped(files: &dyn Files, found: &mut Found) -> Result<String, JournalError> {
    if let Some(torn) = found.recovered.torn.take() {
        let file = torn.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = files.read(&file, u64::MAX).map_err(JournalError::io(&torn.file, "read"))?;
        let bytes = bytes.get(torn.offset as usize..).unwrap_or_default().to_vec();
        let reason = "the end of the journal had not been written whole".to_owned();
        found.dropped.push(Piece { file, offset: torn.offset, reason, bytes });
    }
    let aside = make_aside(files)?;
    let name = format!("{aside}/dropped.bin");
    let path = files.directory().join(&name);
    let output = files.create(&name).map_err(JournalError::io(&path, "create"))?;
    let mut dropped = Vec::new();
    for Piece { file, offset, reason, bytes } in &found.dropped {
        let mut line = b"{\"file\":".to_vec();
        write_string(&mut line, file);
        line.extend_from_slice(format!(",\"offset\":{offset},\"bytes\":{},\"reason\":", bytes.len()).as_bytes());
        write_string(&mut line, reason);
        line.extend_from_slice(b"}\n");
        output.append(&[&line, bytes, b"\n"]).map_err(JournalError::io(&path, "write"))?;
        let (file, reason) = (file.clone(), reason.clone());
        dropped.push(Dropped { file, offset: *offset, bytes: bytes.len() as u64, reason });
    }
    output.sync().map_err(JournalError::io(&path, "sync"))?;
    files.sync_names(Some(&aside)).map_err(JournalError::io(files.directory().join(&aside), "sync the directory"))?;
    snapshot::sync_names(files)?;
    found.recovered.salvaged = Some(Salvaged { directory: files.directory().join(&aside), dropped });
    Ok(aside)
}

/// Makes the directory for what is set aside, named after the time; a later time when there is one already.
fn make_aside(files: &dyn Files) -> Result<String, JournalError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    for later in 0.. {
        let name = format!("salvaged-{}", now + later);
        match files.make_directory(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(JournalError::io(files.directory().join(&name), "make the directory")(error)),
            Ok(()) => return Ok(name),
        }
    }
    Ok(String::new())
}
