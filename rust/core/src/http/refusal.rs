//! What a client is told when its request cannot be served: a status and a text, in one envelope.

use crate::codec::json;
use std::borrow::Cow;
use uuid::Uuid;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: Cow<'static, str>,
    /// `error.message`.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with the code that belongs to its status.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal::with_code(status, code_of(status), message)
    }

    /// A refusal with a code of its own.
    pub fn with_code(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { status, code: code.into(), message: message.into() }
    }

    /// The envelope as JSON text, and the id that names an error from 500 on in the log as well.
    pub fn envelope(&self) -> (Vec<u8>, Option<String>) {
        let mut body = b"{\"error\":{\"code\":".to_vec();
        json::write_string(&mut body, &self.code);
        body.extend_from_slice(b",\"message\":");
        json::write_string(&mut body, &self.message);
        let error_id = (self.status >= 500).then(|| Uuid::new_v4().simple().to_string()[..12].to_owned());
        if let Some(error_id) = &error_id {
            body.extend_from_slice(b",\"error_id\":");
            json::write_string(&mut body, error_id);
        }
        body.extend_from_slice(b"}}");
        (body, error_id)
    }
}

fn code_of(status: u16) -> &'static str {
    match status {
        404 => "NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        408 => "REQUEST_TIMEOUT",
        413 => "PAYLOAD_TOO_LARGE",
        415 => "UNSUPPORTED_MEDIA_TYPE",
        431 => "REQUEST_HEADER_FIELDS_TOO_LARGE",
        500 => "INTERNAL_ERROR",
        501 => "NOT_IMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "TIMEOUT",
        505 => "HTTP_VERSION_NOT_SUPPORTED",
        _ => "BAD_REQUEST",
    }
}
