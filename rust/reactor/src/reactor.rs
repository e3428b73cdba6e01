//! A pass: one poll, every ready socket is read and served, then all that is to be said is written.

use crate::aside::Aside;
use crate::http::LISTENER_TOKEN;
use crate::inbox::{Adoption, Command, Inbox, JournalListener, Purpose};
use crate::linger::Linger;
use crate::link::{INITIAL_INTEREST, Link, Links, Phase};
use crate::plain;
use crate::poller::{EVENTS_MAX, Interest, Poller, Ready, Ticker};
use crate::rounds::ROUNDS_MAX;
use crate::shield::{BUG, shielded};
use crate::turn::Turn;
use crate::upstream::{UPSTREAM_TOKEN, Upstream};
use iii_fast_core::core::{Core, Counters};
use iii_fast_core::dispatch::Router;
use iii_fast_core::peer::SessionId;
use iii_fast_core::session::{Role, Session};
use iii_fast_core::ws::{self, Status};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes read from one socket before others get their turn.
const READ_BUDGET_BYTES: usize = 64 << 10;
/// How often liveness is looked after.
const TICK_MS: u64 = 500;

const INBOX_TOKEN: u64 = u64::MAX;
const TICK_TOKEN: u64 = u64::MAX - 1;
const READ_ONLY: Interest = Interest { read: true, write: false };

/// One loop over its own connections.
pub struct Reactor {
    index: u8,
    pub(crate) core: Arc<Core>,
    pub(crate) inbox: Arc<Inbox>,
    others: Arc<[Arc<Inbox>]>,
    pub(crate) poller: Arc<Poller>,
    ticker: Ticker,
    pub(crate) links: Links,
    pub(crate) upstream: Option<Upstream>,
    /// By slot, as `links`.
    pub(crate) sessions: Vec<Option<Box<Session>>>,
    pub(crate) ready: Vec<Ready>,
    /// Events of the last pass.
    pub(crate) served: usize,
    pub(crate) scratch: Vec<u8>,
    /// What a read held once it was decrypted.
    pub(crate) plain: Vec<u8>,
    generation: u32,
    /// Paused sessions that have room again.
    resumable: Vec<usize>,
    started: Instant,
    stopped: bool,
    pub(crate) linger: Linger,
    pub(crate) aside: Aside,
    /// Connections that have ended while a large message of theirs is being read, and why.
    pub(crate) ending: Vec<(SessionId, String)>,
}

/// `count` reactors over one core, each knowing the inboxes of all.
pub fn reactors(core: &Arc<Core>, count: usize) -> io::Result<Vec<Reactor>> {
    let inboxes: Arc<[Arc<Inbox>]> = (0..count).map(|_| Inbox::new().map(Arc::new)).collect::<io::Result<_>>()?;
    (0..count)
        .map(|index| {
            let index = u8::try_from(index).map_err(|_| io::Error::other("at most 256 reactors"))?;
            Reactor::new(index, core.clone(), inboxes.clone())
        })
        .collect()
}

impl Reactor {
    fn new(index: u8, core: Arc<Core>, others: Arc<[Arc<Inbox>]>) -> io::Result<Self> {
        let inbox = others[usize::from(index)].clone();
        let poller = Arc::new(Poller::new()?);
        let linger = Linger::new(poller.waits_finely(), Duration::from_micros(core.limits.busy_poll_us));
        poller.add(inbox.waker(), INBOX_TOKEN, READ_ONLY)?;
        let ticker = Ticker::new(TICK_MS)?;
        poller.add(&ticker, TICK_TOKEN, READ_ONLY)?;
        let listener = JournalListener { inbox: inbox.clone(), core: Arc::downgrade(&core), for_control: index == 0 };
        core.state.log().listen(Box::new(listener));
        let mut links = Links::new(usize::from(index), others.len(), poller.clone());
        let upstream = Upstream::begin(&core, index, &inbox, &mut links)?;
        Ok(Reactor {
            index,
            core,
            inbox,
            links,
            upstream,
            others,
            poller,
            ticker,
            sessions: Vec::new(),
            ready: Vec::new(),
            served: 0,
            scratch: vec![0; READ_BUDGET_BYTES],
            plain: Vec::new(),
            generation: 0,
            resumable: Vec::new(),
            started: Instant::now(),
            stopped: false,
            linger,
            aside: Aside::start()?,
            ending: Vec::new(),
        })
    }

