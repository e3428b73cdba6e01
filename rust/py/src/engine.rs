//! The shared core and its reactors as Python sees them.

use crate::tls::TlsConnection;
use crate::{calls, changes, http, limits, storage};
use iii_fast_core::calls::Wake;
use iii_fast_core::control::{Answered, ControlInvocation};
use iii_fast_core::core as data;
use iii_fast_core::limits::Limits;
use iii_fast_core::log::history::Filter;
use iii_fast_core::peer::SessionId;
use iii_fast_core::registry::Provider;
use iii_fast_core::remote::{Address, Remote};
use iii_fast_journal::Journal;
use iii_fast_reactor::inbox::{Adoption, Command, Inbox, Purpose};
use iii_fast_reactor::poller::Waker;
use iii_fast_reactor::{Turn, reactors};
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

struct CallsWaker(Arc<Waker>);

impl Wake for CallsWaker {
    fn wake(&self) {
        self.0.wake();
    }
}

/// The data plane: state, registry, invocations, and the queue of calls for Python.
#[pyclass(frozen, module = "iii_fast._core")]
pub struct Core {
    pub(crate) data: Arc<data::Core>,
    calls: Arc<Waker>,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    reactors: Mutex<Vec<iii_fast_reactor::Reactor>>,
    journal: OnceLock<Arc<Journal>>,
}

fn text(bytes: &[u8], what: &str) -> PyResult<Box<str>> {
    let text = std::str::from_utf8(bytes).map_err(|error| PyValueError::new_err(format!("{what}: {error}")))?;
    Ok(text.into())
}

impl Core {
    fn to_session(&self, session: u64, command: impl FnOnce(SessionId) -> Command) {
        let session = SessionId::from_number(session);
        if let Some(inbox) = self.inboxes.get(session.reactor()) {
            inbox.push(command(session));
        }
    }

