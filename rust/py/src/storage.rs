//! The files of state as Python sees them.

use crate::errors::exception;
use iii_fast_core::core::Core;
use iii_fast_journal::backup::backup;
use iii_fast_journal::verify::{Report, verify};
use iii_fast_journal::{Journal, JournalError, Options, Recovered, SyncLevel};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Reads the fields of a `contracts.Storage` that has a directory.
fn options(storage: &Bound<'_, PyAny>) -> PyResult<Options> {
    let sync: String = storage.getattr("sync")?.extract()?;
    Ok(Options {
        directory: storage.getattr("directory")?.extract()?,
        sync: match sync.as_str() {
            "always" => SyncLevel::Always,
            "interval" => SyncLevel::Interval,
            "never" => SyncLevel::Never,
            other => {
                return Err(PyValueError::new_err(format!("sync is {other:?}, expected always, interval or never")));
            }
        },
        sync_interval: Duration::from_millis(storage.getattr("sync_interval_ms")?.extract()?),
        segment_bytes: storage.getattr("segment_bytes")?.extract()?,
        history_bytes_max: storage.getattr("history_bytes_max")?.extract()?,
        salvage: storage.getattr("salvage")?.extract()?,
    })
}

fn storage_error(py: Python<'_>, error: &JournalError) -> PyErr {
    exception(py, "StorageError", (error.to_string(),))
}

/// Opens the directory that `storage` names into the empty state of `core`; without the interpreter.
pub fn open(py: Python<'_>, core: &Core, storage: &Bound<'_, PyAny>) -> PyResult<(Arc<Journal>, Recovered)> {
    let options = options(storage)?;
    py.detach(|| Journal::open(options, &core.state, core.state.log())).map_err(|error| storage_error(py, &error))
}

/// What a start found: entries, position, torn bytes, dropped bytes, and where salvage put the files that were there.
pub type Found = (usize, u64, u64, u64, Option<PathBuf>);

pub fn recovered(core: &Core, found: &Recovered) -> Found {
    let torn = found.torn.as_ref().map_or(0, |torn| torn.bytes);
    let salvaged = found.salvaged.as_ref();
    let dropped = salvaged.map_or(0, |salvaged| salvaged.dropped.iter().map(|one| one.bytes).sum());
    (core.state.key_count(), found.last, torn, dropped, salvaged.map(|salvaged| salvaged.directory.clone()))
}

/// Tells Python about progress, and remembers what it raised.
struct Progress {
    told: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Progress {
    /// Signals count too: Ctrl-C ends the work.
    fn tell(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        let told = Python::attach(|py| {
            py.check_signals()?;
            self.told.as_ref().map_or(Ok(()), |told| told.call1(py, (done, total)).map(drop))
        });
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(raised) => {
                self.raised = Some(raised);
                ControlFlow::Break(())
            }
        }
    }
}

fn report<'py>(py: Python<'py>, found: &Report) -> PyResult<Bound<'py, PyDict>> {
    let damages: Vec<(PathBuf, u64, &str)> =
        found.damages.iter().map(|damage| (damage.file.clone(), damage.offset, damage.reason.as_str())).collect();
    let report = PyDict::new(py);
    report.set_item("files", found.files)?;
    report.set_item("entries", found.entries)?;
    report.set_item("commits", found.commits)?;
    report.set_item("first", found.first)?;
    report.set_item("last", found.last)?;
    report.set_item("torn_bytes", found.torn_bytes)?;
    report.set_item("damages", damages)?;
    Ok(report)
}

/// Does the work without the interpreter, and raises what `progress` raised.
fn told<'py>(
    py: Python<'py>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<Report, JournalError> + Send,
) -> PyResult<Bound<'py, PyDict>> {
    let mut progress = Progress { told: progress, raised: None };
    let found = py.detach(|| work(&mut |done, total| progress.tell(done, total)));
    match progress.raised {
        Some(raised) => Err(raised),
        None => report(py, &found.map_err(|error| storage_error(py, &error))?),
    }
}

/// Reads and checks all files of a directory; see `storage_files.py`.
#[pyfunction]
#[pyo3(signature = (path, progress=None))]
#[allow(clippy::needless_pass_by_value)] // Python hands them over
pub fn verify_directory<'py>(
    py: Python<'py>,
    path: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    told(py, progress, |tell| verify(&path, tell))
}

/// Copies a directory to where another engine could start from it, and verifies the copy.
#[pyfunction]
#[pyo3(signature = (source, dest, progress=None))]
#[allow(clippy::needless_pass_by_value)] // Python hands them over
pub fn backup_directory<'py>(
    py: Python<'py>,
    source: PathBuf,
    dest: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    told(py, progress, |tell| backup(&source, &dest, tell))
}
