//! Every bound of the data plane: name, unit, default, reason.

/// Nested arrays and objects in one message. Rust workers parse at most 127 levels and the engine wraps a value in up
/// to four more (envelope, event, old and new value), so what is accepted can always be delivered.
pub const JSON_DEPTH_MAX: usize = 120;

/// Bytes of one WebSocket message: what the SDKs send and accept at most.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// From this size on a payload is shared between the map and the outbox instead of copied: below it, copying costs less
/// than one more part in a scattered write.
pub const SHARE_BYTES_MIN: usize = 4 << 10;
