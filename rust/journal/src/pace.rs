//! How a snapshot shares processor and disk with those who write meanwhile: gently, unless the journal grows faster than it gets on.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Work without a pause while the round is not behind: whoever wakes meanwhile may have to wait for the end of it.
const BURST: Duration = Duration::from_micros(100);
/// So many times longer is a burst for each `LAG_MAX` that the round is behind.
const BURST_GROWTH: f64 = 5.0;
/// A burst is at most so many times longer: 10 ms, more than a system gives to one that does not pause while others wait.
const BURSTS_MAX: f64 = 100.0;
/// A pause is so many times as long as the work before it, while the round is not behind.
const PAUSE_FACTOR: f64 = 4.0;
/// The shortest pause: who waits for the processor gets it. And the longest.
const PAUSE_MIN: Duration = Duration::from_micros(1);
const PAUSE_MAX: Duration = Duration::from_millis(1);
/// So far behind, as a part of the whole round, pauses are at their shortest. What it uses too much then is within what is kept for it.
const LAG_MAX: f64 = 0.08;

/// Of the live data a fifth: parts that stand twice for a while, the kept history, and a round that is late.
const KEPT: u64 = 5;

/// What the journal may grow to, from when a round begins until it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    begun_at: u64,
    bytes: u64,
}

impl Room {
    /// A round begins with so many bytes behind the former snapshot. When the journal holds as much as the snapshot, the files take twice the
    /// live data: a part of that is kept for what is not foreseen. With few live data half a segment more does not matter.
    pub(crate) fn new(behind: u64, live_bytes: u64, segment_bytes: u64) -> Self {
        let most = live_bytes - live_bytes / KEPT;
        Room { begun_at: behind, bytes: most.saturating_sub(behind).max(segment_bytes / 2) }
    }

    /// How much of it is used up.
    fn used(self, behind: u64) -> f64 {
        behind.saturating_sub(self.begun_at) as f64 / self.bytes.max(1) as f64
    }
}

/// The present pace.
pub(crate) struct Pace {
    burst: Duration,
    /// A pause is so many times as long as the work before it.
    pause_factor: f64,
    begun: Cell<Instant>,
}

impl Pace {
    fn new(burst: Duration, pause_factor: f64) -> Self {
        Pace { burst, pause_factor, begun: Cell::new(Instant::now()) }
    }

    /// As fast as it goes: nobody waits.
    pub(crate) fn alone() -> Self {
        Pace::new(Duration::MAX, 0.0)
    }

    /// For the next part, when `done` of `parts` are written and there are `behind` bytes of journal. The further behind, the shorter the
    /// pauses and the longer the bursts, so that a round settles where it just keeps up.
    pub(crate) fn of(done: u32, parts: u32, room: Room, behind: u64) -> Self {
        let lag = room.used(behind) - f64::from(done) / f64::from(parts);
        let haste = lag.max(0.0) / LAG_MAX;
        Pace::new(BURST.mul_f64(BURST_GROWTH.powf(haste).min(BURSTS_MAX)), PAUSE_FACTOR * (1.0 - haste).max(0.0))
    }

    /// Rests after some work.
    pub(crate) fn pause(&self) {
        let took = self.begun.get().elapsed();
        if took >= self.burst {
            std::thread::sleep(took.mul_f64(self.pause_factor).clamp(PAUSE_MIN, PAUSE_MAX));
            self.begun.set(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The microseconds of a burst, and the tenths of the factor of a pause.
    fn paces(of: &[(u32, u64)], room: Room) -> Vec<(u128, u32)> {
        let pace = |&(done, behind): &(u32, u64)| {
            let pace = Pace::of(done, 64, room, behind);
            (pace.burst.as_micros(), (pace.pause_factor * 10.0).round() as u32)
        };
        of.iter().map(pace).collect()
    }

    #[test]
    fn a_round_hurries_as_the_journal_gets_on_faster() {
        let room = Room::new(400, 1_750, 64);
        assert_eq!(paces(&[(0, 400), (0, 420), (0, 440), (0, 480)], room), [(100, 40), (149, 30), (223, 20), (500, 0)]);
        assert_eq!(paces(&[(32, 900), (32, 940), (32, 1_020)], room), [(100, 40), (223, 20), (1_118, 0)]);
        assert_eq!(paces(&[(64, 1_000)], room), [(100, 40)]);
    }

    #[test]
    fn what_it_uses_too_much_is_kept_for_it() {
        let (live, begun_at) = (3_000, 1_000);
        let room = Room::new(begun_at, live, 64);
        assert!(LAG_MAX * (room.bytes as f64) < (live / KEPT) as f64);
    }

    #[test]
    fn few_live_data_have_half_a_segment_of_room() {
        let room = Room::new(200, 10, 200);
        assert_eq!(paces(&[(32, 250), (32, 254), (32, 258)], room), [(100, 40), (223, 20), (500, 0)]);
        let empty = Room::new(0, 0, 0);
        assert_eq!(paces(&[(0, 0), (1, 1_000)], empty), [(100, 40), (10_000, 0)]);
    }
}
