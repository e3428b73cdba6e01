//! Load generator for the benchmarks.
fn main() {}
