//! The data plane without sockets, for differential tests and in-process benchmarks.

use crate::{calls, changes, http, limits};
use iii_fast_core::control::{Answered, ControlInvocation};
use iii_fast_core::log::history::Filter;
use iii_fast_core::loopback::Loopback;
use iii_fast_core::peer::SessionId;
use iii_fast_core::state::{State, Stored};
use iii_fast_core::ws;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::atomic::Ordering;

/// A core whose sessions are fed by hand. Boxed: Python does not align its objects as the map's locks ask for.
#[pyclass(frozen, module = "iii_fast._core")]
pub struct Harness(pub(crate) Box<Mutex<Loopback>>);

fn text(bytes: &[u8]) -> PyResult<Box<str>> {
    let text = std::str::from_utf8(bytes).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(text.into())
}

#[pymethods]
impl Harness {
    #[new]
    #[pyo3(signature = (limits, cors = None))]
    fn new(limits: &Bound<'_, PyAny>, cors: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let mut plane = Loopback::new(limits::from_python(limits)?);
        plane.core.http.cors = http::cors(cors)?;
        Ok(Harness(Box::new(Mutex::new(plane))))
    }

    #[allow(clippy::needless_pass_by_value)] // Python hands over a list
    fn define(&self, function_ids: Vec<String>) {
        self.0.lock().core.registry.define(function_ids.iter().map(String::as_str));
    }

    /// A worker connects.
    fn connect(&self) -> u64 {
        self.0.lock().connect().number()
    }

    /// Its connection breaks.
    fn disconnect(&self, session: u64) {
        self.0.lock().disconnect(SessionId::from_number(session));
    }

    /// A text message arrives; false when the session is closed.
    fn receive(&self, session: u64, message: &[u8]) -> bool {
        self.0.lock().receive(SessionId::from_number(session), ws::OPCODE_TEXT, message)
    }

    /// A binary message arrives.
    fn receive_binary(&self, session: u64, message: &[u8]) -> bool {
        self.0.lock().receive(SessionId::from_number(session), ws::OPCODE_BINARY, message)
    }

    /// Masked frames arrive; returns the frames that wait for the session then.
    #[allow(clippy::needless_pass_by_value)] // unmasked in place
    fn feed<'py>(&self, py: Python<'py>, session: u64, mut frames: Vec<u8>) -> Bound<'py, PyBytes> {
        let session = SessionId::from_number(session);
        let mut loopback = self.0.lock();
        loopback.feed(session, &mut frames);
        PyBytes::new(py, &loopback.take(session))
    }

    /// The frames that wait for a session.
    fn take<'py>(&self, py: Python<'py>, session: u64) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.lock().take(SessionId::from_number(session)))
    }

    /// As `Core.take_calls`.
    fn take_calls<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut loopback = self.0.lock();
        let calls = loopback.take_calls();
        calls::to_python(py, calls, &loopback.core.state)
    }

    /// The calls that were taken are dealt with.
    fn handled(&self) {
        self.0.lock().handled();
    }

    /// As `Core.begin_feed`.
    fn begin_feed(&self) -> u64 {
        self.0.lock().core.state.begin_feed()
    }

    /// As `Core.read_changes`.
    fn read_changes<'py>(
        &self,
        py: Python<'py>,
        since: u64,
        scope: Option<&str>,
        prefix: Option<&str>,
        count_max: usize,
        bytes_max: usize,
    ) -> PyResult<(Vec<Bound<'py, PyBytes>>, u64)> {
        changes::read(py, &self.0.lock().core.state, since, Filter { scope, prefix }, count_max, bytes_max)
    }

    /// Time goes on, to this Unix time in ms: what has expired goes.
    fn advance(&self, now_ms: u64) {
        let loopback = self.0.lock();
        loopback.core.advance_clock(now_ms);
    }

    /// Time goes on, but what has expired stays until something comes across it.
    fn set_time(&self, now_ms: u64) {
        self.0.lock().core.state.advance_clock(now_ms);
    }

    fn watch(&self, scope: Option<&str>) {
        self.0.lock().core.state.watch(scope);
    }

    fn unwatch(&self, scope: Option<&str>) {
        self.0.lock().core.state.unwatch(scope);
    }

    fn set_peer_message_max(&self, session: u64, message_bytes_max: usize) {
        if let Some(peer) = self.0.lock().core.directory.get(SessionId::from_number(session)) {
            peer.message_bytes_max.store(message_bytes_max, Ordering::Relaxed);
        }
    }

    #[pyo3(signature = (ticket, function_id, data, metadata))]
    fn invoke(&self, ticket: u64, function_id: &str, data: &[u8], metadata: Option<&[u8]>) -> PyResult<()> {
        let invocation = ControlInvocation {
            ticket,
            function_id: function_id.into(),
            data: text(data)?,
            metadata: metadata.map(text).transpose()?,
            traceparent: None,
            baggage: None,
        };
        self.0.lock().invoke(&invocation);
        Ok(())
    }

    fn settle_result(&self, session: u64, invocation_id: &str, function_id: &str, body: Option<&[u8]>) -> PyResult<()> {
        let answered = Answered::Result(body.map(text).transpose()?);
        self.0.lock().settle(SessionId::from_number(session), invocation_id, function_id, &answered);
        Ok(())
    }
}

/// The striped map alone; boxed as above.
#[pyclass(frozen, module = "iii_fast._core")]
pub struct StateMap(Box<State>);

#[pymethods]
impl StateMap {
    #[new]
    fn new(stripes: usize) -> Self {
        StateMap(Box::new(State::in_memory(stripes)))
    }

    fn get<'py>(&self, py: Python<'py>, scope: &str, key: &str) -> Option<Bound<'py, PyBytes>> {
        self.0.get(scope, key).map(|stored| PyBytes::new(py, stored.bytes()))
    }

    /// Returns whether the key was there.
    fn set(&self, scope: &str, key: &str, value: &str) -> PyResult<bool> {
        let written = self.0.set(scope, key, Stored::new(value), None);
        written.map(|written| written.outcome.is_some()).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Returns whether the key was there.
    fn delete(&self, scope: &str, key: &str) -> bool {
        self.0.delete(scope, key).is_ok_and(|written| written.outcome.is_some())
    }

    fn list<'py>(&self, py: Python<'py>, scope: &str) -> Vec<Bound<'py, PyBytes>> {
        self.0.list(scope).iter().map(|stored| PyBytes::new(py, stored.bytes())).collect()
    }
}
