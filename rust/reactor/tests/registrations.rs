//! A session waits until its registration is handled, and not longer: nothing is left to the slow tick.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::Limits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Client, Engine};

const ROUNDS: u32 = 40;
/// Below the reactor's tick of 500 ms, far above what a round takes.
const LATE: Duration = Duration::from_millis(300);

fn register(client: &mut Client) {
    client.send("{\"type\":\"registertrigger\",\"id\":\"t\"}");
}

#[test]
fn a_registration_that_comes_while_others_are_handled_is_not_forgotten() {
    let engine = Engine::start(Limits::default(), 2);
    engine.core.registry.define(["engine::x"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| engine.play_control(&done, Duration::from_millis(3)));
        // Keeps the control plane busy without waiting for it, so that registrations fall between taking and handling.
        let busy = scope.spawn(|| {
            let mut client = engine.connect(1);
            while !done.load(Ordering::Relaxed) {
                client.send("{\"type\":\"invokefunction\",\"function_id\":\"engine::x\"}");
                client.settle();
            }
        });
        let mut client = engine.connect(0);
        let mut late = 0;
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            register(&mut client);
            client.settle();
            late += u32::from(begin.elapsed() > LATE);
        }
        done.store(true, Ordering::Relaxed);
        busy.join().unwrap();
        assert_eq!(late, 0, "of {ROUNDS} registrations");
    });
}
