//! WebSocket framing (RFC 6455), server side, without I/O.
//!
//! Bytes of a socket go into an [`Assembler`] in whatever pieces they come, messages come out through a [`Receiver`]. A
//! message that lies whole in one piece is unmasked where it is and lent out; one that comes in several pieces or fragments
//! is collected, copied once and checked for UTF-8 as it arrives. Sizes are judged from headers, before a body is there. The
//! assembler never writes: pongs are the receiver's business and the close frame is in the [`Status`]. An assembler between
//! messages owns no heap memory. Replies are framed by the functions of this module, which need no state.

mod assembler;
mod close;
mod frame;
mod partial;

pub use assembler::{Assembler, Flow, Message, Receiver, SPARE_BYTES_MAX, SPARE_BYTES_MIN, Status};
pub use close::{CloseFrame, ProtocolError};
pub use frame::{
    CONTROL_BYTES_MAX, HEADER_BYTES_MAX, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_CONTINUATION, OPCODE_PING, OPCODE_PONG,
    OPCODE_TEXT, close_payload, split_frame, write_close, write_frame, write_frame_header,
};
pub use partial::Whole;
