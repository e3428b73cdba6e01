//! Reading of connections that are encrypted; how they are written is `Link::write`'s business.

use crate::link::Phase;
use crate::plain;
use crate::reactor::{Reactor, retry_later};
use crate::shield::{BUG, shielded};
use crate::tls::Received;

const LOST: &str = "connection lost";

impl Reactor {
    /// As `read`, of a link with TLS: one read of the socket, and all that was in it is served.
    pub(crate) fn read_secure(&mut self, slot: usize) {
        let Some(link) = self.links.slab.get_mut(slot) else { return };
        let Some(tls) = link.tls.as_deref_mut() else { return };
        let n = match plain::read(&link.socket, &mut self.scratch) {
            Ok(0) => return self.drop_link(slot, "connection closed by the worker"),
            Ok(n) => n,
            Err(error) if retry_later(&error).is_ok() => return,
            Err(_) => return self.drop_link(slot, LOST),
        };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let received = tls.receive(&self.scratch[..n], &mut plain);
        self.serve_plain(slot, &mut plain);
        self.plain = plain;
        let reason = match received {
            Ok(Received::Open) => return,
            Ok(Received::Closed) => "connection closed by the worker",
            Err(error) => &format!("TLS: {error}"),
        };
        if self.awaits_read(slot) {
            return self.end_when_read(slot, reason);
        }
        self.end_secure(slot, reason);
    }

    /// The connection ends when the large message is read that came before its end.
    fn end_when_read(&mut self, slot: usize, reason: &str) {
        if let Some(link) = self.links.slab.get(slot) {
            self.ending.push((link.id, reason.to_owned()));
        }
    }

    pub(crate) fn end_secure(&mut self, slot: usize, reason: &str) {
        self.serve_to_the_end(slot);
        // The replies to its last words, which it may still read, and the alert that says what was wrong.
        self.write(slot);
        self.drop_link(slot, reason);
    }

    fn serve_plain(&mut self, slot: usize, plain: &mut [u8]) {
        // TLS may have something to write of its own.
        let open = self.links.slab.get(slot).is_some_and(|link| link.phase == Phase::Open);
        if plain.is_empty() || !open {
            return self.write(slot);
        }
        let Some(mut session) = self.sessions.get_mut(slot).and_then(Option::take) else {
            return self.drop_link(slot, BUG);
        };
        let status = shielded(|| session.feed(plain, &self.core, &mut self.links));
        self.sessions[slot] = Some(session);
        match status {
            Some(status) => self.after_serving(slot, status),
            None => self.drop_link(slot, BUG),
        }
    }
}
