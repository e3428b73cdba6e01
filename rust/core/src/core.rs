//! Everything that sessions and reactors share, and the two events that touch all of it: a worker comes, a worker goes.

use crate::calls::{CALLS_WAITING_MAX, Call, CallQueue, Wake};
use crate::dispatch::Router;
use crate::error::{WireError, code};
use crate::http::Service;
use crate::invocation::{InvocationId, Invocations};
use crate::limits::Limits;
use crate::log::Log;
use crate::outcome::{Settlement, deliver};
use crate::peer::{Directory, Peer, SessionId};
use crate::registry::Registry;
use crate::remote::Remote;
use crate::reply::IdText;
use crate::state::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries that expire in one go: then others get their turn.
const EXPIRED_AT_ONCE_MAX: usize = 4096;

/// The shared half of the data plane.
pub struct Core {
    /// Bounds, fixed at start.
    pub limits: Limits,
    /// Key-value state; empty when it is kept elsewhere.
    pub state: State,
    /// The server that keeps it instead.
    pub remote: Option<Remote>,
    /// Who provides what.
    pub registry: Registry,
    /// Who waits for what.
    pub invocations: Invocations,
    /// Live workers.
    pub directory: Directory,
    /// Http clients and what serves them.
    pub http: Service,
    /// What waits for Python.
    pub calls: CallQueue,
    /// Counted since start.
    pub counters: Counters,
}

/// Counters since start; relaxed, for people.
#[derive(Default)]
pub struct Counters {
    /// Open connections of every kind.
    pub connections: AtomicU64,
    /// Messages read from workers.
    pub messages_in: AtomicU64,
    /// Messages that were not understood.
    pub messages_ignored: AtomicU64,
    /// Telemetry messages dropped.
    pub telemetry_frames: AtomicU64,
    /// Their bytes.
    pub telemetry_bytes: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes from a counter.
    pub fn subtract(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }
}

impl Core {
    /// An empty engine; `wake` tells the control loop to fetch calls.
    pub fn new(limits: Limits, wake: Box<dyn Wake>) -> Self {
        Self::with_remote(limits, wake, None)
    }

    /// As [`Core::new`], with state in `remote`.
    pub fn with_remote(limits: Limits, wake: Box<dyn Wake>, remote: Option<Remote>) -> Self {
        Core {
            remote,
            state: State::new(limits.stripes, limits.quotas, Arc::new(Log::new(limits.history_bytes_max))),
            registry: Registry::default(),
            invocations: Invocations::new(limits.invocations_in_flight_max),
            directory: Directory::default(),
            http: Service::new(limits.http.requests_max),
            calls: CallQueue::new(wake),
            counters: Counters::default(),
            limits,
        }
    }

    /// Whether what waits for Python is so much that whoever adds to it has to wait.
    pub fn is_control_full(&self) -> bool {
        self.calls.is_full() || self.state.changes_waiting() >= CALLS_WAITING_MAX
    }

    /// Whether so many changes wait for the disk that whoever adds to them has to wait.
    #[inline]
    pub fn is_log_full(&self) -> bool {
        self.state.log().waiting_bytes() >= self.limits.log_bytes_max
    }

    /// Time goes on: what has expired goes. `now_unix_ms`: wall time.
    pub fn advance_clock(&self, now_unix_ms: u64) {
        self.state.advance_clock(now_unix_ms);
        if self.state.has_due() && !self.is_log_full() && self.state.expire_due(EXPIRED_AT_ONCE_MAX).noted {
            self.calls.announce();
        }
    }

    /// More is acknowledged: the control plane hears of it, if it wants to.
    pub fn announce_acknowledged(&self) {
        if self.wants_acknowledged() {
            self.calls.announce();
        }
    }

    /// Whether the control plane wants to hear what is acknowledged.
    pub fn wants_acknowledged(&self) -> bool {
        self.state.changes_waiting() > 0 || self.state.log().has_advanced()
    }

    /// A worker connected.
    pub fn connect(&self, session: SessionId, address: &str, connected_at_ms: u64) -> Arc<Peer> {
        let peer = Arc::new(Peer::new(session, address, connected_at_ms, self.limits.message_bytes_max));
        self.directory.insert(peer.clone());
        peer
    }

    /// A worker is gone: nothing of it stays, and nobody waits for it. Safe to call more than once, from any reactor; when it
    /// returns, everything is done.
    pub fn disconnect(&self, peer: &Peer, reason: &str, router: &mut impl Router) {
        peer.leave(|| {
            self.registry.remove_worker(peer);
            for (id, pending) in self.invocations.stop_worker(peer) {
                let stopped = WireError::new(code::INVOCATION_STOPPED, "Invocation stopped");
                deliver(self, router, &IdText::new(&id), pending, Settlement::Error(&stopped));
            }
            self.calls.push(Call::Closed { session: peer.session, worker_id: peer.worker_id, reason: reason.into() });
            // Last: a reattaching newcomer that does not find it any more must not have to wait for the rest.
            self.directory.remove(peer);
        });
    }

    /// A request came to a reactor whose session had just gone: its caller is told.
    pub fn undeliverable(&self, id: &InvocationId, router: &mut impl Router) {
        if let Some(pending) = self.invocations.withdraw(id) {
            let stopped = WireError::new(code::INVOCATION_STOPPED, "Invocation stopped");
            deliver(self, router, &IdText::new(id), pending, Settlement::Error(&stopped));
        }
    }
}
