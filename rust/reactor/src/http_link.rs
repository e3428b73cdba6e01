//! One http client's socket: serving what was read of it, writing, and its last word. Who has it is `HttpLinks`' business.

use crate::link::Links;
use crate::plain;
use crate::poller::{Interest, Poller};
use crate::shield::shielded;
use crate::tls::{Received, TlsConnection};
use iii_fast_core::core::Core;
use iii_fast_core::http::{Connection, Turn};
use iii_fast_core::outbox::Outbox;
use iii_fast_core::peer::SessionId;
use std::io;
use std::net::{Shutdown, TcpStream};

/// Bytes encrypted for one socket before others get their turn.
const ENCRYPTED_AT_ONCE_MAX: usize = 1 << 20;

/// One client's socket.
pub(crate) struct HttpLink {
    pub(crate) id: SessionId,
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Box<TlsConnection>>,
    pub(crate) connection: Connection,
    pub(crate) outbox: Outbox,
    pub(crate) interest: Interest,
    pub(crate) is_dirty: bool,
    /// The client sends nothing more.
    pub(crate) has_ended: bool,
    /// Since when the outbox has made no progress.
    pub(crate) stalled_since_ms: u64,
    /// Since when our side is shut, and what was read since.
    pub(crate) lingers: Option<(u64, usize)>,
}

impl HttpLink {
    pub(crate) fn serve<T>(
        &mut self,
        core: &Core,
        links: &mut Links,
        work: impl FnOnce(&mut Connection, &mut Turn<'_, Links>) -> T,
    ) -> Option<T> {
        let clock = links.http.clock;
        if self.is_drained() {
            self.stalled_since_ms = clock.now_ms;
        }
        // Who asks is seldom answered at once: a buffer is needed when the answer comes.
        if self.outbox.is_bare() && self.connection.is_busy() {
            self.outbox.lend(links.spare_buffer());
        }
        let (connection, out) = (&mut self.connection, &mut self.outbox);
        shielded(|| work(connection, &mut Turn { core, router: links, clock, out }))
    }

    // --- reading -----------------------------------------------------------------------------------------------

    /// The client sends nothing more; false when the connection is to be given up.
    pub(crate) fn end(&mut self, core: &Core, links: &mut Links) -> bool {
        self.has_ended = true;
        self.serve(core, links, |connection, turn| connection.ended(turn)).is_some()
    }

    /// Bytes of the socket, after nothing more is served: read away while the client reads. False when it is enough.
    pub(crate) fn linger(&mut self, bytes: usize, core: &Core) -> bool {
        let Some((_, lingered)) = &mut self.lingers else { return true };
        *lingered += bytes;
        *lingered <= core.limits.http.linger_bytes_max
    }

    /// Serves bytes of the socket; false when the connection is to be given up.
    pub(crate) fn feed(&mut self, data: &[u8], plain: &mut Vec<u8>, core: &Core, links: &mut Links) -> bool {
        if self.lingers.is_some() {
            return self.linger(data.len(), core);
        }
        let Some(tls) = self.tls.as_deref_mut() else {
            return self.serve(core, links, |connection, turn| connection.feed(data, turn)).is_some();
        };
        plain.clear();
        let received = tls.receive(data, plain);
        let is_served =
            plain.is_empty() || self.serve(core, links, |connection, turn| connection.feed(plain, turn)).is_some();
        match received {
            Ok(Received::Open) => is_served,
            Ok(Received::Closed) => is_served && self.end(core, links),
            Err(_) => {
                // The alert that says why; nothing else can be said any more.
                let _ = self.write_encrypted();
                false
            }
        }
    }

    // --- writing -----------------------------------------------------------------------------------------------

    /// Whether the socket has taken everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.outbox.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// Writes what the socket takes. An error means the connection is lost.
    pub(crate) fn write(&mut self, now_ms: u64) -> io::Result<()> {
        let took = if self.tls.is_some() {
            self.write_encrypted()?
        } else {
            // All of it: beyond `outbox_bytes_max` no further request is served.
            plain::write(&mut self.outbox, &self.socket, usize::MAX)?
        };
        if took {
            self.stalled_since_ms = now_ms;
        }
        Ok(())
    }

    fn write_encrypted(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.outbox, &mut self.socket, ENCRYPTED_AT_ONCE_MAX),
            None => Ok(false),
        }
    }

    /// After the last byte: says so, and reads on for a while, so that the client can read everything. False: it has ended.
    pub(crate) fn finish(&mut self, now_ms: u64) -> bool {
        if !self.connection.is_closed() || !self.outbox.is_empty() {
            return true;
        }
        if let Some(tls) = &mut self.tls {
            tls.close();
            if self.write_encrypted().is_err() {
                return false;
            }
        }
        if !self.is_drained() {
            return true;
        }
        if self.has_ended {
            return false;
        }
        if self.lingers.is_none() {
            self.lingers = Some((now_ms, 0));
            // The peer may be gone already; reading will tell.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        true
    }

    pub(crate) fn update_interest(&mut self, core: &Core, poller: &Poller) -> io::Result<()> {
        let reads = !self.has_ended && !self.connection.is_full(&core.limits.http);
        // In the middle of the handshake nothing of the outbox can be written, however much room there is.
        let writes = match &self.tls {
            None => !self.outbox.is_empty(),
            Some(tls) => tls.wants_write() || (!self.outbox.is_empty() && !tls.is_handshaking()),
        };
        let interest = Interest { read: reads, write: writes };
        if interest != self.interest {
            poller.modify(&self.socket, self.id.number(), interest)?;
            self.interest = interest;
        }
        Ok(())
    }

    /// Whether nothing is to be done but to wait for the outcome of its request.
    pub(crate) fn only_waits(&self, core: &Core) -> bool {
        let reads_only = Interest { read: true, write: false };
        self.connection.is_busy()
            && self.outbox.is_bare()
            && self.tls.is_none()
            && !self.has_ended
            && self.interest == reads_only
            && !self.connection.is_full(&core.limits.http)
    }

    /// Whether so much waits for the client that its next request is not begun.
    pub(crate) fn is_held_up(&self, core: &Core) -> bool {
        self.outbox.len() > core.limits.http.outbox_bytes_max
    }

    /// Whether it has taken too long to end, or to take what waits for it.
    pub(crate) fn is_over(&self, now_ms: u64, core: &Core) -> bool {
        let limits = &core.limits.http;
        match self.lingers {
            Some((since_ms, _)) => now_ms.saturating_sub(since_ms) >= limits.linger_ms,
            None => !self.is_drained() && now_ms.saturating_sub(self.stalled_since_ms) >= limits.write_ms,
        }
    }
}
