//! The data plane of iii-fast without I/O: no sockets, files, threads, clock or Python in here.
//!
//! Bytes come in through [`ws`] or [`http`], become messages ([`message`]), and are served from [`state`], relayed to another session
//! ([`dispatch`], [`invocation`]) or queued for the control plane ([`calls`]). Time comes in as an argument.

pub mod calls;
pub mod codec;
pub mod control;
pub mod core;
pub mod dispatch;
pub mod error;
pub mod http;
pub mod invocation;
pub mod large;
pub mod limits;
pub mod log;
pub mod loopback;
mod loopback_http;
pub mod message;
mod msgpack_message;
pub mod outbox;
pub mod outcome;
pub mod parts;
pub mod peer;
pub mod registry;
pub mod remote;
pub mod reply;
pub mod request;
pub mod session;
pub mod state;
mod utc;
pub mod ws;
