//! Reads the inputs of `state::*`: borrowed members, arrays of items as spans of the text, and the error texts of the
//! wire's rule 17 and of docs/state.md. Getters are called in the order in which members are to be checked.

mod fields;
mod items;
mod texts;
mod transact;

use std::borrow::Cow;

pub(super) use fields::{Field, Fields, Known};
pub(super) use items::{Items, Keys};
pub use texts::Texts;

use super::calls::StateCall;
use crate::codec::Value;
use crate::codec::json::JsonError;
use crate::codec::msgpack::MsgpackError;
use crate::codec::transcode::Inexpressible;
use crate::error::{WireError, code};

/// What is wrong with an input; with the name of the function it becomes a [`WireError`].
pub(super) struct Reason(Cow<'static, str>);

impl Reason {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Reason(text.into())
    }

    /// `field` has a value of the wrong type.
    pub(super) fn field_type(field: &str, value: Value<'_>, expected: &str) -> Self {
        Reason::new(format!("field `{field}`: invalid type: {}, expected {expected}", value.kind().name()))
    }

    #[cold]
    pub(super) fn in_call(self, call: StateCall) -> WireError {
        let text = format!("Failed to deserialize input for {}: {}", call.function_id(), self.0);
        WireError::new(code::DESERIALIZATION_ERROR, text)
    }
}

impl From<JsonError> for Reason {
    fn from(error: JsonError) -> Self {
        Reason::new(format!("Invalid JSON {error}"))
    }
}

impl From<MsgpackError> for Reason {
    fn from(error: MsgpackError) -> Self {
        Reason::new(format!("Invalid msgpack {error}"))
    }
}

/// Why a call is refused.
pub(super) enum Refusal {
    Input(Reason),
    Other(WireError),
}

impl Refusal {
    #[cold]
    pub(super) fn in_call(self, call: StateCall) -> WireError {
        match self {
            Refusal::Input(reason) => reason.in_call(call),
            Refusal::Other(error) => error,
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal::Input(reason)
    }
}

impl From<Inexpressible> for Refusal {
    fn from(error: Inexpressible) -> Self {
        Refusal::Other(WireError::new(code::NOT_EXPRESSIBLE, error.to_string()))
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Refusal::Other(error)
    }
}
