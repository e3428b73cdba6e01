//! The door between Python and the Rust data plane. It decides nothing.
use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _core(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
