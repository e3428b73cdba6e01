//! Sessions that are not read for a while, and how they go on.

use crate::link::Phase;
use crate::reactor::Reactor;
use crate::shield::{BUG, shielded};
use iii_fast_core::dispatch::Router;

/// Replies are collected up to this, then they leave at once: a write costs as much as ten calls, copying this much costs more.
const COLLECTED_BYTES_MAX: usize = 16 << 10;

impl Reactor {
    /// Pongs fill an outbox too, and pings do not make a session pause.
    pub(crate) fn pause_if_full(&mut self, slot: usize) {
        let throttle = self.core.limits.outbox_throttle_bytes;
        if self.links.slab.get(slot).is_some_and(|link| link.phase == Phase::Open && link.outbox.len() > throttle) {
            self.pause(slot, true);
        }
    }

    pub(crate) fn pause(&mut self, slot: usize, paused: bool) {
        if let Some(link) = self.links.slab.get_mut(slot) {
            link.paused = paused;
        }
    }

    /// Serves what a paused session still holds, if there is room for its replies.
    pub(crate) fn resume(&mut self, slot: usize) {
        if !self.may_resume(slot) {
            return;
        }
        self.pause(slot, false);
        self.serve_kept(slot);
    }

    /// Whether it has paused for the sake of others only.
    pub(crate) fn has_yielded(&self, slot: usize) -> bool {
        self.sessions.get(slot).and_then(Option::as_ref).is_some_and(|session| session.has_yielded())
    }

    /// The first `count` that have paused for the sake of others go on: their next share each.
    pub(crate) fn serve_yielded(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(slot) = self.links.yielded.pop_front() {
                self.serve_further(slot);
            }
        }
    }

    /// Writes to a session that has been served: much at once, while its peer has nothing to read; little at the end of the pass, so that what others
    /// of the pass have for this peer leaves with it.
    pub(crate) fn write_soon(&mut self, slot: usize) {
        if self.has_collected(slot) {
            self.write(slot);
        } else {
            self.links.mark_dirty(slot);
        }
    }

    /// Whether a session that goes on in the next pass has too little in its outbox to be written now.
    pub(crate) fn writes_later(&self, slot: usize) -> bool {
        self.has_yielded(slot) && !self.has_collected(slot)
    }

    fn has_collected(&self, slot: usize) -> bool {
        self.links.slab.get(slot).is_some_and(|link| link.outbox.len() >= COLLECTED_BYTES_MAX)
    }

    /// Serves all that has been read from a connection that ends.
    pub(crate) fn serve_to_the_end(&mut self, slot: usize) {
        while self.has_yielded(slot) {
            self.serve_further(slot);
        }
    }

    fn serve_further(&mut self, slot: usize) {
        if self.has_yielded(slot) {
            self.serve_kept(slot);
        }
    }

    /// Serves what a session has kept.
    fn serve_kept(&mut self, slot: usize) {
        let Some(mut session) = self.sessions.get_mut(slot).and_then(Option::take) else { return };
        let status = shielded(|| session.resume(&self.core, &mut self.links));
        self.sessions[slot] = Some(session);
        match status {
            Some(status) => self.after_serving(slot, status),
            None => self.drop_link(slot, BUG),
        }
    }

    pub(crate) fn may_resume(&mut self, slot: usize) -> bool {
        self.await_room_in_log(slot);
        let Some(link) = self.links.slab.get(slot) else { return false };
        let Some(session) = self.sessions.get(slot).and_then(Option::as_ref) else { return false };
        let room = link.waiting() <= self.core.limits.outbox_throttle_bytes / 2;
        link.paused
            && link.phase == Phase::Open
            && room
            && session.may_resume(&self.core)
            && !self.links.is_pipeline_full()
    }

    /// A paused session that the log alone stops from going on is thought of when the journal has caught up, whatever made it pause.
    fn await_room_in_log(&mut self, slot: usize) {
        let is_paused = self.links.slab.get(slot).is_some_and(|link| link.paused && link.phase == Phase::Open);
        if is_paused && self.core.is_log_full() {
            self.links.awaiting_journal = true;
            self.inbox.await_journal();
        }
    }

    pub(crate) fn resume_all(&mut self) {
        let paused: Vec<usize> = self.links.slab.iter().filter(|(_, link)| link.paused).map(|(slot, _)| slot).collect();
        for slot in &paused {
            self.resume(*slot);
        }
        // For those that still wait; and once more, since what they wait for may have happened before the word was said.
        self.core.calls.note_pause();
        for slot in paused {
            self.resume(slot);
        }
    }
}
