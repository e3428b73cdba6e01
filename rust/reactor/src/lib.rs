//! Sockets for the core: epoll turns, outboxes, backpressure, liveness. The only crate that does socket I/O.
//!
//! A [`Reactor`] owns the connections that were given to it. It is driven either by turns ([`Reactor::turn`], from an event
//! loop that waits on [`Reactor::fd`]) or by [`Reactor::run`] in a thread of its own. Other threads reach it through its
//! [`Inbox`](inbox::Inbox).

pub mod aside;
pub mod http;
mod http_link;
pub mod inbox;
mod linger;
mod link;
mod liveness;
mod mailbox;
mod pausing;
mod plain;
pub mod poller;
mod reactor;
mod rounds;
mod secure;
mod shield;
pub mod tls;
mod turn;
mod upstream;

pub use reactor::{Reactor, reactors};
pub use turn::Turn;
