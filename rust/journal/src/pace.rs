//! How a snapshot shares processor and disk with those who write meanwhile: gently, unless the journal grows faster than it gets on.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Work without a pause: whoever wakes meanwhile may have to wait for the end of it.
const BURST: Duration = Duration::from_micros(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(1);
/// So far behind, as a part of the whole round, it hurries.
const LAG_MAX: f64 = 0.1;

/// What the journal may grow to, from when a round begins until it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    begun_at: u64,
    bytes: u64,
}

impl Room {
    /// A round begins with so many bytes behind the former snapshot. When the journal holds as much as the snapshot, the files take twice the
    /// live data: an eighth of that is kept for what is not foreseen. With few live data half a segment more does not matter.
    pub(crate) fn new(behind: u64, live_bytes: u64, segment_bytes: u64) -> Self {
        let most = live_bytes - live_bytes / 8;
        Room { begun_at: behind, bytes: most.saturating_sub(behind).max(segment_bytes / 2) }
    }

    /// How much of it is used up.
    fn used(self, behind: u64) -> f64 {
        behind.saturating_sub(self.begun_at) as f64 / self.bytes.max(1) as f64
    }
}

/// The present pace.
pub(crate) struct Pace {
    /// A pause is so many times as long as the work before it.
    pause_factor: u32,
    /// Bytes of a part that may wait for the disk: a sync of the journal may have to wait for all of them.
    pub(crate) unsynced_bytes_max: usize,
    begun: Cell<Instant>,
}

impl Pace {
    fn new(pause_factor: u32, unsynced_bytes_max: usize) -> Self {
        Pace { pause_factor, unsynced_bytes_max, begun: Cell::new(Instant::now()) }
    }

    /// As fast as it goes.
    pub(crate) fn hurried() -> Self {
        Pace::new(0, usize::MAX)
    }

    /// For the next part, when `done` of `parts` are written and there are `behind` bytes of journal.
    pub(crate) fn of(done: u32, parts: u32, room: Room, behind: u64) -> Self {
        let lag = room.used(behind) - f64::from(done) / f64::from(parts);
        if lag <= 0.0 {
            Pace::new(4, 256 << 10)
        } else if lag <= LAG_MAX {
            Pace::new(2, 1 << 20)
        } else {
            Pace::hurried()
        }
    }

    /// Rests after some work.
    pub(crate) fn pause(&self) {
        if self.pause_factor == 0 {
            return;
        }
        let took = self.begun.get().elapsed();
        if took >= BURST {
            std::thread::sleep(PAUSE_MAX.min(took * self.pause_factor));
            self.begun.set(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(of: &[(u32, u64)], room: Room) -> Vec<u32> {
        of.iter().map(|&(done, behind)| Pace::of(done, 64, room, behind).pause_factor).collect()
    }

    #[test]
    fn a_round_hurries_when_the_journal_gets_on_faster() {
        let room = Room::new(400, 1_600, 64);
        assert_eq!(factors(&[(0, 400), (0, 401), (0, 500), (0, 501)], room), [4, 2, 2, 0]);
        assert_eq!(factors(&[(32, 900), (32, 1_000), (32, 1_001), (64, 1_400)], room), [4, 2, 0, 4]);
    }

    #[test]
    fn few_live_data_have_half_a_segment_of_room() {
        let room = Room::new(200, 10, 200);
        assert_eq!(factors(&[(32, 250), (32, 260), (32, 261)], room), [4, 2, 0]);
        let empty = Room::new(0, 0, 0);
        assert_eq!(factors(&[(0, 0), (1, 1_000)], empty), [4, 0]);
    }
}
