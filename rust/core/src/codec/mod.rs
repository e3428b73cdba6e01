//! Payload codecs: both are read as spans of what came, never as a tree, and turned into each other in one pass.

pub mod json;
pub mod msgpack;
mod opened;
pub mod transcode;
mod value;

pub(crate) use opened::Collect;
pub use opened::Opened;
pub use value::{Kept, Kind, Value};

/// How a message, and all in it, is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Text messages; binary ones that begin with no msgpack map.
    Json,
    /// Binary messages that begin with a msgpack map.
    Msgpack,
}
