//! Calls on their way up: tuples whose first item names the method of `contracts.Control`.

use crate::http::Exchange;
use iii_fast_core::calls::{Call, Invoked, Outcome};
use iii_fast_core::http::ExchangeId;
use iii_fast_core::state::{Change, State};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

/// Converts calls in their order; then the changes of watched scopes; then whether the change feed has more.
pub fn to_python<'py>(py: Python<'py>, calls: Vec<Call>, state: &State) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for call in calls {
        list.append(call_tuple(py, call)?)?;
    }
    let mut changes = Vec::new();
    if state.changes_waiting() > 0 {
        state.take_changes(&mut changes);
    }
    for change in changes {
        list.append(change_tuple(py, &change)?)?;
    }
    if state.log().take_advanced() {
        list.append(("advanced",))?;
    }
    Ok(list)
}

fn bytes<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyBytes> {
    PyBytes::new(py, text.as_bytes())
}

fn call_tuple(py: Python<'_>, call: Call) -> PyResult<Bound<'_, PyTuple>> {
    match call {
        Call::Invoked(invoked) => invoked_tuple(py, &invoked),
        Call::Message { session, kind, text } => {
            ("message", session.number(), kind, bytes(py, &text)).into_pyobject(py)
        }
        Call::Settled { ticket, outcome } => match outcome {
            Outcome::Result(body) => {
                let body = body.map(|body| bytes(py, &body));
                ("settled", ticket, body).into_pyobject(py)
            }
            Outcome::WorkerError(object) => ("failed_object", ticket, bytes(py, &object)).into_pyobject(py),
            Outcome::Error(error) => ("failed", ticket, error.code, &*error.message).into_pyobject(py),
        },
        Call::Requested(requested) => {
            let exchange = exchange_tuple(&requested.exchange);
            ("requested", exchange, requested.route, bytes(py, &requested.request), requested.left_ms).into_pyobject(py)
        }
        Call::Left(exchange) => ("left", exchange_tuple(&exchange)).into_pyobject(py),
        Call::Warned(text) => ("warned", &*text).into_pyobject(py),
        Call::Closed { session, worker_id, reason } => {
            ("closed", session.number(), worker_id.to_string(), &*reason).into_pyobject(py)
        }
    }
}

fn exchange_tuple(exchange: &ExchangeId) -> Exchange {
    (exchange.connection.number(), exchange.number)
}

fn invoked_tuple<'py>(py: Python<'py>, invoked: &Invoked) -> PyResult<Bound<'py, PyTuple>> {
    (
        "called",
        invoked.session.number(),
        invoked.invocation_id.as_deref(),
        &*invoked.function_id,
        bytes(py, &invoked.data),
        invoked.metadata.as_deref().map(|metadata| bytes(py, metadata)),
        invoked.queue.as_deref(),
        invoked.traceparent.as_deref(),
        invoked.baggage.as_deref(),
    )
        .into_pyobject(py)
}

fn change_tuple<'py>(py: Python<'py>, change: &Change) -> PyResult<Bound<'py, PyTuple>> {
    let mut event = Vec::new();
    change.write_event(&mut event);
    let event = PyBytes::new(py, &event);
    (PyString::intern(py, "changed"), &*change.scope, &*change.key, event).into_pyobject(py)
}
