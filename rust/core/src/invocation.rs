//! Pending invocations: who waits, and who was asked.
//!
//! The life of one: [`Invocations::begin`] makes the entry *before* the request can be seen by the worker; then exactly one of
//! [`Invocations::settle`] (the worker answered), [`Invocations::stop_worker`] (a worker left) or [`Invocations::withdraw`] (it could not be sent, or
//! nobody waits any more) takes it out again. Void calls have no entry: nobody waits for them. Entries are spread over striped locks by invocation id.

use crate::codec::Codec;
use crate::http::ExchangeId;
use crate::peer::Peer;
use crate::registry::Function;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// The id that a worker sees for one invocation.
pub type InvocationId = Uuid;

/// Who gets the outcome.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A worker; with the JSON text of its own id where that differs from the one the executing worker sees.
    Worker {
        /// The connection that called.
        peer: Arc<Peer>,
        /// Its id as it wrote it, quotes included.
        own_id: Option<Box<str>>,
    },
    /// The control plane, by its ticket.
    Control(u64),
    /// An http client.
    Http(ExchangeId),
}

/// One invocation under way.
#[derive(Debug)]
pub struct Pending {
    /// Who waits.
    pub caller: Caller,
    /// What was invoked, and so who may answer.
    pub function: Arc<Function>,
}

/// Why an invocation could not begin.
#[derive(Debug, PartialEq, Eq)]
pub enum BeginError {
    /// The same connection has this id in flight.
    Duplicate,
    /// The caller has this many in flight, which is the limit.
    TooMany(u32),
}

const STRIPES: usize = 64;

type Table = HashMap<InvocationId, Pending, RandomState>;

/// All pending invocations.
pub struct Invocations {
    stripes: Box<[Mutex<Table>]>,
    hasher: RandomState,
    tickets: Mutex<HashMap<u64, InvocationId>>,
    per_caller_max: u32,
}

impl Invocations {
    /// No invocations yet; `per_caller_max` bounds what one connection may wait for.
    pub fn new(per_caller_max: u32) -> Self {
        Invocations {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            tickets: Mutex::default(),
            per_caller_max,
        }
    }

    fn stripe(&self, id: &InvocationId) -> &Mutex<Table> {
        &self.stripes[self.hasher.hash_one(id) as usize % STRIPES]
    }

    /// How many are under way at one instant. Holds all stripes for it: for people, and now and then. (Nobody else holds two.)
    pub fn in_flight(&self) -> usize {
        let stripes: Vec<_> = self.stripes.iter().map(Mutex::lock).collect();
        stripes.iter().map(|table| table.len()).sum()
    }

