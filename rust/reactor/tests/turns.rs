//! Reactors that are driven by turns, as an event loop does it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use iii_fast_core::calls::Wake;
use iii_fast_core::core::Core;
use iii_fast_core::limits::Limits;
use iii_fast_reactor::inbox::Command;
use iii_fast_reactor::{Turn, reactors};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Quiet;
impl Wake for Quiet {
    fn wake(&self) {}
}

/// The shortest of many first turns that have one command to serve.
fn shortest_turn(busy_poll_us: u64) -> Duration {
    let one = || {
        let core = Arc::new(Core::new(Limits { busy_poll_us, ..Limits::default() }, Box::new(Quiet)));
        let mut reactor = reactors(&core, 1).unwrap().pop().unwrap();
        reactor.inbox().push(Command::Resume);
        let begin = Instant::now();
        assert_eq!(reactor.turn().unwrap(), Turn::Idle);
        begin.elapsed()
    };
    (0..20).map(|_| one()).min().unwrap()
}

#[test]
fn a_turn_looks_again_and_again_for_what_comes_next_if_it_may() {
    assert!(shortest_turn(3_000) >= Duration::from_millis(3));
    assert!(shortest_turn(0) < Duration::from_millis(3));
}
