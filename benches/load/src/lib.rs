//! What the workloads are made of, for the load generator and for benchmarks of the core alone.

pub mod frame;
pub mod hex;
pub mod random;
pub mod value;
