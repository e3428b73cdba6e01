//! TLS for streams of Trio: bytes in, bytes out; and connections that a reactor goes on with.

use iii_fast_reactor::tls;
use parking_lot::Mutex;
use pyo3::exceptions::{PyConnectionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A certificate chain with its key, from PEM texts.
#[pyclass(frozen, module = "iii_fast._core")]
pub struct TlsIdentity(tls::TlsIdentity);

impl TlsIdentity {
    /// For a listener.
    pub fn identity(&self) -> tls::TlsIdentity {
        self.0.clone()
    }
}

#[pymethods]
impl TlsIdentity {
    #[new]
    fn new(certificates: &[u8], key: &[u8]) -> PyResult<Self> {
        let identity = tls::TlsIdentity::from_pem(certificates, key);
        identity.map(TlsIdentity).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// For a connection that was just accepted.
    fn connection(&self) -> PyResult<TlsConnection> {
        let connection = self.0.connection().map_err(|error| PyConnectionError::new_err(error.to_string()))?;
        Ok(TlsConnection(Mutex::new(Some(Box::new(connection)))))
    }
}

/// One connection, until a reactor takes it.
#[pyclass(frozen, module = "iii_fast._core")]
pub struct TlsConnection(Mutex<Option<Box<tls::TlsConnection>>>);

fn broken(error: impl ToString) -> PyErr {
    PyConnectionError::new_err(error.to_string())
}

impl TlsConnection {
    /// The connection itself; whoever asks after that gets an error.
    pub fn give(&self) -> PyResult<Box<tls::TlsConnection>> {
        self.0.lock().take().ok_or_else(|| broken("a reactor has this connection"))
    }

    fn with<T>(&self, work: impl FnOnce(&mut tls::TlsConnection) -> PyResult<T>) -> PyResult<T> {
        match &mut *self.0.lock() {
            Some(connection) => work(connection),
            None => Err(broken("a reactor has this connection")),
        }
    }
}

#[pymethods]
impl TlsConnection {
    fn receive<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut plain = Vec::new();
        self.with(|tls| tls.receive(data, &mut plain).map_err(broken))?;
        Ok(PyBytes::new(py, &plain))
    }

    fn send(&self, data: &[u8]) -> PyResult<()> {
        self.with(|tls| Ok(tls.send(data)?))
    }

    fn close(&self) -> PyResult<()> {
        self.with(|tls| {
            tls.close();
            Ok(())
        })
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.with(|tls| Ok(tls.take()?))?))
    }
}
