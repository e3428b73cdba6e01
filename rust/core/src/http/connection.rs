//! One client's connection: requests in, responses out, one at a time and in order, with a bound on everything that it can make us
//! hold or wait for.

use super::body::{self, Reader};
use super::clock::Clock;
use super::exchange::{Answer, Exchange, Stage, failed};
use super::head::{self, Framing, Head};
use super::refusal::Refusal;
use super::request;
use super::response::{self, Delivery};
use super::service::ExchangeId;
use crate::calls::Call;
use crate::codec::Value;
use crate::core::Core;
use crate::dispatch::Router;
use crate::limits::HttpLimits;
use crate::outbox::Outbox;
use crate::outcome::Settlement;
use crate::parts::Parts;
use crate::peer::SessionId;
use crate::reply::not_expressible;

/// One pass over one connection, with all that serving it needs.
pub struct Turn<'a, R: Router> {
    /// What is shared.
    pub core: &'a Core,
    /// The way to workers.
    pub router: &'a mut R,
    /// What time it is.
    pub clock: Clock,
    /// What waits for the client.
    pub out: &'a mut Outbox,
}

#[derive(Debug)]
enum State {
    /// Between two requests, or in the middle of a head.
    Head,
    /// In the middle of a body.
    Body { head: Box<[u8]>, reader: Reader },
    /// A request is under way.
    Busy(Exchange),
    /// Nothing more is read or said.
    Closed,
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    id: SessionId,
    /// Bytes that have come and are not used yet; nothing when idle.
    input: Vec<u8>,
    /// Of the input, how far the end of the head was looked for.
    scanned: usize,
    state: Box<State>,
    deadline_ms: u64,
    number: u32,
    /// Of the request that is read or under way: where its origin stands in the list ([`super::cors::Cors`]).
    origin: Option<u32>,
    /// The client sends nothing more.
    has_ended: bool,
}

impl Connection {
    /// A client that has just connected.
    pub fn new(id: SessionId, core: &Core, clock: Clock) -> Self {
        Connection {
            id,
            input: Vec::new(),
            scanned: 0,
            state: Box::new(State::Head),
            deadline_ms: clock.now_ms + core.limits.http.head_ms,
            number: 0,
            origin: None,
            has_ended: false,
        }
    }

    /// Whether nothing more is said than what waits already: then the connection is to be closed.
    pub fn is_closed(&self) -> bool {
        matches!(*self.state, State::Closed)
    }

    /// Whether as much is read ahead as may be.
    pub fn is_full(&self, limits: &HttpLimits) -> bool {
        self.input.len() >= limits.head_bytes_max && !matches!(*self.state, State::Closed)
    }

    /// Whether [`Self::go_on`] may have something to do.
    pub fn may_go_on(&self) -> bool {
        self.has_ended || !self.input.is_empty()
    }

    /// Whether a request is under way.
    pub fn is_busy(&self) -> bool {
        matches!(*self.state, State::Busy(_))
    }

    /// Refuses a connection that there is no room for.
    pub fn turn_away<R: Router>(&mut self, turn: &mut Turn<'_, R>) {
        self.refuse(&Refusal::new(503, "too many connections, or shutting down"), turn);
    }

    /// Bytes have come.
    pub fn feed<R: Router>(&mut self, data: &[u8], turn: &mut Turn<'_, R>) {
        if self.is_closed() {
            return;
        }
        if self.input.is_empty() {
            if matches!(*self.state, State::Head) && !data.is_empty() {
                self.deadline_ms = turn.clock.now_ms + turn.core.limits.http.head_ms;
            }
            let used = self.consume(data, turn);
            if !self.is_closed() {
                self.input.extend_from_slice(&data[used..]);
                self.note_begun(used, turn);
            }
        } else {
            self.input.extend_from_slice(data);
            self.go_on(turn);
        }
    }

    /// What is left behind requests that were served is the beginning of another one.
    fn note_begun<R: Router>(&mut self, used: usize, turn: &Turn<'_, R>) {
        if used > 0 && !self.input.is_empty() && matches!(*self.state, State::Head) {
            self.deadline_ms = turn.clock.now_ms + turn.core.limits.http.head_ms;
        }
    }

