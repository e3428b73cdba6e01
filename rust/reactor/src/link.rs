//! One socket with its outbox: writing, interest, and when it was last heard of. Also how sessions reach outboxes.

use crate::inbox::Command;
use crate::poller::{Interest, Poller};
use iii_fast_core::dispatch::Router;
use iii_fast_core::invocation::InvocationId;
use iii_fast_core::outbox::Outbox;
use iii_fast_core::peer::SessionId;
use slab::Slab;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};

/// Bytes written to one socket before others get their turn.
const WRITE_BUDGET_BYTES: usize = 1 << 20;
/// Pieces of one scattered write.
const SLICES_MAX: usize = 64;
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

/// One connection's socket.
pub(crate) struct Link {
    pub(crate) id: SessionId,
    pub(crate) socket: TcpStream,
    pub(crate) outbox: Outbox,
    pub(crate) phase: Phase,
    /// Not read for now: the outbox or the calls for Python are full.
    pub(crate) paused: bool,
    interest: Interest,
    dirty: bool,
    pub(crate) last_seen_ms: u64,
    pub(crate) last_ping_ms: u64,
    /// Since when the outbox has made no progress.
    pub(crate) stalled_since_ms: u64,
    /// Since when it is in `Closing` or `Closed`.
    pub(crate) closing_since_ms: u64,
}

impl Link {
    pub(crate) fn new(id: SessionId, socket: TcpStream, now_ms: u64) -> Self {
        Link {
            id,
            socket,
            outbox: Outbox::default(),
            phase: Phase::Open,
            paused: false,
            interest: INITIAL_INTEREST,
            dirty: false,
            last_seen_ms: now_ms,
            last_ping_ms: now_ms,
            stalled_since_ms: now_ms,
            closing_since_ms: now_ms,
        }
    }

    /// Writes what the socket takes, within the budget. An error means the connection is lost.
    pub(crate) fn write(&mut self, now_ms: u64) -> io::Result<()> {
        let mut budget = WRITE_BUDGET_BYTES;
        while !self.outbox.is_empty() && budget > 0 {
            let written = if self.outbox.is_single() {
                self.socket.write(self.outbox.first())
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let filled = self.outbox.slices(&mut slices);
                self.socket.write_vectored(&slices[..filled])
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.outbox.advance(n);
                    self.stalled_since_ms = now_ms;
                    budget = budget.saturating_sub(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.phase == Phase::Closing && self.outbox.is_empty() {
            self.phase = Phase::Closed;
            // The peer may be gone already; reading will tell.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Asks the poller for what fits the present state.
    pub(crate) fn update_interest(&mut self, poller: &Poller) -> io::Result<()> {
        let interest = Interest { read: !self.paused, write: !self.outbox.is_empty() };
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
    reactor: usize,
    pub(crate) slab: Slab<Link>,
    /// Links with something new in their outbox.
    pub(crate) dirty: Vec<usize>,
    /// What is on its way to other reactors, by reactor.
    pub(crate) staged: Vec<Vec<Command>>,
    /// Close handshakes to begin here.
    pub(crate) closing: Vec<(SessionId, u16, &'static str)>,
    pool: Vec<Vec<u8>>,
    pub(crate) now_ms: u64,
}

impl Links {
    pub(crate) fn new(reactor: usize, reactors: usize) -> Self {
        Links {
            reactor,
            slab: Slab::new(),
            dirty: Vec::new(),
            staged: (0..reactors).map(|_| Vec::new()).collect(),
            closing: Vec::new(),
            pool: Vec::new(),
            now_ms: 0,
        }
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
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(to.slot());
        }
        Some(&mut link.outbox)
    }

    /// The next link that has something new, no longer marked.
    pub(crate) fn next_dirty(&mut self) -> Option<usize> {
        let slot = self.dirty.pop()?;
        if let Some(link) = self.slab.get_mut(slot) {
            link.dirty = false;
        }
        Some(slot)
    }

    /// Takes the buffer of an idle link back.
    pub(crate) fn reclaim(&mut self, slot: usize) {
        let Some(buffer) = self.slab.get_mut(slot).and_then(|link| link.outbox.reclaim()) else { return };
        if buffer.capacity() <= POOLED_BYTES_MAX && self.pool.len() < POOLED_MAX {
            self.pool.push(buffer);
        }
    }
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

    fn waiting(&self, session: SessionId) -> usize {
        self.slab.get(session.slot()).filter(|link| link.id == session).map_or(0, |link| link.outbox.len())
    }

    fn close(&mut self, session: SessionId, code: u16, reason: &'static str) {
        if session.reactor() == self.reactor {
            self.closing.push((session, code, reason));
        } else if let Some(staged) = self.staged.get_mut(session.reactor()) {
            staged.push(Command::Close { session, code, reason: reason.into() });
        }
    }
}