    /// Readable when a turn has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.poller.fd()
    }

    /// Where others leave commands.
    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Serves until [`Command::Stop`]; blocks its thread.
    pub fn run(&mut self) -> io::Result<()> {
        while self.pass(None)? != Turn::Stopped {}
        Ok(())
    }

    /// `patience`: how long it waits for something to be ready; none: until something is.
    pub(crate) fn pass(&mut self, patience: Option<Duration>) -> io::Result<Turn> {
        let patience = if self.has_more() { Some(Duration::ZERO) } else { patience };
        if self.ready.is_empty() {
            self.poller.poll(patience, &mut self.ready)?;
        }
        let mut count = self.round();
        self.served = count;
        for _ in 1..ROUNDS_MAX {
            if !self.joins_more(count)? {
                break;
            }
            count = self.round();
            self.served += count;
        }
        self.hand_over();
        self.write_upstream();
        self.flush_http();
        self.write_dirty();
        self.send_staged();
        Ok(match count {
            _ if self.stopped => Turn::Stopped,
            _ if count == EVENTS_MAX || self.has_more() => Turn::More,
            _ => Turn::Idle,
        })
    }

    /// Serves what is ready; how many events that were.
    fn round(&mut self) -> usize {
        let mut ready = std::mem::take(&mut self.ready);
        self.links.now_ms = self.started.elapsed().as_millis() as u64;
        let now_unix_ms = unix_ms();
        self.links.http.clock.set(self.links.now_ms, now_unix_ms);
        self.core.advance_clock(now_unix_ms);
        let (count, yielded) = (ready.len(), self.links.yielded.len());
        self.links.unserved = count;
        for event in ready.drain(..) {
            self.links.unserved -= 1;
            match event.token {
                INBOX_TOKEN => self.commands(),
                TICK_TOKEN => {
                    self.ticker.clear();
                    self.look_after_liveness();
                    self.look_after_http();
                    self.with_upstream(Upstream::tick);
                }
                UPSTREAM_TOKEN => self.upstream_ready(event),
                LISTENER_TOKEN.. => self.accept_http(event.token),
                token if SessionId::from_number(token).is_http() => {
                    self.http_ready(SessionId::from_number(token), event);
                }
                token => self.socket_ready(SessionId::from_number(token), event),
            }
        }
        self.ready = ready;
        self.serve_yielded(yielded);
        // Once each: a session that pauses again waits for the next pass, so that others get their turn.
        for slot in std::mem::take(&mut self.resumable) {
            self.resume(slot);
        }
        self.begin_closings();
        count
    }

    /// Whether there is something to do that no descriptor tells of.
    pub(crate) fn has_more(&self) -> bool {
        !self.resumable.is_empty() || !self.links.yielded.is_empty() || self.links.http.has_more()
    }

    /// Gives the journal what this pass has written. Whoever waits for it is told when it is acknowledged.
    fn hand_over(&mut self) {
        self.core.state.log().hand_over();
        self.links.end_batch();
        if self.links.awaits_journal() {
            self.after_acknowledgement();
        }
        if self.links.awaits_journal() {
            self.inbox.await_journal();
            // It may have been faster.
            self.after_acknowledgement();
            // Who waits for the disk has said so by that.
            self.core.state.log().hand_over();
        }
    }

    fn after_acknowledgement(&mut self) {
        self.links.release(&self.core);
        if self.links.awaiting_journal && !self.core.is_log_full() {
            self.links.awaiting_journal = false;
            self.resume_all();
            // Whoever goes on may have written: nobody else may come by to say so.
            self.core.state.log().hand_over();
        }
    }

    fn socket_ready(&mut self, session: SessionId, event: Ready) {
        let Some(link) = self.links.find(session) else { return };
        let paused = link.paused;
        // What it has sent before comes first.
        let yielded = self.has_yielded(session.slot());
        if event.write {
            self.write(session.slot());
        }
        if event.hung_up && paused {
            self.drop_link(session.slot(), "connection lost");
        } else if event.read && !paused && !yielded {
            // Who has paused since the last write is not known to the poller yet.
            self.read(session.slot());
        }
    }

    // --- reading -----------------------------------------------------------------------------------------------

    fn read(&mut self, slot: usize) {
        let Some(link) = self.links.slab.get_mut(slot) else { return };
        link.last_seen_ms = self.links.now_ms;
        if link.phase != Phase::Open {
            return self.discard(slot);
        }
        if link.tls.is_some() {
            return self.read_secure(slot);
        }
        let Some(mut session) = self.sessions.get_mut(slot).and_then(Option::take) else {
            return self.drop_link(slot, BUG);
        };
        let status = if let Some(spare) = session.spare() {
            match plain::read(&link.socket, spare) {
                Ok(0) => Err("connection closed by the worker"),
                Ok(n) => shielded(|| session.filled(n, &self.core, &mut self.links)).ok_or(BUG),
                Err(error) => retry_later(&error),
            }
        } else {
            match plain::read(&link.socket, &mut self.scratch) {
                Ok(0) => Err("connection closed by the worker"),
                Ok(n) => shielded(|| session.feed(&mut self.scratch[..n], &self.core, &mut self.links)).ok_or(BUG),
                Err(error) => retry_later(&error),
            }
        };
        self.sessions[slot] = Some(session);
        match status {
            Ok(status) => self.after_serving(slot, status),
            Err(reason) => self.drop_link(slot, reason),
        }
    }

    pub(crate) fn after_serving(&mut self, slot: usize, status: Status) {
        match status {
            // `Ended`: replaced by another connection, whose message begins the close handshake with this one.
            Status::Open | Status::Ended => self.pause_if_full(slot),
            Status::Paused if self.has_yielded(slot) => return self.links.yielded.push_back(slot),
            Status::Paused => {
                self.pause(slot, true);
                match self.sessions.get_mut(slot).and_then(Option::as_mut).and_then(|session| session.take_large()) {
                    Some(large) => self.read_aside(slot, large),
                    None => self.note_full_upstream(),
                }
            }
            Status::Closed(frame) => {
                let reason = frame.describe();
                self.finish(slot, &frame.payload(), &reason);
            }
        }
        self.begin_closings();
        self.write_soon(slot);
    }

    /// Throws input away while the close handshake ends.
    fn discard(&mut self, slot: usize) {
        let Some(link) = self.links.slab.get_mut(slot) else { return };
        match plain::read(&link.socket, &mut self.scratch) {
            // The peer sends no more but may still read what waits for it.
            Ok(0) if link.phase == Phase::Closing => {
                self.pause(slot, true);
                self.write(slot);
            }
            Ok(0) => self.drop_link(slot, "closed"),
            Err(error) if retry_later(&error).is_err() => self.drop_link(slot, "closed"),
            _ => {}
        }
    }

    // --- writing -----------------------------------------------------------------------------------------------

    fn write_dirty(&mut self) {
        while let Some(slot) = self.links.next_dirty() {
            if !self.writes_later(slot) {
                self.write(slot);
            }
        }
    }

    pub(crate) fn write(&mut self, slot: usize) {
        let now_ms = self.links.now_ms;
        let Some(link) = self.links.slab.get_mut(slot) else { return };
        let written = link.write(now_ms).and_then(|()| link.update_interest(&self.poller));
        if written.is_err() {
            return self.drop_link(slot, "connection lost");
        }
        let (waiting, phase, paused) = (link.outbox.len(), link.phase, link.paused);
        if let Some(peer) = self.sessions.get(slot).and_then(Option::as_ref).and_then(|session| session.peer()) {
            peer.outbox_bytes.store(waiting, Ordering::Relaxed);
        }
        self.links.reclaim(slot);
        if paused && phase == Phase::Closed {
            self.drop_link(slot, "closed");
        } else if self.may_resume(slot) {
            self.resumable.push(slot);
        }
    }

    fn send_staged(&mut self) {
        for (reactor, staged) in self.links.staged.iter_mut().enumerate() {
            // Refused after the outbox was asked for: nothing to deliver.
            staged.retain(|command| !matches!(command, Command::Deliver { messages, .. } if messages.is_empty()));
            if !staged.is_empty() {
                self.others[reactor].push_all(staged);
            }
        }
    }

    // --- commands ----------------------------------------------------------------------------------------------

    fn commands(&mut self) {
        for command in self.inbox.take() {
            // A panic here is ours as well; only this command is lost.
            let _ = shielded(|| self.command(command));
        }
        self.begin_closings();
    }

    fn command(&mut self, command: Command) {
        let (core, links) = (&self.core, &mut self.links);
        match command {
            Command::Adopt(adoption) => self.adopt(adoption),
            Command::Deliver { to, messages, invocation } => {
                if let Some(outbox) = links.outbox(to, None) {
                    outbox.append(messages);
                } else if let Some(id) = invocation {
                    core.undeliverable(&id, links);
                }
            }
            Command::Push(session, message) => core.push(session, &message, links),
            Command::Settle { session, invocation_id, function_id, answered } => {
                core.settle(session, &invocation_id, &function_id, &answered, links);
            }
            Command::Invoke(invocation) => core.invoke(&invocation, links),
            Command::Forget(ticket) => {
                core.invocations.forget(ticket);
                if let Some(pipeline) = links.pipeline() {
                    pipeline.forget(ticket);
                }
            }
            Command::Close { session, code, reason } => {
                links.release(core);
                if links.find(session).is_some() {
                    self.begin_close(session.slot(), code, &reason);
                }
            }
            Command::CloseAll { code, reason } => {
                links.release(core);
                let slots: Vec<usize> = links.slab.iter().map(|(slot, _)| slot).collect();
                for slot in slots {
                    self.begin_close(slot, code, &reason);
                }
            }
            Command::Read { session, read } => self.serve_read(session, read),
            Command::Http(command) => self.http_command(command),
            Command::Resume => self.resume_all(),
            Command::Acknowledged => {
                self.after_acknowledgement();
                self.core.announce_acknowledged();
            }
            Command::Upstream(outcome) => self.upstream_connected(outcome),
            Command::Stop => self.stopped = true,
        }
    }

    fn adopt(&mut self, adoption: Adoption) {
        let Adoption { socket, tls, mut leftover, purpose, address, connected_at_ms } = adoption;
        let prepared = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
        self.generation = self.generation.wrapping_add(1);
        let entry = self.links.slab.vacant_entry();
        let slot = entry.key();
        let id = SessionId::new(self.index, self.generation, slot);
        if prepared.and_then(|()| self.poller.add(&socket, id.number(), INITIAL_INTEREST)).is_err() {
            Counters::subtract(&self.core.counters.connections, 1);
            return;
        }
        entry.insert(Link::new(id, socket, tls, self.links.now_ms));
        let role = match purpose {
            Purpose::Worker => Role::Worker(self.core.connect(id, &address, connected_at_ms)),
            Purpose::Telemetry => Role::Telemetry,
            Purpose::Echo => Role::Echo,
        };
        let mut session = Box::new(Session::new(id, role, &self.core, &mut self.links));
        let status = shielded(|| session.feed(&mut leftover, &self.core, &mut self.links));
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        self.sessions[slot] = Some(session);
        match status {
            Some(status) => self.after_serving(slot, status),
            None => self.drop_link(slot, BUG),
        }
    }

    // --- ends --------------------------------------------------------------------------------------------------

    /// Close handshakes that serving has asked for.
    fn begin_closings(&mut self) {
        while let Some((session, code, reason)) = self.links.closing.pop() {
            if self.links.find(session).is_some() {
                self.begin_close(session.slot(), code, reason);
            }
        }
    }

    fn begin_close(&mut self, slot: usize, code: u16, reason: &str) {
        self.finish(slot, &ws::close_payload(code, reason), reason);
        self.write(slot);
    }

    /// Puts our close frame behind what waits; the worker is gone from now on.
    fn finish(&mut self, slot: usize, close_payload: &[u8], reason: &str) {
        let now_ms = self.links.now_ms;
        let Some(link) = self.links.slab.get_mut(slot) else { return };
        if link.phase != Phase::Open {
            return;
        }
        link.outbox.frame(ws::OPCODE_CLOSE, close_payload);
        link.phase = Phase::Closing;
        link.paused = false;
        link.closing_since_ms = now_ms;
        self.end_session(slot, reason);
    }

    /// The connection is lost or given up.
    pub(crate) fn drop_link(&mut self, slot: usize, reason: &str) {
        let Some(link) = self.links.slab.try_remove(slot) else { return };
        // Closing the descriptor removes it from the poller as well.
        let _ = self.poller.remove(&link.socket);
        Counters::subtract(&self.core.counters.connections, 1);
        self.end_session(slot, reason);
    }

    fn end_session(&mut self, slot: usize, reason: &str) {
        let Some(session) = self.sessions.get_mut(slot).and_then(Option::take) else { return };
        if let Some(peer) = session.peer() {
            self.core.disconnect(peer, reason, &mut self.links);
        }
    }
}

/// Wall time.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

pub(crate) fn retry_later(error: &io::Error) -> Result<Status, &'static str> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Status::Open),
        _ => Err("connection lost"),
    }
}
