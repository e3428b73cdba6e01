//! A bug in serving one peer must not end the turn for the others: panics stop here.
//!
//! The panic itself is reported by the panic hook (standard error); the peer's end is reported with [`BUG`] as its reason.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The reason of a connection that ended because of us.
pub(crate) const BUG: &str = "internal error: a bug of iii-fast";

/// Runs `work`; none when it panicked. What it was changing may be half changed: the caller gives that up.
pub(crate) fn shielded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::shielded;

    #[test]
    fn a_panic_stops_here_and_a_result_passes() {
        assert_eq!(shielded(|| 7), Some(7));
        let none: Option<i32> = shielded(|| Vec::<i32>::new()[0]);
        assert_eq!(none, None);
    }
}
