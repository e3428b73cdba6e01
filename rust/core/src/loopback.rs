//! Sessions without sockets: bytes and messages go in and come out by hand. For differential tests and benchmarks of everything
//! above the socket; the same [`Session`] and [`Core`] as in production.

use crate::calls::{Call, Wake};
use crate::control::{Answered, ControlInvocation};
use crate::core::Core;
use crate::dispatch::Router;
use crate::http::ExchangeId;
use crate::invocation::InvocationId;
use crate::large::Large;
use crate::limits::Limits;
use crate::log::Receipt;
use crate::loopback_http::HttpClients;
use crate::outbox::Outbox;
use crate::outcome::Settlement;
use crate::peer::SessionId;
use crate::remote::Pipeline;
use crate::session::{Role, Session};
use crate::ws::{self, Status};
use std::collections::{BTreeMap, BTreeSet};

/// Outboxes that nobody drains by themselves.
#[derive(Default)]
pub(crate) struct Outboxes {
    open: BTreeMap<SessionId, Outbox>,
    closing: Vec<(SessionId, u16, &'static str)>,
    pub(crate) http: HttpClients,
}

impl Router for Outboxes {
    fn outbox(&mut self, to: SessionId, _invocation: Option<InvocationId>) -> Option<&mut Outbox> {
        self.open.get_mut(&to)
    }
    // Without a journal everything is acknowledged at once: nothing is held here.
    fn outbox_after(&mut self, to: SessionId, _receipt: Receipt) -> Option<&mut Outbox> {
        self.open.get_mut(&to)
    }
    fn holds(&self, _to: SessionId, _receipt: Receipt) -> bool {
        false
    }
    fn hold(&mut self, _receipt: Receipt, _call: Call) {}
    fn await_journal(&mut self) {}
    // State is always in the map here.
    fn pipeline(&mut self) -> Option<&mut Pipeline> {
        None
    }
    fn is_pipeline_full(&self) -> bool {
        false
    }
    fn waiting(&self, session: SessionId) -> usize {
        self.open.get(&session).map_or(0, Outbox::len)
    }
    fn is_another_ready(&self, _session: SessionId) -> bool {
        false
    }
    fn respond(&mut self, core: &Core, to: ExchangeId, outcome: Settlement<'_>) {
        self.respond_http(core, to, outcome);
    }
    fn grant(&mut self, to: ExchangeId) {
        self.http.grant(to);
    }
    fn close(&mut self, session: SessionId, code: u16, reason: &'static str) {
        self.closing.push((session, code, reason));
    }
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// A core with sessions that are fed by hand.
pub struct Loopback {
    /// What is shared, as in production.
    pub core: Core,
    pub(crate) outboxes: Outboxes,
    sessions: BTreeMap<SessionId, Session>,
    paused: BTreeSet<SessionId>,
    pub(crate) next: u32,
}

impl Loopback {
    /// No sessions yet.
    pub fn new(limits: Limits) -> Self {
        Loopback {
            core: Core::new(limits, Box::new(Nobody)),
            outboxes: Outboxes::default(),
            sessions: BTreeMap::new(),
            paused: BTreeSet::new(),
            next: 0,
        }
    }

    /// A worker connects; its greeting waits in its outbox.
    pub fn connect(&mut self) -> SessionId {
        self.next += 1;
        let id = SessionId::new(0, self.next, self.next as usize);
        self.outboxes.open.insert(id, Outbox::default());
        let peer = self.core.connect(id, "loopback", u64::from(self.next));
        let session = Session::new(id, Role::Worker(peer), &self.core, &mut self.outboxes);
        self.sessions.insert(id, session);
        id
    }

    /// Its connection breaks.
    pub fn disconnect(&mut self, id: SessionId) {
        self.outboxes.open.remove(&id);
        self.end(id, "connection lost");
        self.begin_closings();
    }

    fn end(&mut self, id: SessionId, reason: &str) {
        self.paused.remove(&id);
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(peer) = session.peer() {
            self.core.disconnect(peer, reason, &mut self.outboxes);
        }
    }

    /// Bytes of frames arrive; they are unmasked in place. False: it was or is closed.
    pub fn feed(&mut self, id: SessionId, chunk: &mut [u8]) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let status = session.feed(chunk, &self.core, &mut self.outboxes);
        self.after(id, status);
        self.sessions.contains_key(&id)
    }

    /// One whole message arrives.
    pub fn receive(&mut self, id: SessionId, opcode: u8, message: &[u8]) -> bool {
        const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];
        let mut frame = Vec::with_capacity(message.len() + ws::HEADER_BYTES_MAX + MASK.len());
        ws::write_frame_header(&mut frame, opcode, message.len());
        frame[1] |= 0x80;
        frame.extend_from_slice(&MASK);
        frame.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.feed(id, &mut frame)
    }

    fn after(&mut self, id: SessionId, status: Status) {
        match status {
            Status::Open => {}
            Status::Ended => self.end(id, "ended"),
            Status::Paused => match self.sessions.get_mut(&id).and_then(Session::take_large) {
                Some(large) => return self.read(id, large),
                None => {
                    self.paused.insert(id);
                }
            },
            Status::Closed(frame) => {
                if let Some(outbox) = self.outboxes.open.get_mut(&id) {
                    outbox.frame(ws::OPCODE_CLOSE, &frame.payload());
                }
                self.end(id, &frame.describe());
            }
        }
        self.begin_closings();
    }

    fn read(&mut self, id: SessionId, large: Large) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let status = session.read(&mut large.read(&self.core), &self.core, &mut self.outboxes);
        self.after(id, status);
    }

    fn begin_closings(&mut self) {
        while let Some((closing, code, reason)) = self.outboxes.closing.pop() {
            if let Some(outbox) = self.outboxes.open.get_mut(&closing) {
                outbox.frame(ws::OPCODE_CLOSE, &ws::close_payload(code, reason));
            }
            self.end(closing, reason);
        }
        self.http_deliver();
    }

    /// The bytes that wait for a session.
    pub fn take(&mut self, id: SessionId) -> Vec<u8> {
        let bytes = self.outboxes.open.get_mut(&id).map(Outbox::take_bytes).unwrap_or_default();
        self.resume();
        bytes
    }

    /// The calls that wait for the control plane; call [`Self::handled`] when they are dealt with.
    pub fn take_calls(&mut self) -> Vec<Call> {
        self.core.calls.take(usize::MAX)
    }

    /// The calls that were taken are dealt with.
    pub fn handled(&mut self) {
        self.core.calls.set_handled();
        self.resume();
    }

    fn resume(&mut self) {
        for id in self.paused.clone() {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| session.may_resume(&self.core)) else {
                continue;
            };
            self.paused.remove(&id);
            let status = session.resume(&self.core, &mut self.outboxes);
            self.after(id, status);
        }
    }

    /// The control plane invokes a function.
    pub fn invoke(&mut self, invocation: &ControlInvocation) {
        self.core.invoke(invocation, &mut self.outboxes);
        self.begin_closings();
    }

    /// The control plane answers a call.
    pub fn settle(&mut self, id: SessionId, invocation_id: &str, function_id: &str, answered: &Answered) {
        self.core.settle(id, invocation_id, function_id, answered, &mut self.outboxes);
        self.begin_closings();
    }
}