    fn settle(&self, session: u64, invocation_id: &str, function_id: &str, answered: Answered) {
        let (invocation_id, function_id) = (invocation_id.into(), function_id.into());
        self.to_session(session, |session| Command::Settle { session, invocation_id, function_id, answered });
    }
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (limits, reactor_count, history_bytes_max, redis = None, cors = None))]
    fn new(
        limits: &Bound<'_, PyAny>,
        reactor_count: usize,
        history_bytes_max: usize,
        redis: Option<RedisPlace>,
        cors: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let calls = Arc::new(Waker::new()?);
        let limits = Limits { history_bytes_max, ..limits::from_python(limits)? };
        let remote = redis.map(|redis| Remote::new(address(redis), reactor_count));
        let mut data = data::Core::with_remote(limits, Box::new(CallsWaker(calls.clone())), remote);
        data.http.cors = http::cors(cors)?;
        let data = Arc::new(data);
        let reactors = reactors(&data, reactor_count)?;
        let inboxes = reactors.iter().map(iii_fast_reactor::Reactor::inbox).collect();
        Ok(Core { data, calls, inboxes, reactors: Mutex::new(reactors), journal: OnceLock::new() })
    }

    /// Loads the directory that `storage` names, without the interpreter: entries, position, torn bytes, dropped bytes. Once, before serving.
    fn open_storage(&self, py: Python<'_>, storage: &Bound<'_, PyAny>) -> PyResult<storage::Found> {
        let (journal, found) = storage::open(py, &self.data, storage)?;
        if self.journal.set(journal).is_err() {
            return Err(PyRuntimeError::new_err("the storage is open already"));
        }
        Ok(storage::recovered(&self.data, &found))
    }

    /// Writes to the files until `stop_storage`, without the interpreter; blocks its thread.
    fn run_storage(&self, py: Python<'_>) {
        if let Some(journal) = self.journal.get() {
            py.detach(|| journal.run(&self.data.state));
        }
    }

    /// Ends `run_storage` when everything is written, from any thread.
    fn stop_storage(&self) {
        if let Some(journal) = self.journal.get() {
            journal.stop();
        }
    }

    /// `(keys, live_bytes, disk_bytes, position, acknowledged, synced, failure, snapshots, snapshot_failure)` of state.
    #[allow(clippy::type_complexity)] // a row for Python
    fn storage(&self) -> (usize, u64, u64, u64, u64, u64, Option<String>, u64, Option<String>) {
        let (state, stats) = (&self.data.state, self.journal.get().map(|journal| journal.stats()));
        let log = state.log();
        let (disk_bytes, snapshots, snapshot_failure) =
            stats.map_or((0, 0, None), |stats| (stats.disk_bytes, stats.snapshots, stats.snapshot_failure));
        let failure = log.failure().map(str::to_owned);
        // In this order: what is synced is never more than what is acknowledged, nor that more than the position.
        let (synced, acknowledged) = (log.synced(), log.acknowledged());
        (
            state.key_count(),
            state.live_bytes(),
            disk_bytes,
            log.last(),
            acknowledged,
            synced,
            failure,
            snapshots,
            snapshot_failure,
        )
    }

    /// Hands the reactors out, once.
    fn take_reactors(&self) -> Vec<Reactor> {
        let hand_out = |reactor: iii_fast_reactor::Reactor| Reactor {
            data: self.data.clone(),
            inbox: reactor.inbox(),
            reactor: Mutex::new(reactor),
        };
        std::mem::take(&mut *self.reactors.lock()).into_iter().map(hand_out).collect()
    }

    /// Readable when calls wait.
    fn fileno(&self) -> RawFd {
        self.calls.as_fd().as_raw_fd()
    }

    /// The oldest calls that wait, at most `count_max` and in order, and the changes of watched scopes.
    fn take_calls<'py>(&self, py: Python<'py>, count_max: usize) -> PyResult<Bound<'py, PyList>> {
        if self.data.calls.is_announced() {
            self.calls.clear();
        }
        calls::to_python(py, self.data.calls.take(count_max), &self.data.state)
    }

    /// The calls that were taken are dealt with: sessions that waited for that go on.
    fn handled(&self) {
        if !self.data.calls.set_handled() {
            return;
        }
        for inbox in &self.inboxes {
            inbox.push(Command::Resume);
        }
    }

    #[allow(clippy::needless_pass_by_value)] // Python hands over a list
    fn define(&self, function_ids: Vec<String>) {
        self.data.registry.define(function_ids.iter().map(String::as_str));
    }

    #[pyo3(signature = (ticket, function_id, data, metadata, traceparent, baggage))]
    fn invoke(
        &self,
        ticket: u64,
        function_id: &str,
        data: &[u8],
        metadata: Option<&[u8]>,
        traceparent: Option<&str>,
        baggage: Option<&str>,
    ) -> PyResult<()> {
        let invocation = ControlInvocation {
            ticket,
            function_id: function_id.into(),
            data: text(data, "data")?,
            metadata: metadata.map(|metadata| text(metadata, "metadata")).transpose()?,
            traceparent: traceparent.map(Into::into),
            baggage: baggage.map(Into::into),
        };
        if let Some(inbox) = self.inboxes.first() {
            inbox.push(Command::Invoke(invocation));
        }
        Ok(())
    }

    fn forget(&self, ticket: u64) {
        if let Some(inbox) = self.inboxes.first() {
            inbox.push(Command::Forget(ticket));
        }
    }

    fn settle_result(&self, session: u64, invocation_id: &str, function_id: &str, body: Option<&[u8]>) -> PyResult<()> {
        let body = body.map(|body| text(body, "result")).transpose()?;
        self.settle(session, invocation_id, function_id, Answered::Result(body));
        Ok(())
    }

    #[pyo3(signature = (session, invocation_id, function_id, code, message, stacktrace))]
    fn settle_error(
        &self,
        session: u64,
        invocation_id: &str,
        function_id: &str,
        code: &str,
        message: &str,
        stacktrace: Option<&str>,
    ) {
        let answered =
            Answered::Error { code: code.into(), message: message.into(), stacktrace: stacktrace.map(Into::into) };
        self.settle(session, invocation_id, function_id, answered);
    }

    fn push(&self, session: u64, message: &[u8]) {
        self.to_session(session, |session| Command::Push(session, message.to_vec()));
    }

    fn close(&self, session: u64, code: u16, reason: &str) {
        self.to_session(session, |session| Command::Close { session, code, reason: reason.into() });
    }

    fn close_all(&self, code: u16, reason: &str) {
        for inbox in &self.inboxes {
            inbox.push(Command::CloseAll { code, reason: reason.into() });
        }
    }

    fn set_peer_message_max(&self, session: u64, message_bytes_max: usize) {
        if let Some(peer) = self.data.directory.get(SessionId::from_number(session)) {
            peer.message_bytes_max.store(message_bytes_max, Ordering::Relaxed);
        }
    }

    fn watch(&self, scope: Option<&str>) {
        self.data.state.watch(scope);
    }

    fn unwatch(&self, scope: Option<&str>) {
        self.data.state.unwatch(scope);
    }

    /// See `Backend.begin_feed`.
    fn begin_feed(&self) -> u64 {
        self.data.state.begin_feed()
    }

    /// See `Backend.read_changes`: the items and the position.
    fn read_changes<'py>(
        &self,
        py: Python<'py>,
        since: u64,
        scope: Option<&str>,
        prefix: Option<&str>,
        count_max: usize,
        bytes_max: usize,
    ) -> PyResult<(Vec<Bound<'py, PyBytes>>, u64)> {
        changes::read(py, &self.data.state, since, Filter { scope, prefix }, count_max, bytes_max)
    }

    /// The connection of the worker that has registered a function.
    fn provider(&self, function_id: &str) -> Option<u64> {
        match self.data.registry.find(function_id)? {
            Provider::Worker(function) => Some(function.peer.session.number()),
            Provider::Control => None,
        }
    }

    /// `(function_id, session, worker_id, registration)` of every worker's function, sorted by id.
    fn functions(&self) -> Vec<(String, u64, String, Vec<u8>)> {
        let functions = self.data.registry.workers_functions();
        let row = |function: &Arc<iii_fast_core::registry::Function>| {
            let peer = &function.peer;
            (
                function.id.to_string(),
                peer.session.number(),
                peer.worker_id.to_string(),
                function.registration.as_bytes().to_vec(),
            )
        };
        functions.iter().map(row).collect()
    }

    /// `(session, worker_id, address, connected_at_ms, invocations_in_flight)` of every worker, oldest first.
    fn workers(&self) -> Vec<(u64, String, String, u64, u32)> {
        let row = |peer: &Arc<iii_fast_core::peer::Peer>| {
            (
                peer.session.number(),
                peer.worker_id.to_string(),
                peer.address.to_string(),
                peer.connected_at_ms,
                peer.executing.load(Ordering::Relaxed),
            )
        };
        self.data.directory.all().iter().map(row).collect()
    }

    /// `(address, connected, pending, failure)` of the Redis server that keeps state, if one does.
    fn redis(&self) -> Option<(String, bool, usize, Option<String>)> {
        let remote = self.data.remote.as_ref()?;
        Some((remote.shown().to_owned(), remote.is_connected(), remote.pending(), remote.failure()))
    }

    /// `(connections, invocations_in_flight, messages_in, messages_ignored, telemetry_frames, telemetry_bytes)`.
    fn stats(&self) -> (u64, u64, u64, u64, u64, u64) {
        let counters = &self.data.counters;
        (
            counters.connections.load(Ordering::Relaxed),
            self.data.invocations.in_flight() as u64 + self.data.remote.as_ref().map_or(0, Remote::pending) as u64,
            counters.messages_in.load(Ordering::Relaxed),
            counters.messages_ignored.load(Ordering::Relaxed),
            counters.telemetry_frames.load(Ordering::Relaxed),
            counters.telemetry_bytes.load(Ordering::Relaxed),
        )
    }
}

