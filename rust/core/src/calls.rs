//! What the data plane hands up to Python, in order, through one bounded queue.

use crate::error::WireError;
use crate::http::ExchangeId;
use crate::peer::SessionId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use uuid::Uuid;

/// One item for the control plane; `iii_fast/contracts.py` (`Control`) says what each means.
#[derive(Debug)]
pub enum Call {
    /// A function of the control plane was invoked, or an invocation is to be enqueued.
    Invoked(Box<Invoked>),
    /// A registration message of triggers or trigger types.
    Message {
        /// From whom.
        session: SessionId,
        /// Its `type`.
        kind: &'static str,
        /// All of it.
        text: Box<str>,
    },
    /// An invocation of the control plane has come to its end.
    Settled {
        /// Which.
        ticket: u64,
        /// To what end.
        outcome: Outcome,
    },
    /// An http request that the control plane decides about.
    Requested(Box<Requested>),
    /// Nobody waits for the answer to such a request any more.
    Left(ExchangeId),
    /// Something for the log.
    Warned(Box<str>),
    /// A worker is gone.
    Closed {
        /// Its connection.
        session: SessionId,
        /// Its id.
        worker_id: Uuid,
        /// Why, for the log.
        reason: Box<str>,
    },
}

/// What a worker called.
#[derive(Debug)]
pub struct Invoked {
    /// The caller.
    pub session: SessionId,
    /// Its id for the call, unescaped; `None` when nobody waits.
    pub invocation_id: Option<Box<str>>,
    /// Which function, unescaped.
    pub function_id: Box<str>,
    /// JSON text.
    pub data: Box<str>,
    /// JSON text.
    pub metadata: Option<Box<str>>,
    /// The named queue of an enqueue action.
    pub queue: Option<Box<str>>,
    /// W3C trace context.
    pub traceparent: Option<Box<str>>,
    /// W3C baggage.
    pub baggage: Option<Box<str>>,
}

/// An http request whose route has a condition or middleware, or that a function of the control plane serves.
#[derive(Debug)]
pub struct Requested {
    /// Names it in the answer.
    pub exchange: ExchangeId,
    /// The route's number.
    pub route: u64,
    /// The request object: JSON text.
    pub request: Box<str>,
    /// What is left of its time, ms.
    pub left_ms: u64,
}

/// What an invocation came to.
#[derive(Debug)]
pub enum Outcome {
    /// JSON text of the result, or none.
    Result(Option<Box<str>>),
    /// JSON text of a worker's error object.
    WorkerError(Box<str>),
    /// An error of the engine.
    Error(WireError),
}

/// Tells the control loop that there is something to fetch.
pub trait Wake: Send + Sync {
    /// Callable from any thread, any number of times.
    fn wake(&self);
}

impl Call {
    /// Bytes of payload that it keeps.
    fn size(&self) -> usize {
        match self {
            Call::Invoked(invoked) => {
                invoked.data.len() + invoked.metadata.as_ref().map_or(0, |metadata| metadata.len())
            }
            Call::Message { text, .. } => text.len(),
            Call::Settled { outcome: Outcome::Result(Some(body)), .. } => body.len(),
            Call::Settled { outcome: Outcome::WorkerError(object), .. } => object.len(),
            Call::Requested(requested) => requested.request.len(),
            Call::Warned(text) => text.len(),
            Call::Settled { .. } | Call::Closed { .. } | Call::Left(_) => 0,
        }
    }
}

/// The queue. Sessions are paused while it is full, so it stays near its bounds whatever workers do.
pub struct CallQueue {
    calls: Mutex<VecDeque<Call>>,
    len: AtomicUsize,
    bytes: AtomicUsize,
    woken: AtomicBool,
    wake: Box<dyn Wake>,
    /// Calls pushed, taken and handled since start: how a session waits until its registration has taken effect.
    pushed: AtomicU64,
    taken: AtomicU64,
    handled: AtomicU64,
    paused: AtomicBool,
}

/// Calls that may wait for Python before reading stops: some milliseconds of Python's work.
pub const CALLS_WAITING_MAX: usize = 8192;

/// Payload bytes that may wait for Python before reading stops: a message of the largest size fits.
pub const CALLS_WAITING_BYTES_MAX: usize = 64 << 20;

impl CallQueue {
    /// An empty queue that announces itself through `wake`.
    pub fn new(wake: Box<dyn Wake>) -> Self {
        CallQueue {
            calls: Mutex::default(),
            len: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            woken: AtomicBool::new(false),
            wake,
            pushed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }

    /// Adds one call; returns its number.
    pub fn push(&self, call: Call) -> u64 {
        let number = {
            let mut calls = self.calls.lock();
            self.bytes.fetch_add(call.size(), Ordering::SeqCst);
            calls.push_back(call);
            self.len.store(calls.len(), Ordering::SeqCst);
            self.pushed.fetch_add(1, Ordering::Relaxed) + 1
        };
        self.announce();
        number
    }

    /// Whether Python has finished with a call and all before it.
    pub fn is_handled(&self, number: u64) -> bool {
        self.handled.load(Ordering::SeqCst) >= number
    }

    /// A session is about to pause until calls are handled. Say so before the call is pushed or [`Self::is_full`] is asked
    /// for the last time, and again for all that are still paused after a resumption: [`Self::set_handled`] uses the word up.
    pub fn note_pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Python has finished with all calls that it took; true when sessions may wait for that.
    pub fn set_handled(&self) -> bool {
        self.handled.store(self.taken.load(Ordering::Relaxed), Ordering::SeqCst);
        self.paused.swap(false, Ordering::SeqCst)
    }

    /// Wakes the control loop, once until it fetches.
    pub fn announce(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// Whether the control loop has been woken since it last took calls.
    pub fn is_announced(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Reading from those who fill the queue has to stop.
    pub fn is_full(&self) -> bool {
        self.len.load(Ordering::SeqCst) >= CALLS_WAITING_MAX
            || self.bytes.load(Ordering::SeqCst) >= CALLS_WAITING_BYTES_MAX
    }

    /// Takes the `count_max` oldest calls. Only one thread does. What is left is announced again.
    pub fn take(&self, count_max: usize) -> Vec<Call> {
        self.woken.store(false, Ordering::Release);
        let mut calls = self.calls.lock();
        let count = calls.len().min(count_max);
        let taken: Vec<Call> = calls.drain(..count).collect();
        self.len.store(calls.len(), Ordering::SeqCst);
        let left = !calls.is_empty();
        drop(calls);
        self.bytes.fetch_sub(taken.iter().map(Call::size).sum(), Ordering::SeqCst);
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        if left {
            self.announce();
        }
        taken
    }
}
