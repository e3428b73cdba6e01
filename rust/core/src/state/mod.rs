//! Key-value state.