/// Where Redis is: host, port, user, password, number of the database.
type RedisPlace = (String, u16, Option<String>, Option<String>, u32);

fn address((host, port, user, password, database): RedisPlace) -> Address {
    Address { host, port, user, password, database }
}

/// One loop over its own connections.
#[pyclass(frozen, module = "iii_fast._core")]
pub struct Reactor {
    data: Arc<data::Core>,
    reactor: Mutex<iii_fast_reactor::Reactor>,
    inbox: Arc<Inbox>,
}

/// Takes a descriptor from Python.
pub(crate) fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller has detached the descriptor from its socket object (`socket.detach()`), so it is open and owned
    // by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn broken(error: &std::io::Error) -> PyErr {
    PyRuntimeError::new_err(format!("the reactor cannot go on: {error}"))
}

fn purpose(name: &str) -> PyResult<Purpose> {
    match name {
        "worker" => Ok(Purpose::Worker),
        "telemetry" => Ok(Purpose::Telemetry),
        "echo" => Ok(Purpose::Echo),
        other => Err(PyValueError::new_err(format!("purpose is {other:?}, expected worker, telemetry or echo"))),
    }
}

#[pymethods]
impl Reactor {
    /// Readable when a turn has something to do.
    fn fileno(&self) -> RawFd {
        self.reactor.lock().fd().as_raw_fd()
    }

    /// Serves whatever is ready, without the interpreter; true when more may be ready already.
    fn turn(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| self.reactor.lock().turn()).map(|turn| turn == Turn::More).map_err(|error| broken(&error))
    }

    /// Serves until `stop`, without the interpreter; blocks its thread.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.reactor.lock().run()).map_err(|error| broken(&error))
    }

    /// Ends `run`, from any thread.
    fn stop(&self) {
        self.inbox.push(Command::Stop);
    }

    /// Takes over a connected socket by its descriptor, which belongs to the reactor from now on, as its encryption does.
    #[allow(clippy::needless_pass_by_value)] // Python hands over bytes
    #[pyo3(signature = (fd, leftover, purpose_name, address, now_ms, tls = None))]
    fn adopt(
        &self,
        fd: RawFd,
        leftover: Vec<u8>,
        purpose_name: &str,
        address: &str,
        now_ms: u64,
        tls: Option<&TlsConnection>,
    ) -> PyResult<()> {
        let socket = TcpStream::from(owned(fd));
        let purpose = purpose(purpose_name)?;
        let tls = tls.map(TlsConnection::give).transpose()?;
        let adoption = Adoption { socket, tls, leftover, purpose, address: address.into(), connected_at_ms: now_ms };
        self.inbox.adopt(&self.data, adoption);
        Ok(())
    }
}
