//! The data plane of iii-fast without I/O: no sockets, files, threads, clock or Python in here.
//!
//! Bytes come in through [`ws`], become messages, and are served from [`state`] or relayed to another session.
//! Time comes in as an argument.

pub mod codec;
pub mod error;
pub mod limits;
pub mod parts;
pub mod state;
pub mod ws;
