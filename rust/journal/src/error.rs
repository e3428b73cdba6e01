//! Why files cannot be used. Texts name the file, the place, the reason, and what to do about it.

use crate::reader::Fault;
use std::io;
use std::path::{Path, PathBuf};

/// What opening, verifying or copying a directory can fail with.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("{}: the directory is in use by another engine or command; stop it first, or choose another directory", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// Files do not say what was written to them.
    #[error(
        "{}: damaged at byte {offset}: {reason}; look closer with `iii-fast verify {dir}`, put a backup in place with \
         `iii-fast restore`, or keep what is intact with `iii-fast serve --salvage`",
        .file.display(), dir = parent(.file)
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// Files that were there are not.
    #[error(
        "{}: files are missing: {what}; put them back, put a backup in place with `iii-fast restore`, or keep what is \
         there with `iii-fast serve --salvage`",
        .directory.display()
    )]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// Which.
        what: String,
    },
    /// The work of another version of the engine, older or newer.
    #[error("{}: another version of the engine wrote this file (byte {offset}: {what}); use that one", .file.display())]
    OtherVersion {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is not known.
        what: String,
    },
    /// The target of a copy is in use.
    #[error("{}: there is something already; choose a directory that does not exist or is empty", .path.display())]
    Occupied {
        /// The target.
        path: PathBuf,
    },
    /// Whoever asked for it does not want it any more.
    #[error("{}: the work was interrupted", .directory.display())]
    Interrupted {
        /// The directory that was read.
        directory: PathBuf,
    },
    /// Files came and went faster than they could be read.
    #[error("{}: the files kept changing while they were read; try again", .directory.display())]
    Restless {
        /// The directory.
        directory: PathBuf,
    },
}

fn parent(file: &Path) -> String {
    file.parent().unwrap_or(file).display().to_string()
}

impl JournalError {
    /// For [`Result::map_err`].
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> JournalError {
        let path = path.into();
        move |source| JournalError::Io { path, action, source }
    }

    /// What is wrong with the contents of `file`.
    pub(crate) fn fault(file: PathBuf, fault: &Fault) -> JournalError {
        let Fault { offset, reason } = fault;
        let text = reason.to_string();
        if reason.is_other_version() {
            JournalError::OtherVersion { file, offset: *offset, what: text }
        } else {
            JournalError::Damaged { file, offset: *offset, reason: text }
        }
    }

    /// Whether a file of `directory` was not there (any more).
    pub(crate) fn is_absence(&self, directory: &Path) -> bool {
        matches!(self, JournalError::Io { path, source, .. }
            if source.kind() == io::ErrorKind::NotFound && path.parent() == Some(directory))
    }
}
