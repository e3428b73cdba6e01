//! Copying a directory to where another engine could start from it, while an engine may be running in it.

use crate::catalog::Catalog;
use crate::error::JournalError;
use crate::files::{Directory, Files, is_there};
use crate::part;
use crate::reader::SegmentReader;
use crate::segment;
use crate::verify::{Progress, Report, verify};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How often it is begun again because files came and went.
const TRIES: usize = 16;

/// Copies `source` to `target`, which must not exist or be an empty directory, and verifies the copy. It holds everything that was
/// acknowledged when this began, and appears under its name only when it is whole. `progress` is told how many bytes of how many are done
/// (each counts once for copying and once for verifying), and begins again when files went away underneath.
///
/// # Errors
/// When the target is in use, files cannot be read or written, the source is damaged, or `progress` ends it. Nothing is left then.
pub fn backup(source: &Path, target: &Path, progress: Progress<'_>) -> Result<Report, JournalError> {
    match std::fs::read_dir(target).map(Iterator::count) {
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) => return Err(JournalError::Occupied { path: target.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(JournalError::Occupied { path: target.to_owned() });
        }
        Err(error) => return Err(JournalError::io(target, "read the directory")(error)),
    }
    let partial = partial_name(target);
    let missing: Vec<&Path> = above(target).ancestors().take_while(|path| !is_there(path)).collect();
    let result = copy(source, &partial, progress).and_then(|report| {
        std::fs::rename(&partial, target).map_err(JournalError::io(&partial, "rename"))?;
        let above = above(target);
        Directory::new(above).sync_names(None).map_err(JournalError::io(above, "sync the directory"))?;
        Ok(report)
    });
    if result.is_err() {
        // What is left of it is of no use; the error that counts is the one above.
        let _ = std::fs::remove_dir_all(&partial);
        for path in missing {
            let _ = std::fs::remove_dir(path);
        }
    }
    result
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name of the copy until it is whole: nobody else uses it.
fn partial_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    above(target).join(format!(".{name}.partial-{}", std::process::id()))
}

fn copy(source: &Path, partial: &Path, progress: Progress<'_>) -> Result<Report, JournalError> {
    let from = Directory::new(source);
    for _ in 0..TRIES {
        let before = Catalog::read(&from)?;
        if partial.exists() {
            std::fs::remove_dir_all(partial).map_err(JournalError::io(partial, "remove"))?;
        }
        let copied = match copy_files(&from, &before, partial, progress) {
            Err(error) if error.is_absence(source) && source.is_dir() => continue,
            other => other?,
        };
        let report = verify(partial, &mut |done, _| progress(copied + done, 2 * copied))?;
        let Some(damage) = report.damages.first() else { return Ok(report) };
        let now = Catalog::read(&from)?;
        if now.segments.first() == before.segments.first() && now.parts.keys().eq(before.parts.keys()) {
            let file = damage.file.strip_prefix(partial).map_or_else(|_| source.to_owned(), |name| source.join(name));
            return Err(JournalError::Damaged { file, offset: damage.offset, reason: damage.reason.clone() });
        }
    }
    Err(JournalError::Restless { directory: source.to_owned() })
}

/// Copies what is there; returns how many bytes that were.
fn copy_files(
    from: &Directory,
    catalog: &Catalog,
    partial: &Path,
    progress: Progress<'_>,
) -> Result<u64, JournalError> {
    let to = Directory::new(partial);
    to.make().map_err(JournalError::io(partial, "make the directory"))?;
    let total = catalog.parts.values().sum::<u64>() + catalog.segments.iter().map(|one| one.bytes).sum::<u64>();
    let mut done = 0;
    let mut copy_file = |name: &str, limit: u64, first: Option<u64>| {
        let mut bytes = from.read(name, limit).map_err(JournalError::io(from.directory().join(name), "read"))?;
        if let Some(first) = first {
            if bytes.len() < segment::HEADER_BYTES {
                return Ok(()); // just being made: nothing needs it yet
            }
            bytes.truncate(whole_bytes(&bytes, first));
        }
        write_file(&to, name, &bytes)?;
        done += bytes.len() as u64;
        match progress(done, 2 * total.max(done)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(JournalError::Interrupted { directory: from.directory().to_owned() }),
        }
    };
    for &id in catalog.parts.keys() {
        copy_file(&part::name(id), u64::MAX, None)?;
    }
    // The journal is listed after the snapshots were copied: it is ahead of them then.
    let segments = Catalog::read(from)?.segments;
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        let limit = if is_last { segment.bytes } else { u64::MAX };
        copy_file(&segment::name(segment.first), limit, is_last.then_some(segment.first))?;
    }
    to.sync_names(None).map_err(JournalError::io(partial, "sync the directory"))?;
    Ok(done)
}

fn write_file(to: &Directory, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let path = to.directory().join(name);
    let output = to.create(name).map_err(JournalError::io(&path, "create"))?;
    output.append(&[bytes]).map_err(JournalError::io(&path, "write"))?;
    output.sync().map_err(JournalError::io(&path, "sync"))
}

/// Bytes of the last segment up to its last whole record. What is damaged stays, for the verification to find.
fn whole_bytes(bytes: &[u8], first: u64) -> usize {
    let Ok(mut reader) = SegmentReader::new(bytes, first) else { return bytes.len() };
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => return bytes.len(),
            Err(fault) if reader.is_torn(&fault) => return reader.offset(),
            Err(_) => return bytes.len(),
        }
    }
}
