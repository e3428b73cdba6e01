//! State in a Redis server instead of in the map: the same functions, answers and errors (docs/state.md, With Redis). No I/O: each reactor
//! drives a [`Pipeline`] with the bytes of its own connection, and replies come in the order of the commands.

mod commit;
mod inflow;
pub mod layout;
mod page;
mod pipeline;
pub mod resp;
pub mod scripts;
mod task;

pub use pipeline::{Pipeline, Progress};

use crate::calls::{Call, Outcome};
use crate::codec::Value;
use crate::control::outcome_of;
use crate::core::Core;
use crate::dispatch::Router;
use crate::error::{WireError, code};
use crate::outcome::{Settlement, give_up_if_flooded, owned};
use crate::peer::Peer;
use crate::reply::{Id, Reply};
use crate::state::{Answer, Change};
use crate::utc;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Where Redis is, and who is to be there.
#[derive(Clone)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User of an access list.
    pub user: Option<String>,
    /// Password, of that user or of all.
    pub password: Option<String>,
    /// Number of the database.
    pub database: u32,
}

impl Address {
    /// For people: everything but the password.
    pub fn shown(&self) -> String {
        let Address { host, port, user, database, .. } = self;
        let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        if host.contains(':') {
            return format!("{user}[{host}]:{port}/{database}");
        }
        format!("{user}{host}:{port}/{database}")
    }
}

/// What is known of Redis by all reactors.
pub struct Remote {
    /// Where it is.
    pub address: Address,
    shown: String,
    connections: Box<[Connection]>,
    away: Mutex<Option<Away>>,
}

#[derive(Default)]
struct Connection {
    is_up: AtomicBool,
    pending: AtomicUsize,
}

/// Since when, in Unix ms, and why.
#[derive(Clone)]
struct Away {
    since_ms: u64,
    reason: Box<str>,
}

impl Remote {
    /// For so many reactors.
    pub fn new(address: Address, reactors: usize) -> Self {
        let connections = (0..reactors).map(|_| Connection::default()).collect();
        Remote { shown: address.shown(), address, connections, away: Mutex::new(None) }
    }

    /// Where it is, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether every reactor reaches it.
    pub fn is_connected(&self) -> bool {
        self.connections.iter().all(|connection| connection.is_up.load(Ordering::Relaxed))
    }

    /// Calls that wait for it.
    pub fn pending(&self) -> usize {
        self.connections.iter().map(|connection| connection.pending.load(Ordering::Relaxed)).sum()
    }

    /// Why calls are refused at this moment.
    pub fn failure(&self) -> Option<String> {
        if self.is_connected() {
            return None;
        }
        self.away.lock().as_ref().map(|away| self.away_text(away))
    }

    fn away_text(&self, away: &Away) -> String {
        format!("Redis at {} is away since {}: {}", self.shown, utc::text(away.since_ms), away.reason)
    }

    fn set_pending(&self, reactor: usize, count: usize) {
        self.connections[reactor].pending.store(count, Ordering::Relaxed);
    }

    fn came(&self, reactor: usize) {
        self.connections[reactor].is_up.store(true, Ordering::Relaxed);
        if self.is_connected() {
            *self.away.lock() = None;
        }
    }

    fn went(&self, reactor: usize, reason: &str, now_ms: u64) {
        self.connections[reactor].is_up.store(false, Ordering::Relaxed);
        let mut away = self.away.lock();
        let since_ms = away.as_ref().map_or(now_ms, |away| away.since_ms);
        *away = Some(Away { since_ms, reason: reason.into() });
    }

    /// For a call that was not sent.
    pub(crate) fn refused(&self) -> WireError {
        let text = match &*self.away.lock() {
            Some(away) => self.away_text(away),
            None => format!("Redis at {} is not connected yet", self.shown),
        };
        WireError::new(code::STORAGE_UNAVAILABLE, text)
    }

    /// For a call whose reply will not come.
    fn cut_off(&self, reason: &str, may_have_written: bool) -> WireError {
        let what = if may_have_written { "; the write may have happened" } else { "" };
        let text = format!("Redis at {} went away while this call was under way: {reason}{what}", self.shown);
        WireError::new(code::STORAGE_UNAVAILABLE, text)
    }

    /// For a call that Redis refused.
    fn answered(&self, error: &[u8]) -> WireError {
        let text = format!("Redis at {} answered: {}", self.shown, String::from_utf8_lossy(error));
        WireError::new(code::STORAGE_UNAVAILABLE, text)
    }
}

/// Who waits for a call of `state::*`.
pub enum Caller {
    /// Nobody.
    Void,
    /// The control plane.
    Control(u64),
    /// A worker.
    Worker {
        /// Which.
        peer: Arc<Peer>,
        /// JSON texts of invocation id and function id.
        ids: Box<str>,
        /// Where the second begins.
        split: u32,
    },
}

impl Caller {
    /// A worker with its ids, which are strings.
    pub fn worker(peer: &Arc<Peer>, invocation_id: Value<'_>, function_id: Value<'_>) -> Self {
        let (invocation_id, function_id) =
            (invocation_id.to_json().unwrap_or_default(), function_id.to_json().unwrap_or_default());
        let mut ids = String::with_capacity(invocation_id.len() + function_id.len());
        ids.push_str(&invocation_id);
        ids.push_str(&function_id);
        peer.note_awaited();
        Caller::Worker { peer: peer.clone(), ids: ids.into(), split: invocation_id.len() as u32 }
    }
}

/// A result to be told, in the form in which it is at hand.
enum Told<'r> {
    Value(Value<'r>),
    Answer(Answer, bool),
    Error(WireError),
}

/// Tells the caller. Those who are gone are told nothing.
fn tell(core: &Core, router: &mut impl Router, caller: &Caller, result: Told<'_>) {
    match caller {
        Caller::Void => {}
        Caller::Control(ticket) => {
            let outcome = match result {
                Told::Value(value) => owned(Settlement::Result(Some(value))),
                Told::Answer(mut answer, written) => outcome_of(&mut answer, written),
                Told::Error(error) => Outcome::Error(error),
            };
            core.calls.push(Call::Settled { ticket: *ticket, outcome });
        }
        Caller::Worker { peer, ids, split } => {
            let (invocation_id, function_id) = ids.split_at(*split as usize);
            let codec = peer.codec();
            let [invocation_id, function_id] = [invocation_id, function_id].map(|id| Id::new(Value::Json(id), codec));
            let message_bytes_max = peer.message_bytes_max.load(Ordering::Relaxed);
            let reply = Reply { invocation_id, function_id, message_bytes_max, codec };
            let Some(outbox) = router.outbox(peer.session, None) else { return };
            let before = outbox.len();
            match result {
                Told::Value(value) => reply.result(outbox, value, false),
                Told::Answer(mut answer, written) => reply.answer(outbox, &mut answer, written),
                Told::Error(error) => reply.error(outbox, &error),
            }
            let waiting = outbox.len();
            peer.note_answered(waiting - before);
            give_up_if_flooded(core, router, peer.session, waiting);
        }
    }
}

/// State triggers hear of changes.
fn note(core: &Core, changes: Vec<Change>) {
    let mut noted = false;
    for change in changes {
        noted |= core.state.tell(change);
    }
    if noted {
        core.calls.announce();
    }
}
