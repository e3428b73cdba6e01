//! HTTP/1.1 without I/O: bytes of clients in, invocations of functions, bytes of responses out.
//!
//! [`connection`] is one client's protocol state; [`head`] and [`body`] read a request, strictly where two readers could understand it
//! differently; [`routes`] finds who serves it; [`request`] and [`response`] are the two JSON objects that functions see and
//! return; [`cors`] says whose pages may read it. [`service`] is what the connections of all reactors share.

pub mod body;
pub mod clock;
pub mod connection;
pub mod cors;
mod decode;
mod exchange;
pub mod head;
pub mod pattern;
pub mod refusal;
pub mod request;
pub mod response;
pub mod routes;
pub mod service;

pub use clock::Clock;
pub use connection::{Connection, Turn};
pub use cors::Cors;
pub use exchange::Answer;
pub use routes::{Route, Routes};
pub use service::{ExchangeId, Service};
