//! Http connections without sockets, fed by hand: beside the workers of a [`Loopback`].

use crate::core::Core;
use crate::http::{Answer, Clock, Connection, ExchangeId, Turn};
use crate::loopback::{Loopback, Outboxes};
use crate::outbox::Outbox;
use crate::outcome::Settlement;
use crate::peer::SessionId;
use std::collections::BTreeMap;

/// Http connections and what they have still to be told.
#[derive(Default)]
pub(crate) struct HttpClients {
    open: BTreeMap<SessionId, (Connection, Outbox)>,
    clock: Clock,
    /// To go on with.
    answered: Vec<SessionId>,
    granted: Vec<ExchangeId>,
}

impl Outboxes {
    /// The outcome is written at once; with what the client has sent meanwhile it goes on later, as in production.
    pub(crate) fn respond_http(&mut self, core: &Core, to: ExchangeId, outcome: Settlement<'_>) {
        let Some((mut connection, mut out)) = self.http.open.remove(&to.connection) else { return };
        let clock = self.http.clock;
        connection.settled(to, outcome, &mut turn(core, self, clock, &mut out));
        self.http.open.insert(to.connection, (connection, out));
        self.http.answered.push(to.connection);
    }
}

impl HttpClients {
    pub(crate) fn grant(&mut self, to: ExchangeId) {
        self.granted.push(to);
    }
}

impl Loopback {
    /// Monotonic and Unix time, ms. Nothing ends by that alone: see [`Self::http_tick`].
    pub fn http_time(&mut self, now_ms: u64, unix_ms: u64) {
        self.outboxes.http.clock.set(now_ms, unix_ms);
    }

    /// A client connects.
    pub fn http_connect(&mut self) -> SessionId {
        self.next += 1;
        let id = SessionId::of_http(0, self.next, self.next as usize);
        let clock = self.outboxes.http.clock;
        let open = self.outboxes.http.open.len();
        self.outboxes.http.open.insert(id, (Connection::new(id, &self.core, clock), Outbox::default()));
        if open >= self.core.limits.http.connections_max || self.core.http.is_stopping() {
            self.http_turn(id, |connection, turn| connection.turn_away(turn));
        }
        id
    }

    /// Bytes of a client arrive.
    pub fn http_feed(&mut self, id: SessionId, data: &[u8]) {
        self.http_turn(id, |connection, turn| connection.feed(data, turn));
    }

    /// A client sends nothing more.
    pub fn http_end(&mut self, id: SessionId) {
        self.http_turn(id, |connection, turn| connection.ended(turn));
    }

    /// A client's connection breaks.
    pub fn http_lose(&mut self, id: SessionId) {
        self.http_turn(id, |connection, turn| connection.lost(turn));
        self.outboxes.http.open.remove(&id);
    }

    /// The bytes that wait for a client, and whether the connection ends behind them.
    pub fn http_take(&mut self, id: SessionId) -> (Vec<u8>, bool) {
        let mut taken = Vec::new();
        loop {
            let Some((_, out)) = self.outboxes.http.open.get_mut(&id) else { return (taken, true) };
            let bytes = out.take_bytes();
            if bytes.is_empty() {
                break;
            }
            taken.extend_from_slice(&bytes);
            // There is room again.
            self.http_turn(id, |connection, turn| connection.go_on(turn));
        }
        let is_closed = self.outboxes.http.open.get(&id).is_none_or(|(connection, _)| connection.is_closed());
        if is_closed {
            self.outboxes.http.open.remove(&id);
        }
        (taken, is_closed)
    }

    /// What has taken too long ends.
    pub fn http_tick(&mut self) {
        for id in self.http_ids() {
            self.http_turn(id, |connection, turn| connection.tick(turn));
        }
    }

    /// No further request is begun.
    pub fn http_stop(&mut self) {
        self.core.http.stop();
        for id in self.http_ids() {
            self.http_turn(id, |connection, _| connection.stop());
        }
    }

    /// The control plane lets a request pass.
    pub fn http_proceed(&mut self, exchange: ExchangeId) {
        self.http_turn(exchange.connection, |connection, turn| connection.proceed(exchange, turn));
    }

    /// The control plane answers a request.
    pub fn http_answer(&mut self, exchange: ExchangeId, answer: &Answer) {
        self.http_turn(exchange.connection, |connection, turn| {
            connection.answer(exchange, answer, turn);
            connection.go_on(turn);
        });
    }

    fn http_ids(&self) -> Vec<SessionId> {
        self.outboxes.http.open.keys().copied().collect()
    }

    /// Serves one connection, which is out of the table meanwhile as it is in production.
    fn http_turn(&mut self, id: SessionId, work: impl FnOnce(&mut Connection, &mut Turn<'_, Outboxes>)) {
        let Some((mut connection, mut out)) = self.outboxes.http.open.remove(&id) else { return };
        let clock = self.outboxes.http.clock;
        work(&mut connection, &mut turn(&self.core, &mut self.outboxes, clock, &mut out));
        self.outboxes.http.open.insert(id, (connection, out));
        self.http_deliver();
    }

    /// Gives connections what has come for them in between.
    pub(crate) fn http_deliver(&mut self) {
        while let Some(exchange) = self.outboxes.http.granted.pop() {
            let mut was_there = false;
            self.http_turn(exchange.connection, |connection, turn| was_there = connection.begin(exchange, turn));
            if !was_there && let Some(next) = self.core.http.slots.give_back() {
                self.outboxes.http.granted.push(next);
            }
        }
        for id in std::mem::take(&mut self.outboxes.http.answered) {
            self.http_turn(id, |connection, turn| connection.go_on(turn));
        }
    }
}

fn turn<'a>(core: &'a Core, router: &'a mut Outboxes, clock: Clock, out: &'a mut Outbox) -> Turn<'a, Outboxes> {
    Turn { core, router, clock, out }
}
