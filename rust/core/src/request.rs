//! `invokefunction` on its way to the worker that executes it.

use crate::codec::Codec;
use crate::core::Core;
use crate::dispatch::Router;
use crate::error::{WireError, code};
use crate::invocation::InvocationId;
use crate::message::Envelope;
use crate::outbox::Outbox;
use crate::outcome::{IdText, message_to_msgpack, not_expressible};
use crate::parts::Parts;
use crate::peer::Peer;
use crate::registry::Function;
use std::ops::Range;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Sends a request to the worker that is to execute it. On an error nothing was sent.
pub(crate) fn send(
    core: &Core,
    router: &mut impl Router,
    callee: &Peer,
    request: &Request<'_>,
    id: &InvocationId,
) -> Result<(), WireError> {
    // Looked at after the entry was made: clean-up marks the worker gone first and looks for entries then.
    let gone = || WireError::new(code::INVOCATION_STOPPED, "Invocation stopped");
    if callee.is_gone() {
        return Err(gone());
    }
    let outbox_bytes_max = core.limits.outbox_bytes_max;
    let waiting_elsewhere = callee.outbox_bytes.load(Ordering::Relaxed);
    let outbox = router.outbox(callee.session, Some(*id)).ok_or_else(gone)?;
    let waiting = outbox.len().max(waiting_elsewhere);
    if waiting + request.size() > outbox_bytes_max {
        return Err(WireError::new(
            code::WORKER_OVERLOADED,
            format!("The worker has {waiting} bytes waiting to be read, the limit is {outbox_bytes_max} bytes."),
        ));
    }
    request.write(outbox, id);
    Ok(())
}

/// Whether the worker can receive the request.
pub(crate) fn check_size(request: &Request<'_>, callee: &Peer) -> Result<(), WireError> {
    let (len, max) = (request.size(), callee.message_bytes_max.load(Ordering::Relaxed));
    if len <= max {
        return Ok(());
    }
    Err(WireError::new(
        code::PAYLOAD_TOO_LARGE,
        format!("Invocation of {len} bytes exceeds what the worker can receive ({max} bytes)."),
    ))
}

/// `invokefunction` as the executing worker sees it.
pub struct Request<'a> {
    /// The whole message with an id of zeros, for a worker that speaks msgpack.
    msgpack: Option<Vec<u8>>,
    function_id: &'a str,
    data: &'a str,
    metadata: Option<&'a str>,
    traceparent: Option<&'a str>,
    baggage: Option<&'a str>,
}

impl<'a> Request<'a> {
    const HEAD: &'static [u8] = b"{\"type\":\"invokefunction\",\"invocation_id\":";
    const FUNCTION: &'static [u8] = b",\"function_id\":";
    const DATA: &'static [u8] = b",\"data\":";
    const METADATA: &'static [u8] = b",\"metadata\":";
    const TRACEPARENT: &'static [u8] = b",\"traceparent\":";
    const BAGGAGE: &'static [u8] = b",\"baggage\":";
    const ID_BYTES: usize = 38;
    /// Where the id lies in msgpack: behind the head of the map, `type` and its value, `invocation_id` and the head of a string.
    const MSGPACK_ID: Range<usize> = 37..73;

    /// JSON, from a message.
    pub(crate) fn new(envelope: &Envelope<'a>, function: &'a Function) -> Self {
        Request {
            msgpack: None,
            function_id: &function.id_json,
            data: envelope.data(),
            metadata: Envelope::non_null(envelope.metadata),
            traceparent: Envelope::string_or_absent(envelope.traceparent),
            baggage: Envelope::string_or_absent(envelope.baggage),
        }
    }

    /// From JSON texts.
    pub(crate) fn from_parts(
        function: &'a Function,
        data: &'a str,
        metadata: Option<&'a str>,
        traceparent: Option<&'a str>,
        baggage: Option<&'a str>,
    ) -> Self {
        Request { msgpack: None, function_id: &function.id_json, data, metadata, traceparent, baggage }
    }

    /// The same in the codec of its receiver.
    ///
    /// # Errors
    /// `not_expressible`.
    pub(crate) fn encoded(mut self, codec: Codec) -> Result<Self, WireError> {
        if codec == Codec::Msgpack {
            let mut text = Vec::with_capacity(self.size());
            self.write_to(&mut text, &Uuid::nil());
            self.msgpack = Some(message_to_msgpack(&text).map_err(|error| not_expressible(&error, false))?);
        }
        Ok(self)
    }

    fn optional(&self) -> [(&'static [u8], Option<&'a str>); 3] {
        [(Self::METADATA, self.metadata), (Self::TRACEPARENT, self.traceparent), (Self::BAGGAGE, self.baggage)]
    }

    /// Bytes of the message.
    pub fn size(&self) -> usize {
        if let Some(message) = &self.msgpack {
            return message.len();
        }
        let optional: usize =
            self.optional().iter().filter_map(|(name, value)| value.map(|value| name.len() + value.len())).sum();
        Self::HEAD.len()
            + Self::ID_BYTES
            + Self::FUNCTION.len()
            + self.function_id.len()
            + Self::DATA.len()
            + self.data.len()
            + optional
            + 1
    }

    fn write(&self, outbox: &mut Outbox, id: &InvocationId) {
        match &self.msgpack {
            None => self.write_to(outbox.begin_text(self.size()), id),
            Some(message) => {
                let mut message = message.clone();
                if let Some(zeros) = message.get_mut(Self::MSGPACK_ID) {
                    id.hyphenated().encode_lower(zeros);
                }
                outbox.binary(&message);
            }
        }
    }

    fn write_to(&self, out: &mut impl Parts, id: &InvocationId) {
        out.bytes(Self::HEAD);
        out.bytes(IdText::new(id).bytes());
        out.bytes(Self::FUNCTION);
        out.bytes(self.function_id.as_bytes());
        out.bytes(Self::DATA);
        out.bytes(self.data.as_bytes());
        for (name, value) in self.optional() {
            if let Some(value) = value {
                out.bytes(name);
                out.bytes(value.as_bytes());
            }
        }
        out.bytes(b"}");
    }
}
