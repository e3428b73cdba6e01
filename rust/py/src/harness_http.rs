//! Http connections of the harness.

use crate::harness::Harness;
use crate::http::{Exchange, answer, exchange, refused, route};
use iii_fast_core::peer::SessionId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

#[pymethods]
impl Harness {
    /// As `Core.bind_route`.
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
        self.0.lock().core.http.routes.write().add(route).map_err(PyValueError::new_err)
    }

    fn unbind_route(&self, id: u64) {
        self.0.lock().core.http.routes.write().remove(id);
    }

    /// Time goes on, monotonic and Unix, ms; nothing ends by that alone.
    fn http_time(&self, now_ms: u64, unix_ms: u64) {
        self.0.lock().http_time(now_ms, unix_ms);
    }

    /// What has taken too long ends.
    fn http_tick(&self) {
        self.0.lock().http_tick();
    }

    fn http_connect(&self) -> u64 {
        self.0.lock().http_connect().number()
    }

    fn http_feed(&self, id: u64, data: &[u8]) {
        self.0.lock().http_feed(SessionId::from_number(id), data);
    }

    /// The client sends nothing more.
    fn http_end(&self, id: u64) {
        self.0.lock().http_end(SessionId::from_number(id));
    }

    /// Its connection breaks.
    fn http_lose(&self, id: u64) {
        self.0.lock().http_lose(SessionId::from_number(id));
    }

    /// The bytes that wait for a client, and whether the connection ends behind them.
    fn http_take<'py>(&self, py: Python<'py>, id: u64) -> (Bound<'py, PyBytes>, bool) {
        let (bytes, is_closed) = self.0.lock().http_take(SessionId::from_number(id));
        (PyBytes::new(py, &bytes), is_closed)
    }

    fn http_stop(&self) {
        self.0.lock().http_stop();
    }

    fn http_proceed(&self, id: Exchange) {
        self.0.lock().http_proceed(exchange(id));
    }

    fn http_answer(&self, id: Exchange, result: Option<&[u8]>, is_document: bool) -> PyResult<()> {
        self.0.lock().http_answer(exchange(id), &answer(result, is_document)?);
        Ok(())
    }

    fn http_refuse(&self, id: Exchange, status: u16, code: String, message: String) {
        self.0.lock().http_answer(exchange(id), &refused(status, code, message));
    }
}
