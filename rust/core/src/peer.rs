//! What several sessions need to know of one worker connection, shared between reactors.

use crate::codec::Codec;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use uuid::Uuid;

/// Names one connection for as long as the process lives: which reactor, which slot there, which generation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    const SLOT_BITS: u32 = 24;
    const GENERATION_BITS: u32 = 32;

    /// Slots beyond 2^23 or reactors beyond 256 cannot be named; the connection limit is far below.
    pub fn new(reactor: u8, generation: u32, slot: usize) -> Self {
        let slot = slot as u64 & ((1 << Self::SLOT_BITS) - 1);
        let generation = u64::from(generation) << Self::SLOT_BITS;
        SessionId(u64::from(reactor) << (Self::SLOT_BITS + Self::GENERATION_BITS) | generation | slot)
    }

    /// The reactor that owns the connection.
    pub fn reactor(self) -> usize {
        (self.0 >> (Self::SLOT_BITS + Self::GENERATION_BITS)) as usize
    }

    /// Its place in the reactor's table.
    pub fn slot(self) -> usize {
        (self.0 & ((1 << (Self::SLOT_BITS - 1)) - 1)) as usize
    }

    /// The same place in the reactor's table of http connections.
    pub fn of_http(reactor: u8, generation: u32, slot: usize) -> Self {
        SessionId(SessionId::new(reactor, generation, slot).0 | 1 << (Self::SLOT_BITS - 1))
    }

    /// Whether it names an http connection. Slots of workers are far below that bit.
    pub fn is_http(self) -> bool {
        self.0 & 1 << (Self::SLOT_BITS - 1) != 0
    }

    /// As a number, for Python.
    pub fn number(self) -> u64 {
        self.0
    }

    /// From a number that [`Self::number`] gave.
    pub fn from_number(number: u64) -> Self {
        SessionId(number)
    }
}

/// One worker connection as others see it.
#[derive(Debug)]
pub struct Peer {
    /// Which connection.
    pub session: SessionId,
    /// Told to the worker in `workerregistered`.
    pub worker_id: Uuid,
    /// Proves on reattach that the newcomer is the same worker.
    pub reattach_token: Uuid,
    /// Remote address, for people.
    pub address: Box<str>,
    /// Unix time of the connection.
    pub connected_at_ms: u64,
    gone: AtomicBool,
    /// Whether clean-up is done; locked while it is under way, so that whoever comes second waits for its end.
    cleaned: Mutex<bool>,
    /// Invocations this worker waits for.
    pub calling: AtomicU32,
    /// Invocations this worker is executing.
    pub executing: AtomicU32,
    /// Largest message it can receive.
    pub message_bytes_max: AtomicUsize,
    /// Whether its last message was msgpack.
    speaks_msgpack: AtomicBool,
    /// Bytes in its outbox, as its reactor last saw them.
    pub outbox_bytes: AtomicUsize,
    /// Calls of it that wait for the server that keeps state, and how large the replies to expect are, bytes. Its reactor's.
    awaited: AtomicUsize,
    reply_bytes: AtomicUsize,
    /// Ids of the functions it registered, for clean-up.
    pub(crate) functions: Mutex<HashSet<Box<str>>>,
}

/// Expected of a reply before any has come, and at least: some thousand calls at once are fine.
const REPLY_BYTES_FIRST: usize = 64 << 10;
const REPLY_BYTES_MIN: usize = 4 << 10;

impl Peer {
    /// A fresh worker with new random ids.
    pub fn new(session: SessionId, address: &str, connected_at_ms: u64, message_bytes_max: usize) -> Self {
        Peer {
            session,
            worker_id: Uuid::new_v4(),
            reattach_token: Uuid::new_v4(),
            address: address.into(),
            connected_at_ms,
            gone: AtomicBool::new(false),
            cleaned: Mutex::new(false),
            calling: AtomicU32::new(0),
            executing: AtomicU32::new(0),
            message_bytes_max: AtomicUsize::new(message_bytes_max),
            speaks_msgpack: AtomicBool::new(false),
            outbox_bytes: AtomicUsize::new(0),
            awaited: AtomicUsize::new(0),
            reply_bytes: AtomicUsize::new(REPLY_BYTES_FIRST),
            functions: Mutex::default(),
        }
    }

