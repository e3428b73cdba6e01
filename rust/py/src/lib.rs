//! The door between Python and the Rust data plane. It decides nothing: arguments in, calls out, errors mapped.

mod calls;
mod changes;
mod engine;
mod errors;
mod harness;
mod harness_http;
mod http;
mod limits;
mod storage;
mod tls;

use iii_fast_core::{error, message};
use pyo3::prelude::*;

/// All error codes that the data plane produces.
#[pyfunction]
fn error_codes() -> Vec<&'static str> {
    error::code::ALL.to_vec()
}

/// `type` of the messages that are handed up unchanged.
#[pyfunction]
fn control_kinds() -> Vec<&'static str> {
    message::CONTROL_KINDS.to_vec()
}

#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Core>()?;
    module.add_class::<engine::Reactor>()?;
    module.add_class::<tls::TlsIdentity>()?;
    module.add_class::<tls::TlsConnection>()?;
    module.add_class::<harness::Harness>()?;
    module.add_class::<harness::StateMap>()?;
    module.add_function(wrap_pyfunction!(error_codes, module)?)?;
    module.add_function(wrap_pyfunction!(control_kinds, module)?)?;
    module.add_function(wrap_pyfunction!(storage::verify_directory, module)?)?;
    module.add_function(wrap_pyfunction!(storage::backup_directory, module)?)?;
    Ok(())
}
