//! One connection's protocol state: bytes in, messages served, replies in outboxes. Knows no socket.

use crate::codec::{Codec, Value};
use crate::core::{Core, Counters};
use crate::dispatch::{Dispatch, Router};
use crate::large::{Large, Read};
use crate::limits::{LARGE_BYTES_MIN, SHARE_MESSAGES_MAX};
use crate::message::value_of;
use crate::peer::{Peer, SessionId};
use crate::ws::{self, Assembler, Flow, Message, Receiver, Status, Whole};
use std::sync::Arc;

/// What a connection is for.
pub enum Role {
    /// Speaks the wire protocol.
    Worker(Arc<Peer>),
    /// Sends telemetry, which is counted and dropped.
    Telemetry,
    /// Gets every message back: for conformance tests of the framing.
    Echo,
}

/// First bytes of a binary message that carries telemetry; `protocol.TELEMETRY_PREFIXES` has the same list.
pub const TELEMETRY_PREFIXES: [&[u8]; 3] = [b"OTLP", b"MTRC", b"LOGS"];

/// One connection.
pub struct Session {
    id: SessionId,
    role: Role,
    assembler: Assembler,
    /// A call that must be handled before the next message is served.
    awaited: Option<u64>,
    /// It has paused for the sake of others only.
    yielded: bool,
    large: Apart,
}

/// The large message that must be read before anything else happens.
#[derive(Debug)]
enum Apart {
    /// There is none.
    None,
    /// It has come.
    Here(Large),
    /// Somebody is reading it.
    Away,
}

impl Session {
    /// A connection that has just been upgraded; a worker is greeted.
    pub fn new(id: SessionId, role: Role, core: &Core, router: &mut impl Router) -> Self {
        if let Role::Worker(peer) = &role
            && let Some(outbox) = router.outbox(id, None)
        {
            let Peer { worker_id, reattach_token, .. } = &**peer;
            outbox.text(
                format!(
                    "{{\"type\":\"workerregistered\",\"worker_id\":\"{worker_id}\",\"reattach_token\":\"{reattach_token}\"}}"
                )
                .as_bytes(),
            );
        }
        Session {
            id,
            role,
            assembler: Assembler::new(core.limits.message_bytes_max),
            awaited: None,
            yielded: false,
            large: Apart::None,
        }
    }

    /// The worker behind it, if it is one.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        match &self.role {
            Role::Worker(peer) => Some(peer),
            Role::Telemetry | Role::Echo => None,
        }
    }

    /// Serves what has arrived (`chunk` is unmasked in place).
    pub fn feed(&mut self, chunk: &mut [u8], core: &Core, router: &mut impl Router) -> Status {
        self.serve(core, router, |assembler, inbound| assembler.feed(chunk, inbound))
    }

    /// Whether what made it pause is over, its own outbox aside.
    pub fn may_resume(&self, core: &Core) -> bool {
        if self.awaits_read() {
            return false;
        }
        let handled = self.awaited.is_none_or(|number| core.calls.is_handled(number));
        let expected = self.peer().filter(|_| core.remote.is_some()).map_or(0, |peer| peer.expected_bytes());
        let room = expected <= core.limits.outbox_throttle_bytes / 2;
        handled && room && !core.is_control_full() && !core.is_log_full()
    }

    /// Goes on after [`Status::Paused`].
    pub fn resume(&mut self, core: &Core, router: &mut impl Router) -> Status {
        self.serve(core, router, |assembler, inbound| assembler.resume(inbound))
    }

    /// Where to read the rest of a long frame to; then call [`Self::filled`].
    pub fn spare(&mut self) -> Option<&mut [u8]> {
        self.assembler.spare()
    }

    /// `n` bytes were read to [`Self::spare`].
    pub fn filled(&mut self, n: usize, core: &Core, router: &mut impl Router) -> Status {
        self.serve(core, router, |assembler, inbound| assembler.filled(n, inbound))
    }

    /// Whether [`Status::Paused`] was for the sake of others only: it may be resumed as soon as they have had their turn.
    pub fn has_yielded(&self) -> bool {
        self.yielded
    }

    /// A message to be read by another thread, then brought back with [`Self::read`]. Until then it stays paused.
    pub fn take_large(&mut self) -> Option<Large> {
        match std::mem::replace(&mut self.large, Apart::Away) {
            Apart::Here(large) => Some(large),
            other => {
                self.large = other;
                None
            }
        }
    }

    /// Whether it is paused until a large message is read.
    pub fn awaits_read(&self) -> bool {
        !matches!(self.large, Apart::None)
    }

    /// Serves the message that [`Self::take_large`] gave, and goes on.
    pub fn read(&mut self, read: &mut Read, core: &Core, router: &mut impl Router) -> Status {
        self.large = Apart::None;
        self.serve(core, router, |assembler, inbound| match inbound.read(read) {
            Flow::Pause => Status::Paused,
            Flow::Continue | Flow::Stop => assembler.resume(inbound),
        })
    }

    #[inline]
    fn serve<R: Router>(
        &mut self,
        core: &Core,
        router: &mut R,
        step: impl FnOnce(&mut Assembler, &mut Inbound<'_, R>) -> Status,
    ) -> Status {
        let Session { id, role, assembler, awaited, yielded, large } = self;
        *yielded = false;
        let share = SHARE_MESSAGES_MAX;
        let mut inbound = Inbound { id: *id, role, core, router, awaited, yielded, large, share, served: 0 };
        let mut status = step(assembler, &mut inbound);
        if *inbound.yielded && assembler.buffered() == 0 {
            // It was the last message.
            *inbound.yielded = false;
            status = assembler.resume(&mut inbound);
        }
        Counters::add(&core.counters.messages_in, inbound.served);
        status
    }
}

