//! Whether a turn waits a moment for what comes next, instead of going back to the event loop at once.
//!
//! A peer that waits for its answer asks again a few microseconds after it. The way back through an event loop takes longer
//! than that wait, and the processor has nothing else to do meanwhile. Where nothing comes it is seldom tried.

use std::time::Duration;

/// The longest wait: longer than a round trip on one machine, shorter than what anybody else on the event loop notices.
const WAIT: Duration = Duration::from_micros(100);
/// After a wait for nothing this many are left out, doubling with each.
const SKIPS_MAX: u32 = 32;

/// Remembers whether waiting was worth it.
#[derive(Debug)]
pub(crate) struct Linger {
    /// Whether such short waits are to be had.
    possible: bool,
    /// Waits left out after the last one that was for nothing.
    penalty: u32,
    /// Of these, how many are still to come.
    skips: u32,
}

impl Linger {
    pub(crate) fn new(possible: bool) -> Self {
        Linger { possible, penalty: 0, skips: 0 }
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        if self.skips > 0 || !self.possible {
            self.skips = self.skips.saturating_sub(1);
            return Duration::ZERO;
        }
        WAIT
    }

    /// It was waited for so long, and something `came` or not.
    pub(crate) fn waited(&mut self, patience: Duration, came: bool) {
        if !patience.is_zero() {
            self.penalty = if came { 0 } else { (2 * self.penalty).clamp(1, SKIPS_MAX) };
            self.skips = self.penalty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` waits were real ones, when something comes or never does.
    fn waits(linger: &mut Linger, count: usize, comes: bool) -> usize {
        let mut real = 0;
        for _ in 0..count {
            let patience = linger.next();
            real += usize::from(!patience.is_zero());
            linger.waited(patience, comes && !patience.is_zero());
        }
        real
    }

    #[test]
    fn waiting_for_nothing_becomes_rare_and_is_taken_up_again() {
        let mut linger = Linger::new(true);
        assert_eq!(waits(&mut linger, 100, true), 100);
        let for_nothing = waits(&mut linger, 1000, false);
        assert!((20..60).contains(&for_nothing), "{for_nothing} of 1000");
        assert!(waits(&mut linger, 100, true) >= 100 - SKIPS_MAX as usize);
        assert_eq!(waits(&mut linger, 100, true), 100);
    }

    #[test]
    fn where_short_waits_are_not_to_be_had_there_are_none() {
        assert_eq!(waits(&mut Linger::new(false), 100, true), 0);
    }
}