    /// Goes on with what has come, as far as that is possible now.
    pub fn go_on<R: Router>(&mut self, turn: &mut Turn<'_, R>) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.consume(&input, turn);
        if used < input.len() && !self.is_closed() {
            input.drain(..used);
            self.input = input;
            self.note_begun(used, turn);
        }
        let is_held_up = turn.out.len() > turn.core.limits.http.outbox_bytes_max;
        if self.has_ended && !self.is_busy() && !is_held_up {
            self.close();
        }
    }

    /// The client sends nothing more. What has come is served; a longer request ends with it.
    pub fn ended<R: Router>(&mut self, turn: &mut Turn<'_, R>) {
        self.has_ended = true;
        if !self.is_busy() {
            self.go_on(turn);
        }
    }

    /// The connection is gone.
    pub fn lost<R: Router>(&mut self, turn: &mut Turn<'_, R>) {
        if let State::Busy(exchange) = std::mem::replace(&mut *self.state, State::Closed) {
            exchange.end(turn);
        }
    }

    fn close(&mut self) {
        *self.state = State::Closed;
        self.input = Vec::new();
    }

    // --- reading -----------------------------------------------------------------------------------------------

    /// Serves what is complete at the beginning of `data`; returns how much was used.
    fn consume<R: Router>(&mut self, data: &[u8], turn: &mut Turn<'_, R>) -> usize {
        let mut at = 0;
        loop {
            // A client that asks on and on without reading gets no further answers.
            if turn.out.len() > turn.core.limits.http.outbox_bytes_max {
                return at;
            }
            let step = match &mut *self.state {
                State::Head => self.head(&data[at..], turn),
                State::Body { .. } => self.body(&data[at..], turn),
                State::Busy(_) | State::Closed => return at,
            };
            match step {
                Ok(0) => return at,
                Ok(used) => at += used,
                Err(refusal) => {
                    self.refuse(&refusal, turn);
                    return data.len();
                }
            }
        }
    }