struct Inbound<'a, R: Router> {
    id: SessionId,
    role: &'a Role,
    core: &'a Core,
    router: &'a mut R,
    awaited: &'a mut Option<u64>,
    yielded: &'a mut bool,
    large: &'a mut Apart,
    /// Messages that are served before it is asked whether others wait.
    share: usize,
    /// Messages of a worker.
    served: u64,
}

impl<R: Router> Inbound<'_, R> {
    fn worker_message(&mut self, peer: &Arc<Peer>, message: Message<'_>) {
        if let Message::Binary(bytes) = message
            && is_telemetry(bytes)
        {
            return self.telemetry(bytes);
        }
        let value = value_of(message);
        peer.note_codec(value.map_or(Codec::Json, Value::codec));
        match value {
            Some(Value::Json("")) => {}
            Some(value) => *self.awaited = Dispatch { core: self.core, router: self.router, peer }.message(value, None),
            None => Counters::add(&self.core.counters.messages_ignored, 1),
        }
    }

    fn read(&mut self, read: &mut Read) -> Flow {
        if self.role_is_gone() {
            return Flow::Stop;
        }
        if let Role::Worker(peer) = self.role {
            self.served += 1;
            peer.note_codec(read.codec());
            *self.awaited = read.with(|reading| Dispatch { core: self.core, router: self.router, peer }.large(reading));
        }
        self.flow()
    }

    fn telemetry(&self, bytes: &[u8]) {
        Counters::add(&self.core.counters.telemetry_frames, 1);
        Counters::add(&self.core.counters.telemetry_bytes, bytes.len() as u64);
    }

    /// Whether this connection may be served further now.
    fn flow(&mut self) -> Flow {
        if self.role_is_gone() {
            return Flow::Stop;
        }
        let outbox_full = self.router.waiting(self.id) + self.expected() > self.core.limits.outbox_throttle_bytes;
        if outbox_full
            || self.awaited.is_some()
            || self.calls_full()
            || self.log_full()
            || self.router.is_pipeline_full()
        {
            return Flow::Pause;
        }
        self.share -= 1;
        if self.share > 0 {
            return Flow::Continue;
        }
        self.share = SHARE_MESSAGES_MAX;
        *self.yielded = self.router.is_another_ready(self.id);
        if *self.yielded { Flow::Pause } else { Flow::Continue }
    }

    /// Bytes that will come from the server that keeps state, if one does.
    fn expected(&self) -> usize {
        match self.role {
            Role::Worker(peer) if self.core.remote.is_some() => peer.expected_bytes(),
            _ => 0,
        }
    }

    fn log_full(&mut self) -> bool {
        if !self.core.is_log_full() {
            return false;
        }
        self.router.await_journal();
        true
    }

    fn calls_full(&self) -> bool {
        if !self.core.is_control_full() {
            return false;
        }
        self.core.calls.note_pause();
        self.core.is_control_full()
    }

    fn role_is_gone(&self) -> bool {
        matches!(self.role, Role::Worker(peer) if peer.is_gone())
    }
}

fn is_telemetry(bytes: &[u8]) -> bool {
    TELEMETRY_PREFIXES.iter().any(|prefix| bytes.starts_with(prefix))
}

impl<R: Router> Receiver for Inbound<'_, R> {
    fn message(&mut self, message: Message<'_>) -> Flow {
        if self.role_is_gone() {
            return Flow::Stop;
        }
        match self.role {
            Role::Worker(peer) => {
                self.served += 1;
                self.worker_message(peer, message);
            }
            Role::Telemetry => match message {
                Message::Text(text) => self.telemetry(text.as_bytes()),
                Message::Binary(bytes) => self.telemetry(bytes),
            },
            Role::Echo => {
                if let Some(outbox) = self.router.outbox(self.id, None) {
                    match message {
                        Message::Text(text) => outbox.frame(ws::OPCODE_TEXT, text.as_bytes()),
                        Message::Binary(bytes) => outbox.frame(ws::OPCODE_BINARY, bytes),
                    }
                }
            }
        }
        self.flow()
    }

    fn whole(&mut self, whole: Whole) -> Flow {
        let message = whole.message();
        let is_large = message.bytes().len() >= LARGE_BYTES_MIN && matches!(self.role, Role::Worker(_));
        if !is_large || matches!(message, Message::Binary(bytes) if is_telemetry(bytes)) {
            return self.message(message);
        }
        *self.large = Apart::Here(Large(whole));
        Flow::Pause
    }

    fn ping(&mut self, payload: &[u8]) {
        if let Some(outbox) = self.router.outbox(self.id, None) {
            outbox.frame(ws::OPCODE_PONG, payload);
        }
    }

    fn pong(&mut self) {}

    fn close(&mut self, _code: Option<u16>, _reason: &str) {}
}
