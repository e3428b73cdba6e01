//! Work for the core alone, by name: each is prepared, run and checked. Measured is what happens inside [`measured`].

mod dispatch;
mod framing;
mod http;
mod map;

use std::hint::black_box;

pub use dispatch::{Calls, States};
pub use framing::Framing;
pub use http::Gets;
pub use map::Map;

/// Makes every workload here.
pub const SEED: u64 = 20_260_101;

/// An answer was not what it had to be.
#[derive(Debug, thiserror::Error)]
#[error("{what}, number {number}: wrong answer")]
pub struct Wrong {
    what: &'static str,
    number: usize,
}

/// One piece of work, which can be done once.
pub trait Work {
    /// Does it, calling [`measured`] around what counts.
    fn run(&mut self);
    /// Whether all that came out is right.
    ///
    /// # Errors
    /// `Wrong` names the first answer that is not.
    fn check(&self) -> Result<(), Wrong>;
}

/// The names of all pieces of work.
pub const NAMES: [&str; 9] = [
    "map",
    "map-zipf",
    "dispatch-state",
    "dispatch-state-16k",
    "dispatch-state-msgpack",
    "dispatch-calls",
    "dispatch-http",
    "framing",
    "framing-1m",
];

/// Prepares the work of that name.
pub fn prepare(name: &str) -> Option<Box<dyn Work>> {
    use iii_fast_core::codec::Codec::{Json, Msgpack};
    use iii_fast_load::random::Draw::{Uniform, Zipf};
    Some(match name {
        "map" => Box::new(Map::new(Uniform)),
        "map-zipf" => Box::new(Map::new(Zipf)),
        "dispatch-state" => Box::new(States::new(2_000, 100, Json)),
        "dispatch-state-16k" => Box::new(States::new(200, 16 << 10, Json)),
        "dispatch-state-msgpack" => Box::new(States::new(2_000, 100, Msgpack)),
        "dispatch-calls" => Box::new(Calls::new(2_000)),
        "dispatch-http" => Box::new(Gets::new(2_000)),
        "framing" => Box::new(Framing::new(4_000, 200)),
        "framing-1m" => Box::new(Framing::new(4, 1 << 20)),
        _ => return None,
    })
}

/// What is counted: a tool that counts instructions looks for the name of this function.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn all_work_is_done_rightly_and_none_is_unnoticed() {
        for name in NAMES {
            let mut work = prepare(name).unwrap();
            assert!(work.check().is_err(), "{name} has not run");
            work.run();
            work.check().unwrap();
        }
        assert!(prepare("x").is_none());
    }
}