    /// A head and, if it is there as well, its body; 0 when more must come.
    fn head<R: Router>(&mut self, data: &[u8], turn: &mut Turn<'_, R>) -> Result<usize, Refusal> {
        let limits = &turn.core.limits.http;
        // Empty lines in front of a request are tolerated (RFC 9112, section 2.2).
        match data {
            [b'\r', b'\n', ..] if self.scanned == 0 => return Ok(2),
            [] | [b'\r'] => return Ok(0),
            _ => {}
        }
        let Some(end) = head::find_end(data, self.scanned, limits.head_bytes_max)? else {
            self.scanned = data.len();
            return Ok(0);
        };
        self.scanned = 0;
        if turn.core.http.is_stopping() {
            self.close();
            return Ok(0);
        }
        let (head_bytes, rest) = data.split_at(end);
        let mut room = head::room();
        let head = head::parse(head_bytes, &mut room)?;
        self.origin = turn.core.http.cors.place(head.headers);
        let reader = match head.framing {
            Framing::Length(length) => {
                body::check_length(length, limits.body_bytes_max)?;
                if let Some(body) = rest.get(..length).filter(|_| length == 0 || !head.expects_continue) {
                    self.request(&head, body, turn);
                    return Ok(end + length);
                }
                Reader::of_length(length)
            }
            Framing::Chunked => Reader::of_chunks(limits.body_bytes_max, limits.head_bytes_max),
        };
        if head.expects_continue {
            turn.out.bytes(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.deadline_ms = turn.clock.now_ms + limits.body_ms;
        *self.state = State::Body { head: head_bytes.into(), reader };
        Ok(end)
    }

    fn body<R: Router>(&mut self, data: &[u8], turn: &mut Turn<'_, R>) -> Result<usize, Refusal> {
        let State::Body { reader, .. } = &mut *self.state else { return Ok(0) };
        let used = reader.feed(data)?;
        if !reader.is_complete() {
            return Ok(used);
        }
        if let State::Body { head, reader } = std::mem::replace(&mut *self.state, State::Head) {
            let mut room = head::room();
            let head = head::parse(&head, &mut room)?;
            self.request(&head, &reader.bytes, turn);
        }
        Ok(used)
    }

    /// A whole request.
    fn request<R: Router>(&mut self, head: &Head<'_, '_>, body: &[u8], turn: &mut Turn<'_, R>) {
        self.number = self.number.wrapping_add(1);
        let how = self.delivery(head.method == "HEAD", head.keeps_alive, turn);
        if let Err(refusal) = self.route(head, body, how, turn) {
            let noted = response::write_refusal(turn.out, &refusal, &[], how);
            note(turn, noted);
            self.answered(how, turn);
        }
    }

    fn route<R: Router>(
        &mut self,
        head: &Head<'_, '_>,
        body: &[u8],
        how: Delivery<'_>,
        turn: &mut Turn<'_, R>,
    ) -> Result<(), Refusal> {
        let names = |name: &str| head.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
        if head.method == "OPTIONS" && names("access-control-request-method") {
            response::write_preflight(turn.out, turn.core.http.cors.allow_methods(), how);
            self.answered(how, turn);
            return Ok(());
        }
        let routes = turn.core.http.routes.read();
        let Some((route, values)) = routes.find(head.method, head.path) else {
            let methods = routes.methods(head.path);
            drop(routes);
            return self.unrouted(head, &methods, how, turn);
        };
        let request = request::object(head, body, route, &values)?;
        let mut exchange = Exchange {
            id: ExchangeId { connection: self.id, number: self.number },
            is_head: how.is_head,
            keeps_alive: head.keeps_alive,
            began_ms: turn.clock.now_ms,
            deadline_ms: turn.clock.now_ms + turn.core.limits.http.request_ms,
            stage: Stage::Arrived,
        };
        let id = exchange.id;
        let mut begun = Ok(());
        if turn.core.http.slots.take(id) {
            begun = exchange.begin(route, request, turn);
        } else {
            exchange.stage = Stage::Queued(route.clone(), request);
        }
        drop(routes);
        *self.state = State::Busy(exchange);
        if let Err(refusal) = begun {
            self.answer(id, &Answer::Refused(refusal), turn);
        }
        Ok(())
    }

    fn unrouted<R: Router>(
        &mut self,
        head: &Head<'_, '_>,
        methods: &[&str],
        how: Delivery<'_>,
        turn: &mut Turn<'_, R>,
    ) -> Result<(), Refusal> {
        if head.method == "OPTIONS" {
            response::write_options(turn.out, methods, how);
        } else if methods.is_empty() {
            return Err(Refusal::new(404, "Not Found"));
        } else {
            response::write_refusal(turn.out, &Refusal::new(405, "Method Not Allowed"), methods, how);
        }
        self.answered(how, turn);
        Ok(())
    }

    // --- exchanges ---------------------------------------------------------------------------------------------

    fn busy(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        match &mut *self.state {
            State::Busy(exchange) if exchange.id == id => Some(exchange),
            _ => None,
        }
    }

    /// The request has got a place. Returns whether it is still there to take it.
    pub fn begin<R: Router>(&mut self, id: ExchangeId, turn: &mut Turn<'_, R>) -> bool {
        let Some(exchange) = self.busy(id) else { return false };
        if let Err(refusal) = exchange.granted(turn) {
            self.answer(id, &Answer::Refused(refusal), turn);
        }
        true
    }

    /// The control plane lets the request pass: its function is called.
    pub fn proceed<R: Router>(&mut self, id: ExchangeId, turn: &mut Turn<'_, R>) {
        let Some(exchange) = self.busy(id) else { return };
        if let Err(refusal) = exchange.proceed(turn) {
            self.answer(id, &Answer::Refused(refusal), turn);
        }
    }

    /// The function has come to an end.
    pub fn settled<R: Router>(&mut self, id: ExchangeId, outcome: Settlement<'_>, turn: &mut Turn<'_, R>) {
        match outcome {
            Settlement::Copied(copied) => self.settled(id, Settlement::Result(Some(copied.result)), turn),
            Settlement::Result(result) => match result.map(Value::to_json).transpose() {
                Ok(result) => self.finish(id, turn, |out, how, notes| {
                    response::write_result(out, result.as_deref(), false, how, notes);
                }),
                Err(error) => {
                    let error = not_expressible(&error.within("result"), false);
                    self.answer(id, &Answer::Refused(failed(&error)), turn);
                }
            },
            Settlement::Error(error) => self.answer(id, &Answer::Refused(failed(error)), turn),
            Settlement::ErrorObject(object) => self.answer(id, &Answer::Refused(of_worker(object)), turn),
        }
    }

    /// The control plane answers the request, or the engine does.
    pub fn answer<R: Router>(&mut self, id: ExchangeId, answer: &Answer, turn: &mut Turn<'_, R>) {
        self.finish(id, turn, |out, how, notes| match answer {
            Answer::Result(result) => response::write_result(out, result.as_deref(), false, how, notes),
            Answer::Document(object) => response::write_result(out, Some(object), true, how, notes),
            Answer::Refused(refusal) => notes.extend(response::write_refusal(out, refusal, &[], how)),
        });
    }

    fn finish<R: Router>(
        &mut self,
        id: ExchangeId,
        turn: &mut Turn<'_, R>,
        write: impl FnOnce(&mut Outbox, Delivery<'_>, &mut Vec<String>),
    ) {
        let Some(exchange) = self.busy(id) else { return };
        let (is_head, keeps_alive) = (exchange.is_head, exchange.keeps_alive);
        let how = self.delivery(is_head, keeps_alive, turn);
        let mut notes = Vec::new();
        write(turn.out, how, &mut notes);
        note(turn, notes);
        if let State::Busy(exchange) = std::mem::replace(&mut *self.state, State::Head) {
            exchange.give_back(turn);
        }
        self.answered(how, turn);
    }

    fn delivery<'c, R: Router>(&self, is_head: bool, keeps_alive: bool, turn: &Turn<'c, R>) -> Delivery<'c> {
        let http = &turn.core.http;
        Delivery {
            is_head,
            closes: !keeps_alive || http.is_stopping(),
            allow_origin: http.cors.allow_origin(self.origin),
            is_by_origin: http.cors.is_listed(),
            clock: turn.clock,
        }
    }

    fn answered<R: Router>(&mut self, how: Delivery<'_>, turn: &Turn<'_, R>) {
        if how.closes {
            return self.close();
        }
        *self.state = State::Head;
        self.origin = None;
        let limits = &turn.core.limits.http;
        self.deadline_ms = turn.clock.now_ms + if self.input.is_empty() { limits.idle_ms } else { limits.head_ms };
    }

    /// The request cannot be taken: it is answered, and the connection ends.
    fn refuse<R: Router>(&mut self, refusal: &Refusal, turn: &mut Turn<'_, R>) {
        let how = self.delivery(false, false, turn);
        let noted = response::write_refusal(turn.out, refusal, &[], how);
        note(turn, noted);
        self.close();
    }

    // --- time --------------------------------------------------------------------------------------------------

    /// Time goes on: what has taken too long ends.
    pub fn tick<R: Router>(&mut self, turn: &mut Turn<'_, R>) {
        let now_ms = turn.clock.now_ms;
        let is_late = now_ms >= self.deadline_ms;
        match &*self.state {
            State::Head if is_late && self.input.is_empty() => self.close(),
            State::Head if is_late => self.refuse(&Refusal::new(408, "the request head took too long"), turn),
            State::Body { .. } if is_late => self.refuse(&Refusal::new(408, "the request body took too long"), turn),
            State::Busy(exchange) if self.has_ended && now_ms >= exchange.began_ms + turn.core.limits.http.leave_ms => {
                self.lost(turn);
            }
            State::Busy(exchange)
                if now_ms >= exchange.deadline_ms && !matches!(exchange.stage, Stage::Decided(..)) =>
            {
                self.time_out(turn);
            }
            _ => {}
        }
    }

    fn time_out<R: Router>(&mut self, turn: &mut Turn<'_, R>) {
        let State::Busy(exchange) = std::mem::replace(&mut *self.state, State::Head) else { return };
        let how = self.delivery(exchange.is_head, exchange.keeps_alive, turn);
        exchange.end(turn);
        let text = format!("request timed out after {}ms", turn.core.limits.http.request_ms);
        let noted = response::write_refusal(turn.out, &Refusal::new(504, text), &[], how);
        note(turn, noted);
        self.answered(how, turn);
    }

    /// No further request is begun: what is between two requests ends.
    pub fn stop(&mut self) {
        if matches!(*self.state, State::Head) {
            self.close();
        }
    }
}

/// Tells the log.
fn note<R: Router>(turn: &Turn<'_, R>, notes: impl IntoIterator<Item = String>) {
    for text in notes {
        if !turn.core.calls.is_full() {
            turn.core.calls.push(Call::Warned(text.into()));
        }
    }
}

/// A worker's error: an object with string `code` and `message`.
fn of_worker(object: Value<'_>) -> Refusal {
    let (mut code, mut message) = (String::new(), String::new());
    object.members(|name, value| {
        let field = match name {
            "code" => &mut code,
            "message" => &mut message,
            _ => return,
        };
        if let Some(string) = value.string() {
            *field = string.into_owned();
        }
    });
    Refusal::with_code(500, code, message)
}
