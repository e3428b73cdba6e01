//! Http as Python sees it: routes, listeners, and answers to requests that came up.

use crate::engine::{Core, owned};
use crate::tls::TlsIdentity;
use iii_fast_core::http::refusal::Refusal;
use iii_fast_core::http::{Answer, Cors, ExchangeId, Route};
use iii_fast_core::peer::SessionId;
use iii_fast_reactor::http::HttpCommand;
use iii_fast_reactor::inbox::Command;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::net::TcpListener;
use std::os::fd::RawFd;

/// An exchange for Python: its connection and its number there.
pub type Exchange = (u64, u32);

/// An exchange from Python.
pub fn exchange((connection, number): Exchange) -> ExchangeId {
    ExchangeId { connection: SessionId::from_number(connection), number }
}

/// A `contracts.Cors`; every origin and method if there is none.
pub fn cors(cors: Option<&Bound<'_, PyAny>>) -> PyResult<Cors> {
    let Some(cors) = cors else { return Ok(Cors::default()) };
    let methods: Option<Vec<String>> = cors.getattr("methods")?.extract()?;
    Ok(Cors::new(cors.getattr("origins")?.extract()?, methods.as_deref()))
}

/// JSON text from Python.
pub fn text(bytes: &[u8]) -> PyResult<Box<str>> {
    let text = std::str::from_utf8(bytes).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(text.into())
}

/// A route from Python. `ValueError`: what is wrong with its path.
pub fn route(
    id: u64,
    method: &str,
    api_path: &str,
    function_id: &str,
    metadata: Option<&[u8]>,
    is_direct: bool,
) -> PyResult<Route> {
    let metadata = metadata.map(text).transpose()?;
    Route::new(id, method, api_path, function_id, metadata, is_direct).map_err(PyValueError::new_err)
}

/// A result or, when `is_document`, a response object from Python.
pub fn answer(result: Option<&[u8]>, is_document: bool) -> PyResult<Answer> {
    let result = result.map(text).transpose()?;
    Ok(match result {
        Some(object) if is_document => Answer::Document(object),
        result => Answer::Result(result),
    })
}

/// An error from Python.
pub fn refused(status: u16, code: String, message: String) -> Answer {
    Answer::Refused(Refusal::with_code(status, code, message))
}

#[pymethods]
impl Core {
    /// Makes a route serve; `ValueError` for a path that cannot be.
    fn bind_route(
        &self,
        id: u64,
        method: &str,
        api_path: &str,
        function_id: &str,
        metadata: Option<&[u8]>,
        is_direct: bool,
    ) -> PyResult<()> {
        let route = route(id, method, api_path, function_id, metadata, is_direct)?;
        self.data.http.routes.write().add(route).map_err(PyValueError::new_err)
    }

    fn unbind_route(&self, id: u64) {
        self.data.http.routes.write().remove(id);
    }

    /// Accepts clients on a listening socket by its descriptor, which belongs to the first reactor from now on; encrypted if
    /// there is a certificate.
    #[pyo3(signature = (fd, identity = None))]
    fn http_listen(&self, fd: RawFd, identity: Option<&TlsIdentity>) {
        let identity = identity.map(TlsIdentity::identity);
        self.to_first(HttpCommand::Listen(TcpListener::from(owned(fd)), identity));
    }

    /// Accepts no clients any more.
    fn http_unlisten(&self) {
        self.to_first(HttpCommand::Unlisten);
    }

    /// Begins no further request.
    fn http_stop(&self) {
        self.data.http.stop();
        for inbox in &self.inboxes {
            inbox.push(Command::Http(HttpCommand::Stop));
        }
    }

    /// The function of a request that came up is called.
    fn http_proceed(&self, id: Exchange) {
        self.to_exchange(exchange(id), HttpCommand::Proceed);
    }

    /// A request that came up is answered with a function's result, or with a response object whose body is JSON.
    fn http_answer(&self, id: Exchange, result: Option<&[u8]>, is_document: bool) -> PyResult<()> {
        let answer = answer(result, is_document)?;
        self.to_exchange(exchange(id), |id| HttpCommand::Answer(id, answer));
        Ok(())
    }

    /// A request that came up is answered with an error.
    fn http_refuse(&self, id: Exchange, status: u16, code: String, message: String) {
        self.to_exchange(exchange(id), |id| HttpCommand::Answer(id, refused(status, code, message)));
    }

    /// Open connections of clients.
    fn http_connections(&self) -> usize {
        self.data.http.connections.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Core {
    fn to_first(&self, command: HttpCommand) {
        if let Some(inbox) = self.inboxes.first() {
            inbox.push(Command::Http(command));
        }
    }

    fn to_exchange(&self, id: ExchangeId, command: impl FnOnce(ExchangeId) -> HttpCommand) {
        if let Some(inbox) = self.inboxes.get(id.connection.reactor()) {
            inbox.push(Command::Http(command(id)));
        }
    }
}
