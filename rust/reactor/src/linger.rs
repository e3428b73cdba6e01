//! Whether a turn waits a moment for what comes next, instead of going back to the event loop at once.
//!
//! A peer that waits for its answer asks again a few microseconds after it. The way back through an event loop takes longer
//! than that wait, and the processor has nothing else to do meanwhile. The first part of the wait is spent looking again and
//! again: falling asleep and being woken takes as long as such a peer does. Where nothing comes either is seldom tried.

use std::time::Duration;

/// The longest wait asleep: longer than a round trip on one machine, shorter than what anybody else on the event loop notices.
const WAIT: Duration = Duration::from_micros(100);
/// After a try for nothing this many are left out, doubling with each.
const SKIPS_MAX: u32 = 32;

/// Remembers whether something was worth trying.
#[derive(Debug, Default)]
struct Tries {
    /// Tries left out after the last one that was for nothing.
    penalty: u32,
    /// Of these, how many are still to come.
    skips: u32,
}

impl Tries {
    /// Whether to try now.
    fn next(&mut self) -> bool {
        let tries = self.skips == 0;
        self.skips = self.skips.saturating_sub(1);
        tries
    }

    /// It was tried.
    fn tried(&mut self, was_worth_it: bool) {
        self.penalty = if was_worth_it { 0 } else { (2 * self.penalty).clamp(1, SKIPS_MAX) };
        self.skips = self.penalty;
    }
}

/// Remembers whether waiting was worth it.
#[derive(Debug)]
pub(crate) struct Linger {
    /// Whether such short waits are to be had.
    possible: bool,
    /// How long to look again and again; never if that is nothing.
    look: Duration,
    waits: Tries,
    looks: Tries,
}

impl Linger {
    pub(crate) fn new(possible: bool, look: Duration) -> Self {
        Linger { possible, look, waits: Tries::default(), looks: Tries::default() }
    }

    /// How long to look again and again now, before [`Self::next`].
    pub(crate) fn next_look(&mut self) -> Duration {
        if self.look.is_zero() || !self.looks.next() { Duration::ZERO } else { self.look }
    }

    /// That was done, and something `came` or not.
    pub(crate) fn looked(&mut self, came: bool) {
        self.looks.tried(came);
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        if self.possible && self.waits.next() { WAIT } else { Duration::ZERO }
    }

    /// It was waited for so long, and something `came` or not.
    pub(crate) fn waited(&mut self, patience: Duration, came: bool) {
        if !patience.is_zero() {
            self.waits.tried(came);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_micros(25);

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

    /// The same of looking.
    fn looks(linger: &mut Linger, count: usize, comes: bool) -> usize {
        let mut real = 0;
        for _ in 0..count {
            if linger.next_look() == LOOK {
                real += 1;
                linger.looked(comes);
            }
        }
        real
    }

    #[test]
    fn waiting_for_nothing_becomes_rare_and_is_taken_up_again() {
        for run in [waits, looks] {
            let mut linger = Linger::new(true, LOOK);
            assert_eq!(run(&mut linger, 100, true), 100);
            let for_nothing = run(&mut linger, 1000, false);
            assert!((20..60).contains(&for_nothing), "{for_nothing} of 1000");
            assert!(run(&mut linger, 100, true) >= 100 - SKIPS_MAX as usize);
            assert_eq!(run(&mut linger, 100, true), 100);
        }
    }

    #[test]
    fn where_short_waits_are_not_to_be_had_or_not_wanted_there_are_none() {
        assert_eq!(waits(&mut Linger::new(false, LOOK), 100, true), 0);
        assert_eq!(looks(&mut Linger::new(false, LOOK), 100, true), 100);
        let mut sober = Linger::new(true, Duration::ZERO);
        assert_eq!((looks(&mut sober, 100, true), waits(&mut sober, 100, true)), (0, 100));
    }
}
