//! The exceptions of `iii_fast.errors`.

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

/// The exception of this class, made from `arguments`; whatever goes wrong on the way instead.
pub fn exception<'py>(py: Python<'py>, class: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let made =
        py.import("iii_fast.errors").and_then(|errors| errors.getattr(class)).and_then(|class| class.call1(arguments));
    match made {
        Ok(made) => PyErr::from_value(made),
        Err(problem) => problem,
    }
}
