//! What the http connections of all reactors share: routes, how many requests run, whether more are taken, and who may read
//! responses.

use super::cors::Cors;
use super::routes::Routes;
use crate::peer::SessionId;
use parking_lot::{Mutex, RwLock};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One request of one connection, for as long as it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    /// The connection.
    pub connection: SessionId,
    /// Its how manieth request.
    pub number: u32,
}

/// The shared half of http.
pub struct Service {
    /// Who serves what.
    pub routes: RwLock<Routes>,
    /// Requests that run and wait.
    pub slots: Slots,
    /// Open connections.
    pub connections: AtomicUsize,
    /// Whose pages may read responses, fixed at start.
    pub cors: Cors,
    stopping: AtomicBool,
}

impl Service {
    /// No routes yet; `requests_max` requests may run. Pages of every origin may read responses.
    pub fn new(requests_max: usize) -> Self {
        Service {
            routes: RwLock::default(),
            slots: Slots(Mutex::new(SlotTable { free: requests_max, waiting: VecDeque::new() })),
            connections: AtomicUsize::new(0),
            cors: Cors::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// No further request is begun.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether no further request is begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

struct SlotTable {
    free: usize,
    waiting: VecDeque<ExchangeId>,
}

/// Places for requests that run; the others wait in order.
pub struct Slots(Mutex<SlotTable>);

impl Slots {
    /// Takes a place; false: it will be granted later.
    pub fn take(&self, exchange: ExchangeId) -> bool {
        let mut table = self.0.lock();
        let has_room = table.free > 0;
        if has_room {
            table.free -= 1;
        } else {
            table.waiting.push_back(exchange);
        }
        has_room
    }

    /// Gives a place back: to the one that is returned, if one waits.
    pub fn give_back(&self) -> Option<ExchangeId> {
        let mut table = self.0.lock();
        let next = table.waiting.pop_front();
        if next.is_none() {
            table.free += 1;
        }
        next
    }

    /// Waits no longer, if it still does.
    pub fn leave(&self, exchange: ExchangeId) {
        self.0.lock().waiting.retain(|one| *one != exchange);
    }
}
