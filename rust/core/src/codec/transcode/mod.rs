//! From one codec to the other (docs/wire.md 26 to 28). What the other cannot express is an error that names where it is,
//! never something else.

mod path;
mod to_json;
mod to_msgpack;

pub use to_json::to_json;
pub use to_msgpack::to_msgpack;

use std::fmt;

/// Something that the other codec does not have. [`fmt::Display`] gives the wire's text:
/// `` `data.photo` is binary, which JSON cannot express ``.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is {what}, which {} cannot express", path.strip_prefix('.').unwrap_or(path), what.target())]
pub struct Inexpressible {
    /// Where it is, from the value that was given: `[2].photo`.
    pub path: String,
    /// What it is.
    pub what: What,
}

impl Inexpressible {
    /// The same in something that has the value at `place`: `data`, `.old_value`, `[2]`.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.path.insert_str(0, place);
        self
    }
}

/// Kinds of [`Inexpressible`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Binary.
    Binary,
    /// An extension, timestamps (type -1) included.
    Extension(i8),
    /// A float that is not a number.
    NaN,
    /// A float without a bound.
    Infinite,
    /// A member whose name is no string.
    Name,
    /// An integer outside -2^63 .. 2^64-1.
    Integer,
    /// A number that is infinite as a float of 64 bits.
    Number,
    /// Bytes that nobody has validated, and that are not what they should be.
    Malformed,
}

impl What {
    fn target(self) -> &'static str {
        match self {
            What::Integer | What::Number => "msgpack",
            _ => "JSON",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Extension(-1) => "a timestamp",
            What::Extension(kind) => return write!(f, "an extension of type {kind}"),
            What::Binary => "binary",
            What::NaN => "NaN",
            What::Infinite => "an infinite float",
            What::Name => "a member whose name is no string",
            What::Integer => "an integer beyond 64 bits",
            What::Number => "a number beyond the range of a float",
            What::Malformed => "malformed",
        })
    }
}
