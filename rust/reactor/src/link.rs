//! One socket with its outbox: writing, interest, and when it was last heard of. Also how sessions reach outboxes.

use crate::http::HttpLinks;
use crate::inbox::Command;
use crate::plain;
use crate::poller::{Interest, Poller};
use crate::tls::TlsConnection;
use iii_fast_core::calls::{Call, Outcome};
use iii_fast_core::core::Core;
use iii_fast_core::dispatch::Router;
use iii_fast_core::http::ExchangeId;
use iii_fast_core::invocation::InvocationId;
use iii_fast_core::log::{Progress, Receipt};
use iii_fast_core::outbox::Outbox;
use iii_fast_core::outcome::{Settlement, fail_held};
use iii_fast_core::peer::SessionId;
use iii_fast_core::remote::Pipeline;
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

/// Bytes written to one socket before others get their turn.
const WRITE_BUDGET_BYTES: usize = 1 << 20;
/// A lent buffer that has grown beyond this is freed instead of kept.
const POOLED_BYTES_MAX: usize = 64 << 10;
/// Buffers kept for busy links.
const POOLED_MAX: usize = 64;

/// How far the end of a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Being served.
    Open,
    /// Our close frame is in the outbox: nothing more is added, input is thrown away.
    Closing,
    /// It is sent and so is our FIN; the peer's is awaited.
    Closed,
}

/// Replies to writes of one pass that are not acknowledged yet.
struct Held {
    /// Of the last of these writes.
    receipt: Receipt,
    batch: u64,
    replies: Outbox,
}

/// One connection's socket.
pub(crate) struct Link {
    pub(crate) id: SessionId,
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Box<TlsConnection>>,
    pub(crate) outbox: Outbox,
    pub(crate) phase: Phase,
    /// Not read for now: the outbox or the calls for Python are full.
    pub(crate) paused: bool,
    interest: Interest,
    dirty: bool,
    held: Vec<Held>,
    /// Bytes of all that is held but the last, which may still grow.
    held_bytes_before: usize,
    pub(crate) last_seen_ms: u64,
    pub(crate) last_ping_ms: u64,
    /// Since when the outbox has made no progress.
    pub(crate) stalled_since_ms: u64,
    /// Since when it is in `Closing` or `Closed`.
    pub(crate) closing_since_ms: u64,
}

impl Link {
    pub(crate) fn new(id: SessionId, socket: TcpStream, tls: Option<Box<TlsConnection>>, now_ms: u64) -> Self {
        Link {
            id,
            socket,
            tls,
            outbox: Outbox::default(),
            phase: Phase::Open,
            paused: false,
            interest: INITIAL_INTEREST,
            dirty: false,
            held: Vec::new(),
            held_bytes_before: 0,
            last_seen_ms: now_ms,
            last_ping_ms: now_ms,
            stalled_since_ms: now_ms,
            closing_since_ms: now_ms,
        }
    }