    /// The codec of its last message, in which it is answered.
    #[inline]
    pub fn codec(&self) -> Codec {
        if self.speaks_msgpack.load(Ordering::Relaxed) { Codec::Msgpack } else { Codec::Json }
    }

    /// A message of it came in this codec.
    #[inline]
    pub(crate) fn note_codec(&self, codec: Codec) {
        // Looked at first: others read the same line of memory.
        if self.codec() != codec {
            self.speaks_msgpack.store(codec == Codec::Msgpack, Ordering::Relaxed);
        }
    }

    /// A call of it was sent to the server that keeps state.
    pub(crate) fn note_awaited(&self) {
        self.awaited.fetch_add(1, Ordering::Relaxed);
    }

    /// It was answered, with so many bytes. What is expected follows large replies at once and small ones slowly.
    pub(crate) fn note_answered(&self, bytes: usize) {
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        let expected = self.reply_bytes.load(Ordering::Relaxed);
        self.reply_bytes.store(bytes.max(expected - expected / 8).max(REPLY_BYTES_MIN), Ordering::Relaxed);
    }

    /// Bytes that are on their way to it from there, by what its last replies were like.
    pub(crate) fn expected_bytes(&self) -> usize {
        self.awaited.load(Ordering::Relaxed).saturating_mul(self.reply_bytes.load(Ordering::Relaxed))
    }

    /// Clean-up has begun: nothing may be registered or sent for it any more.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Marks it gone and runs `clean_up`, once. When this returns, clean-up is done, whoever did it.
    pub(crate) fn leave(&self, clean_up: impl FnOnce()) {
        let mut cleaned = self.cleaned.lock();
        if !*cleaned {
            self.gone.store(true, Ordering::SeqCst);
            clean_up();
            *cleaned = true;
        }
    }
}

/// All live workers.
#[derive(Default)]
pub struct Directory {
    peers: RwLock<Peers>,
}

#[derive(Default)]
struct Peers {
    by_session: HashMap<SessionId, Arc<Peer>>,
    by_worker: HashMap<Uuid, SessionId>,
}

impl Directory {
    /// A worker connected.
    pub fn insert(&self, peer: Arc<Peer>) {
        let mut peers = self.peers.write();
        peers.by_worker.insert(peer.worker_id, peer.session);
        peers.by_session.insert(peer.session, peer);
    }

    /// A worker is gone.
    pub fn remove(&self, peer: &Peer) {
        let mut peers = self.peers.write();
        peers.by_worker.remove(&peer.worker_id);
        peers.by_session.remove(&peer.session);
    }

    /// The worker of a session.
    pub fn get(&self, session: SessionId) -> Option<Arc<Peer>> {
        self.peers.read().by_session.get(&session).cloned()
    }

    /// The live worker that was given this id and token. The token is compared in constant time.
    pub fn find(&self, worker_id: &Uuid, token: &Uuid) -> Option<Arc<Peer>> {
        let peers = self.peers.read();
        let peer = peers.by_session.get(peers.by_worker.get(worker_id)?)?;
        let differing =
            peer.reattach_token.as_bytes().iter().zip(token.as_bytes()).fold(0, |acc, (a, b)| acc | (a ^ b));
        (std::hint::black_box(differing) == 0).then(|| peer.clone())
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Peer>> {
        let mut all: Vec<_> = self.peers.read().by_session.values().cloned().collect();
        all.sort_by_key(|peer| (peer.connected_at_ms, peer.session));
        all
    }
}
