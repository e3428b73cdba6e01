//! Looking after peers that say nothing, or do not listen. Runs at a slow tick over all links.

use crate::link::{Link, Phase};
use crate::reactor::Reactor;
use iii_fast_core::dispatch::Router;
use iii_fast_core::limits::Limits;
use iii_fast_core::ws;

/// What a link needs at this moment.
#[derive(Debug, PartialEq, Eq)]
enum Care {
    Nothing,
    Ping,
    Resume,
    Drop(&'static str),
}

fn judge(link: &Link, limits: &Limits, now_ms: u64) -> Care {
    let since = |then: u64| now_ms.saturating_sub(then);
    if link.phase != Phase::Open {
        return if since(link.closing_since_ms) > limits.close_ms { Care::Drop("closed") } else { Care::Nothing };
    }
    if !link.outbox.is_empty() && since(link.stalled_since_ms) > limits.stall_ms {
        return Care::Drop("does not read: nothing of its outbox could be written within stall_ms");
    }
    if link.paused {
        return Care::Resume;
    }
    if since(link.last_seen_ms) > limits.silence_ms {
        return Care::Drop("silent: nothing was heard of it within silence_ms");
    }
    let ping_due =
        since(link.last_seen_ms) > limits.ping_interval_ms && since(link.last_ping_ms) > limits.ping_interval_ms;
    if ping_due { Care::Ping } else { Care::Nothing }
}

impl Reactor {
    pub(crate) fn look_after_liveness(&mut self) {
        let now_ms = self.links.now_ms;
        let due: Vec<(usize, Care)> = self
            .links
            .slab
            .iter()
            .map(|(slot, link)| (slot, judge(link, &self.core.limits, now_ms)))
            .filter(|(_, care)| *care != Care::Nothing)
            .collect();
        for (slot, care) in due {
            match care {
                Care::Nothing => {}
                Care::Ping => self.ping(slot),
                Care::Resume => self.resume(slot),
                Care::Drop(reason) => self.drop_link(slot, reason),
            }
        }
    }

    fn ping(&mut self, slot: usize) {
        let now_ms = self.links.now_ms;
        let Some(link) = self.links.slab.get_mut(slot) else { return };
        link.last_ping_ms = now_ms;
        let id = link.id;
        if let Some(outbox) = self.links.outbox(id, None) {
            outbox.frame(ws::OPCODE_PING, b"");
        }
    }
}