    /// Puts its slot among those that are to be written, once.
    fn mark_dirty(&mut self, slot: usize, dirty: &mut VecDeque<usize>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push_back(slot);
        }
    }

    /// Bytes that wait for the socket or for the journal.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.len() + self.held_bytes_before + self.held.last().map_or(0, |held| held.replies.len())
    }

    /// Writes what the socket takes, within the budget. An error means the connection is lost.
    pub(crate) fn write(&mut self, now_ms: u64) -> io::Result<()> {
        let took = if self.tls.is_some() {
            self.write_encrypted()?
        } else {
            plain::write(&mut self.outbox, &self.socket, WRITE_BUDGET_BYTES)?
        };
        if took {
            self.stalled_since_ms = now_ms;
        }
        if self.phase == Phase::Closing && self.is_drained() {
            self.phase = Phase::Closed;
            // The peer may be gone already; reading will tell.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn write_encrypted(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let mut took = tls.write(&mut self.outbox, &mut self.socket, WRITE_BUDGET_BYTES)?;
        if self.phase == Phase::Closing && self.outbox.is_empty() {
            tls.close();
            took |= tls.write(&mut self.outbox, &mut self.socket, WRITE_BUDGET_BYTES)?;
        }
        Ok(took)
    }

    /// Whether the socket has taken everything.
    fn is_drained(&self) -> bool {
        self.outbox.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// Asks the poller for what fits the present state.
    pub(crate) fn update_interest(&mut self, poller: &Poller) -> io::Result<()> {
        let interest = Interest { read: !self.paused, write: !self.is_drained() };
        if interest != self.interest {
            poller.modify(&self.socket, self.id.number(), interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}

pub(crate) const INITIAL_INTEREST: Interest = Interest { read: true, write: false };

/// All links of one reactor, and the way to those of others.
pub(crate) struct Links {
    pub(crate) reactor: usize,
    pub(crate) slab: Slab<Link>,
    poller: Arc<Poller>,
    /// Events of this pass that nobody has looked at yet.
    pub(crate) unserved: usize,
    /// Sessions that have paused for the sake of others: they go on in the next pass.
    pub(crate) yielded: VecDeque<usize>,
    /// Links with something new in their outbox.
    pub(crate) dirty: VecDeque<usize>,
    /// What is on its way to other reactors, by reactor.
    pub(crate) staged: Vec<Vec<Command>>,
    /// Close handshakes to begin here.
    pub(crate) closing: Vec<(SessionId, u16, &'static str)>,
    pool: Vec<Vec<u8>>,
    pub(crate) now_ms: u64,
    /// Links that hold replies.
    holders: Vec<usize>,
    held_calls: Vec<(Receipt, Call)>,
    /// Grows with every pass: replies of one pass are held together.
    batch: u64,
    /// Whether sessions here are paused until the journal has caught up.
    pub(crate) awaiting_journal: bool,
    /// State calls on their way to the server that keeps state, if one does.
    pub(crate) pipeline: Option<Box<Pipeline>>,
    pub(crate) http: HttpLinks,
}

impl Links {
    pub(crate) fn new(reactor: usize, reactors: usize, poller: Arc<Poller>) -> Self {
        Links {
            reactor,
            slab: Slab::new(),
            poller,
            unserved: 0,
            yielded: VecDeque::new(),
            dirty: VecDeque::new(),
            staged: (0..reactors).map(|_| Vec::new()).collect(),
            closing: Vec::new(),
            pool: Vec::new(),
            now_ms: 0,
            holders: Vec::new(),
            held_calls: Vec::new(),
            batch: 0,
            awaiting_journal: false,
            pipeline: None,
            http: HttpLinks::new(),
        }
    }

    /// Whether anything here waits for the journal.
    pub(crate) fn awaits_journal(&self) -> bool {
        !self.holders.is_empty() || !self.held_calls.is_empty() || self.awaiting_journal
    }

    /// A pass is over: what is held from now on is held apart.
    pub(crate) fn end_batch(&mut self) {
        self.batch += 1;
    }

    /// Lets go of what is acknowledged by now; what never will be becomes errors.
    pub(crate) fn release(&mut self, core: &Core) {
        let mut holders = std::mem::take(&mut self.holders);
        holders.retain(|&slot| self.release_link(slot, core));
        self.holders = holders;
        let log = core.state.log();
        for (receipt, call) in std::mem::take(&mut self.held_calls) {
            let call = match (log.progress(receipt), call) {
                (Progress::Waiting, call) => {
                    self.held_calls.push((receipt, call));
                    continue;
                }
                (Progress::Acknowledged, call) => call,
                (Progress::Failed, Call::Settled { ticket, .. }) => {
                    Call::Settled { ticket, outcome: Outcome::Error(log.failed_error()) }
                }
                (Progress::Failed, call) => call,
            };
            core.calls.push(call);
        }
    }

    /// Puts whole messages behind what waits for a session; into an empty outbox without copying them.
    fn put(&mut self, to: SessionId, messages: Outbox) {
        let Some(outbox) = self.local(to) else { return };
        if !outbox.is_empty() {
            return outbox.append(messages);
        }
        if let Some(buffer) = std::mem::replace(outbox, messages).reclaim() {
            self.keep(buffer);
        }
    }

    /// As [`Self::release`], of one link; whether it still holds something.
    fn release_link(&mut self, slot: usize, core: &Core) -> bool {
        let log = core.state.log();
        let Some(link) = self.slab.get_mut(slot) else { return false };
        let (id, held) = (link.id, std::mem::take(&mut link.held));
        let mut waiting: Vec<Held> = Vec::new();
        for mut one in held {
            // More may be acknowledged at any time: nothing overtakes what waits already.
            let is_behind = holds(&waiting, one.receipt);
            let replies = match log.progress(one.receipt) {
                progress if is_behind || progress == Progress::Waiting => {
                    waiting.push(one);
                    continue;
                }
                Progress::Failed => fail_held(&mut one.replies, &log.failed_error()),
                _ => one.replies,
            };
            self.put(id, replies);
        }
        let holds = !waiting.is_empty();
        if let Some(link) = self.slab.get_mut(slot) {
            link.held_bytes_before = waiting.iter().rev().skip(1).map(|one| one.replies.len()).sum();
            link.held = waiting;
        }
        holds
    }

    /// The link of a session that lives here.
    pub(crate) fn find(&mut self, session: SessionId) -> Option<&mut Link> {
        self.slab.get_mut(session.slot()).filter(|link| link.id == session)
    }

    fn local(&mut self, to: SessionId) -> Option<&mut Outbox> {
        let link = self.slab.get_mut(to.slot())?;
        if link.id != to || link.phase != Phase::Open {
            return None;
        }
        if link.outbox.is_empty() {
            link.stalled_since_ms = self.now_ms;
            if link.outbox.is_bare() {
                link.outbox.lend(self.pool.pop().unwrap_or_default());
            }
        }
        link.mark_dirty(to.slot(), &mut self.dirty);
        Some(&mut link.outbox)
    }

    /// Has a link written at the end of this pass.
    pub(crate) fn mark_dirty(&mut self, slot: usize) {
        if let Some(link) = self.slab.get_mut(slot) {
            link.mark_dirty(slot, &mut self.dirty);
        }
    }

    /// The next link that has something new, no longer marked.
    pub(crate) fn next_dirty(&mut self) -> Option<usize> {
        let slot = self.dirty.pop_front()?;
        if let Some(link) = self.slab.get_mut(slot) {
            link.dirty = false;
        }
        Some(slot)
    }

    /// Takes the buffer of an idle link back.
    pub(crate) fn reclaim(&mut self, slot: usize) {
        if let Some(buffer) = self.slab.get_mut(slot).and_then(|link| link.outbox.reclaim()) {
            self.keep(buffer);
        }
    }

    pub(crate) fn spare_buffer(&mut self) -> Vec<u8> {
        self.pool.pop().unwrap_or_default()
    }

    pub(crate) fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= POOLED_BYTES_MAX && self.pool.len() < POOLED_MAX {
            self.pool.push(buffer);
        }
    }
}

/// Whether some of these replies have to leave before one to the write of `receipt`.
fn holds(held: &[Held], receipt: Receipt) -> bool {
    held.iter().any(|before| before.receipt.durable == receipt.durable)
}

impl Router for Links {
    fn outbox(&mut self, to: SessionId, invocation: Option<InvocationId>) -> Option<&mut Outbox> {
        if to.reactor() == self.reactor {
            return self.local(to);
        }
        let staged = self.staged.get_mut(to.reactor())?;
        staged.push(Command::Deliver { to, messages: Outbox::default(), invocation });
        match staged.last_mut() {
            Some(Command::Deliver { messages, .. }) => Some(messages),
            _ => None,
        }
    }

    fn outbox_after(&mut self, to: SessionId, receipt: Receipt) -> Option<&mut Outbox> {
        let batch = self.batch;
        let link = self.slab.get_mut(to.slot()).filter(|link| link.id == to && link.phase == Phase::Open)?;
        if link.held.is_empty() {
            self.holders.push(to.slot());
        }
        let joins = |held: &Held| held.batch == batch && held.receipt.durable == receipt.durable;
        if !link.held.last().is_some_and(joins) {
            let mut replies = Outbox::default();
            replies.lend(self.pool.pop().unwrap_or_default());
            link.held_bytes_before += link.held.last().map_or(0, |held| held.replies.len());
            link.held.push(Held { receipt, batch, replies });
        }
        let held = link.held.last_mut()?;
        held.receipt = receipt;
        Some(&mut held.replies)
    }

    fn holds(&self, to: SessionId, receipt: Receipt) -> bool {
        // In memory there is nothing held at all.
        !self.holders.is_empty()
            && self.slab.get(to.slot()).filter(|link| link.id == to).is_some_and(|link| holds(&link.held, receipt))
    }

    fn hold(&mut self, receipt: Receipt, call: Call) {
        self.held_calls.push((receipt, call));
    }

    fn await_journal(&mut self) {
        self.awaiting_journal = true;
    }

    fn pipeline(&mut self) -> Option<&mut Pipeline> {
        self.pipeline.as_deref_mut()
    }

    #[inline]
    fn is_pipeline_full(&self) -> bool {
        self.pipeline.as_ref().is_some_and(|pipeline| pipeline.is_full())
    }

    fn waiting(&self, session: SessionId) -> usize {
        self.slab.get(session.slot()).filter(|link| link.id == session).map_or(0, Link::waiting)
    }

    fn is_another_ready(&self, session: SessionId) -> bool {
        self.unserved > 0 || !self.yielded.is_empty() || self.poller.is_another_ready(session.number())
    }

    fn respond(&mut self, core: &Core, to: ExchangeId, outcome: Settlement<'_>) {
        self.respond_http(core, to, outcome);
    }

    fn grant(&mut self, to: ExchangeId) {
        self.grant_http(to);
    }

    fn close(&mut self, session: SessionId, code: u16, reason: &'static str) {
        if session.reactor() == self.reactor {
            self.closing.push((session, code, reason));
        } else if let Some(staged) = self.staged.get_mut(session.reactor()) {
            staged.push(Command::Close { session, code, reason: reason.into() });
        }
    }
}
