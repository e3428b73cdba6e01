//! The change feed on its way up.

use crate::errors::exception;
use iii_fast_core::log::history::Filter;
use iii_fast_core::state::State;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Acknowledged changes after `since`: JSON texts, and the position up to which they go.
pub fn read<'py>(
    py: Python<'py>,
    state: &State,
    since: u64,
    filter: Filter<'_>,
    count_max: usize,
    bytes_max: usize,
) -> PyResult<(Vec<Bound<'py, PyBytes>>, u64)> {
    let found = py
        .detach(|| state.log().read(since, filter, count_max, bytes_max))
        .map_err(|error| exception(py, "WireError", (error.code, &*error.message)))?;
    let items = found.items.iter().map(|item| PyBytes::new(py, item)).collect();
    Ok((items, found.position))
}