    /// Makes the entry for an invocation whose caller suggests `wanted` as its id. Returns the id that the worker will see: another one
    /// when `wanted` is in flight for somebody else (`own_id` must be kept then: see [`Caller::Worker`]).
    pub fn begin(
        &self,
        wanted: Option<InvocationId>,
        own_id: &str,
        caller: &CallerRef<'_>,
        function: Arc<Function>,
    ) -> Result<InvocationId, BeginError> {
        if let CallerRef::Worker(peer) = caller {
            let calling = peer.calling.load(Ordering::Relaxed);
            if calling >= self.per_caller_max {
                return Err(BeginError::TooMany(calling));
            }
        }
        if let Some(id) = wanted {
            match self.stripe(&id).lock().entry(id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(self.pending(id, caller, None, function));
                    return Ok(id);
                }
                Entry::Occupied(taken) => {
                    if let (CallerRef::Worker(peer), Caller::Worker { peer: other, .. }) = (caller, &taken.get().caller)
                        && peer.session == other.session
                    {
                        return Err(BeginError::Duplicate);
                    }
                }
            }
        }
        let id = Uuid::new_v4();
        let own_id = Some(own_id.into()).filter(|_| matches!(caller, CallerRef::Worker(_)));
        let pending = self.pending(id, caller, own_id, function);
        self.stripe(&id).lock().insert(id, pending);
        Ok(id)
    }

    fn pending(&self, id: Uuid, caller: &CallerRef<'_>, own_id: Option<Box<str>>, function: Arc<Function>) -> Pending {
        function.peer.executing.fetch_add(1, Ordering::SeqCst);
        let caller = match caller {
            CallerRef::Worker(peer) => {
                peer.calling.fetch_add(1, Ordering::SeqCst);
                Caller::Worker { peer: Arc::clone(peer), own_id }
            }
            CallerRef::Control(ticket) => {
                self.tickets.lock().insert(*ticket, id);
                Caller::Control(*ticket)
            }
            CallerRef::Http(exchange) => Caller::Http(*exchange),
        };
        Pending { caller, function }
    }

    fn ended(&self, pending: Pending) -> Pending {
        pending.function.peer.executing.fetch_sub(1, Ordering::SeqCst);
        match &pending.caller {
            Caller::Worker { peer, .. } => {
                peer.calling.fetch_sub(1, Ordering::SeqCst);
            }
            Caller::Control(ticket) => {
                self.tickets.lock().remove(ticket);
            }
            Caller::Http(_) => {}
        }
        pending
    }

    /// The worker `from` answered `id`: takes the entry out if it was asked.
    pub fn settle(&self, id: &InvocationId, from: &Peer) -> Option<Pending> {
        let mut table = self.stripe(id).lock();
        let Entry::Occupied(entry) = table.entry(*id) else { return None };
        if entry.get().function.peer.session != from.session {
            return None;
        }
        let pending = entry.remove();
        drop(table);
        Some(self.ended(pending))
    }

    /// What the worker that waits for `id` speaks, if a worker does.
    pub fn caller_codec(&self, id: &InvocationId) -> Option<Codec> {
        match &self.stripe(id).lock().get(id)?.caller {
            Caller::Worker { peer, .. } => Some(peer.codec()),
            Caller::Control(_) | Caller::Http(_) => None,
        }
    }

    /// Takes an entry out that could not be delivered.
    pub fn withdraw(&self, id: &InvocationId) -> Option<Pending> {
        let pending = self.stripe(id).lock().remove(id)?;
        Some(self.ended(pending))
    }

    /// The control plane waits for `ticket` no longer.
    pub fn forget(&self, ticket: u64) {
        let id = self.tickets.lock().get(&ticket).copied();
        if let Some(id) = id {
            self.withdraw(&id);
        }
    }

    /// A worker left (it is marked gone): returns what it was executing; what it waited for is dropped.
    pub fn stop_worker(&self, peer: &Peer) -> Vec<(InvocationId, Pending)> {
        let mut stopped = Vec::new();
        let involved = || peer.executing.load(Ordering::SeqCst) > 0 || peer.calling.load(Ordering::SeqCst) > 0;
        for stripe in &self.stripes {
            if !involved() {
                break;
            }
            let mut table = stripe.lock();
            let executed = |_: &InvocationId, pending: &mut Pending| pending.function.peer.session == peer.session;
            let waited = |_: &InvocationId, pending: &mut Pending| matches!(&pending.caller, Caller::Worker { peer: caller, .. } if caller.session == peer.session);
            let ended: Vec<_> = table.extract_if(executed).collect();
            let dropped: Vec<_> = table.extract_if(waited).collect();
            drop(table);
            stopped.extend(ended.into_iter().map(|(id, pending)| (id, self.ended(pending))));
            for (_, pending) in dropped {
                self.ended(pending);
            }
        }
        stopped
    }
}

/// [`Caller`] before it is known which id the worker will see.
#[derive(Debug)]
pub enum CallerRef<'a> {
    /// A worker.
    Worker(&'a Arc<Peer>),
    /// The control plane's ticket.
    Control(u64),
    /// An http client's request.
    Http(ExchangeId),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::peer::SessionId;
    use std::sync::atomic::AtomicBool;

    /// A drain ends when nothing is under way: it must not see nothing while one invocation follows the other.
    #[test]
    fn an_invocation_that_begins_before_another_ends_is_always_counted() {
        let invocations = Invocations::new(9);
        let peer = Arc::new(Peer::new(SessionId::new(0, 1, 1), "", 0, 0));
        let (id, registration): (Box<str>, Box<str>) = ("f".into(), "".into());
        let function = Arc::new(Function { id_json: id.clone(), id, peer: peer.clone(), registration });
        let begin = || invocations.begin(Some(Uuid::new_v4()), "", &CallerRef::Control(1), function.clone()).unwrap();
        let (mut current, over) = (begin(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let next = begin();
                    assert!(invocations.settle(&current, &peer).is_some());
                    current = next;
                }
            });
            let seen: Vec<usize> = (0..20_000).map(|_| invocations.in_flight()).collect();
            over.store(true, Ordering::Relaxed);
            assert!(seen.iter().all(|&count| count == 1 || count == 2), "{:?}", seen.iter().min());
        });
    }
}
