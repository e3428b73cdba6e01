//! How a connection ends: the peer's close frame read, ours decided (RFC 6455 sections 5.5.1 and 7.4).

use super::frame::close_payload;

/// What the peer did against RFC 6455, or beyond a limit. [`std::fmt::Display`] gives the reason of our close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// RSV1 to RSV3, for which no extension was agreed.
    #[error("reserved bits are set")]
    ReservedBits,
    /// Opcodes 3 to 7 and 11 to 15.
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    /// A client must mask.
    #[error("frame is not masked")]
    Unmasked,
    /// A control frame without FIN.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    #[error("control frame is longer than 125 bytes")]
    LongControl,
    /// A length that is not written in its shortest form, or is 2^63 and more.
    #[error("frame length is badly encoded")]
    LengthEncoding,
    /// A continuation frame without a message under way.
    #[error("continuation of nothing")]
    StrayContinuation,
    /// A new message before the one under way is complete.
    #[error("message inside a fragmented message")]
    InterleavedMessage,
    /// A close frame of one byte.
    #[error("close frame of one byte")]
    CloseTooShort,
    /// A close code that must not be sent.
    #[error("invalid close code {0}")]
    CloseCode(u16),
    /// A text message or the reason of a close frame.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A message over the limit of the assembler.
    #[error("message of {len} bytes, the limit is {max}")]
    MessageTooLong {
        /// Bytes of the fragments so far and of the one announced.
        len: u64,
        /// The limit in bytes.
        max: usize,
    },
}

impl ProtocolError {
    /// The code of our close frame: 1002, 1007 or 1009.
    pub fn code(&self) -> u16 {
        match self {
            ProtocolError::NotUtf8 => 1007,
            ProtocolError::MessageTooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

/// Why a connection ends, and so which close frame is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseFrame {
    /// The peer closed: its code is echoed, an empty close frame is answered by an empty one.
    Echo {
        /// What the peer gave.
        code: Option<u16>,
        /// What the peer gave; it is not echoed.
        reason: String,
    },
    /// The connection is failed.
    Failure(ProtocolError),
}

impl CloseFrame {
    /// The payload of the close frame to send.
    pub fn payload(&self) -> Vec<u8> {
        match self {
            CloseFrame::Echo { code: None, .. } => Vec::new(),
            CloseFrame::Echo { code: Some(code), .. } => close_payload(*code, ""),
            CloseFrame::Failure(error) => close_payload(error.code(), &error.to_string()),
        }
    }

    /// One line for the log.
    pub fn describe(&self) -> String {
        match self {
            CloseFrame::Echo { code: None, .. } => "closed by the peer".to_owned(),
            CloseFrame::Echo { code: Some(code), reason } if reason.is_empty() => {
                format!("closed by the peer with code {code}")
            }
            CloseFrame::Echo { code: Some(code), reason } => {
                format!("closed by the peer with code {code}: {reason}")
            }
            CloseFrame::Failure(error) => format!("failed with code {}: {error}", error.code()),
        }
    }
}

/// Reads the payload of a close frame: code and reason.
pub(super) fn parse_close(payload: &[u8]) -> Result<(Option<u16>, &str), ProtocolError> {
    let (code, reason) = match payload {
        [] => return Ok((None, "")),
        [_] => return Err(ProtocolError::CloseTooShort),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !may_be_sent(code) {
        return Err(ProtocolError::CloseCode(code));
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| ProtocolError::NotUtf8)?;
    Ok((Some(code), reason))
}

/// Codes that are defined for the wire (RFC 6455 section 7.4.1 and the IANA registry) or free for applications (7.4.2).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
