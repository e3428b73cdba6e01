//! Times of the work whose instructions are counted; `cargo bench -p iii-fast-core-benches`.

use divan::Bencher;
use iii_fast_core_benches::{NAMES, prepare};

fn main() {
    divan::main();
}

/// Each round is prepared anew and checked.
#[divan::bench(args = NAMES, sample_count = 20, sample_size = 1)]
fn work(bencher: Bencher<'_, '_>, name: &str) {
    bencher.with_inputs(|| prepare(name)).bench_local_values(|work| {
        let mut work = work?;
        work.run();
        assert!(work.check().is_ok(), "{name}");
        Some(work)
    });
}
