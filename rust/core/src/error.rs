//! One error type for everything a peer is told, with the codes of the wire.

use std::borrow::Cow;

/// An error that a peer is told about: `error` of an `invocationresult`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// One of [`code`].
    pub code: &'static str,
    /// Names field, value and expectation.
    pub message: Cow<'static, str>,
}

impl WireError {
    /// An error with a text that is known or made up on the spot.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        WireError { code, message: message.into() }
    }
}

/// Error codes that the data plane produces; `iii_fast/protocol.py` has the same list.
pub mod code {
    /// No such function.
    pub const FUNCTION_NOT_FOUND: &str = "function_not_found";
    /// The worker that executed the invocation is gone.
    pub const INVOCATION_STOPPED: &str = "invocation_stopped";
    /// A message that cannot be used but whose sender can be told.
    pub const INVALID_MESSAGE: &str = "invalid_message";
    /// A blank namespace.
    pub const INVALID_NAMESPACE: &str = "INVALID_NAMESPACE";
    /// The same connection used an invocation id that is in flight.
    pub const DUPLICATE_INVOCATION_ID: &str = "duplicate_invocation_id";
    /// One connection has too many invocations in flight.
    pub const TOO_MANY_INVOCATIONS: &str = "too_many_invocations";
    /// The worker to be invoked does not read fast enough.
    pub const WORKER_OVERLOADED: &str = "worker_overloaded";
    /// The message is larger than its receiver can take.
    pub const PAYLOAD_TOO_LARGE: &str = "payload_too_large";
    /// A built-in function cannot use its input.
    pub const DESERIALIZATION_ERROR: &str = "deserialization_error";
    /// A value over `max_value_bytes`.
    pub const VALUE_TOO_LARGE: &str = "VALUE_TOO_LARGE";
    /// A key or a scope's name over `max_key_bytes`.
    pub const KEY_TOO_LARGE: &str = "KEY_TOO_LARGE";
    /// A scope over `max_scope_bytes`.
    pub const SCOPE_FULL: &str = "SCOPE_FULL";
    /// State over `max_total_bytes`.
    pub const STATE_FULL: &str = "STATE_FULL";
    /// A cursor that no page gave.
    pub const INVALID_CURSOR: &str = "INVALID_CURSOR";
    /// One entry alone is larger than the page may be.
    pub const ROW_TOO_LARGE: &str = "ROW_TOO_LARGE";
    /// A durable write was asked of an engine without files.
    pub const DURABILITY_UNAVAILABLE: &str = "DURABILITY_UNAVAILABLE";
    /// Nothing can be written any more.
    pub const STORAGE_FAILED: &str = "STORAGE_FAILED";
    /// The server that keeps state cannot be reached, or does not do what it is asked.
    pub const STORAGE_UNAVAILABLE: &str = "STORAGE_UNAVAILABLE";
    /// Older changes than those that are remembered.
    pub const HISTORY_LOST: &str = "HISTORY_LOST";
    /// Something that the receiver's codec does not have.
    pub const NOT_EXPRESSIBLE: &str = "not_expressible";
    /// Fills a worker's error that has no code.
    pub const UNKNOWN: &str = "UNKNOWN";
    /// A function id that is taken (`registrationrejected`).
    pub const FUNCTION_NAMESPACE_CONFLICT: &str = "FUNCTION_NAMESPACE_CONFLICT";

    /// All of them.
    pub const ALL: [&str; 22] = [
        FUNCTION_NOT_FOUND,
        INVOCATION_STOPPED,
        INVALID_MESSAGE,
        INVALID_NAMESPACE,
        DUPLICATE_INVOCATION_ID,
        TOO_MANY_INVOCATIONS,
        WORKER_OVERLOADED,
        PAYLOAD_TOO_LARGE,
        DESERIALIZATION_ERROR,
        VALUE_TOO_LARGE,
        KEY_TOO_LARGE,
        SCOPE_FULL,
        STATE_FULL,
        INVALID_CURSOR,
        ROW_TOO_LARGE,
        DURABILITY_UNAVAILABLE,
        STORAGE_FAILED,
        STORAGE_UNAVAILABLE,
        HISTORY_LOST,
        NOT_EXPRESSIBLE,
        UNKNOWN,
        FUNCTION_NAMESPACE_CONFLICT,
    ];
}
