//! `invokefunction` on its way to the worker that executes it.

use crate::codec::{Codec, Value};
use crate::core::Core;
use crate::dispatch::Router;
use crate::error::{WireError, code};
use crate::message::Envelope;
use crate::outbox::Outbox;
use crate::parts::Parts;
use crate::peer::Peer;
use crate::registry::Function;
use crate::reply::{Id, IdText, not_expressible};
use crate::state::Stored;
use std::borrow::Cow;
use std::sync::atomic::Ordering;

/// Sends a request to the worker that is to execute it. On an error nothing was sent.
pub(crate) fn send(
    core: &Core,
    router: &mut impl Router,
    callee: &Peer,
    request: &Request<'_>,
    id: &IdText,
) -> Result<(), WireError> {
    // Looked at after the entry was made: clean-up marks the worker gone first and looks for entries then.
    let gone = || WireError::new(code::INVOCATION_STOPPED, "Invocation stopped");
    if callee.is_gone() {
        return Err(gone());
    }
    let outbox_bytes_max = core.limits.outbox_bytes_max;
    let waiting_elsewhere = callee.outbox_bytes.load(Ordering::Relaxed);
    let outbox = router.outbox(callee.session, Some(id.id())).ok_or_else(gone)?;
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

/// What stands around the members of a request.
struct Frame {
    /// Bytes in front of `head`.
    first: usize,
    /// Up to the invocation id.
    head: &'static [u8],
    /// Up to the function id.
    function: &'static [u8],
    /// In front of each member.
    names: [&'static [u8]; 4],
    /// Behind the last one.
    tail: &'static [u8],
}

static JSON: Frame = Frame {
    first: 0,
    head: b"{\"type\":\"invokefunction\",\"invocation_id\":",
    function: b",\"function_id\":",
    names: [b",\"data\":", b",\"metadata\":", b",\"traceparent\":", b",\"baggage\":"],
    tail: b"}",
};
/// The map's own first byte, which counts the members, comes before it.
static MSGPACK: Frame = Frame {
    first: 1,
    head: b"\xa4type\xaeinvokefunction\xadinvocation_id",
    function: b"\xabfunction_id",
    names: [b"\xa4data", b"\xa8metadata", b"\xabtraceparent", b"\xa7baggage"],
    tail: b"",
};
/// Where [`Request::new`] says that something is which the worker's codec does not have.
const PLACES: [&str; 4] = ["data", "metadata", "traceparent", "baggage"];

/// `invokefunction` as the executing worker sees it, in its codec.
pub struct Request<'a> {
    codec: Codec,
    function_id: Id<'a>,
    /// `data`, `metadata`, `traceparent`, `baggage`.
    members: [Option<Cow<'a, [u8]>>; 4],
    /// Shared instead of the first of them.
    copy: Option<&'a Stored>,
    /// Bytes of the message, whatever its id.
    size: usize,
}

impl<'a> Request<'a> {
    /// From `data` (which is always there), `metadata`, `traceparent`, `baggage`; they go on as they came if the worker speaks their codec.
    ///
    /// # Errors
    /// `not_expressible`.
    #[inline]
    pub(crate) fn new(
        codec: Codec,
        function: &'a Function,
        members: [Option<Value<'a>>; 4],
    ) -> Result<Self, WireError> {
        let function_id = Id::new(Value::Json(&function.id_json), codec);
        let frame = frame(codec);
        let size = frame.first + frame.head.len() + IdText::LEN + frame.function.len() + function_id.len();
        let mut request =
            Request { codec, function_id, members: [const { None }; 4], copy: None, size: size + frame.tail.len() };
        for (at, member) in members.into_iter().enumerate() {
            let Some(member) = member else { continue };
            let encoded = member.encoded(codec);
            let encoded = encoded.map_err(|error| not_expressible(&error.within(PLACES[at]), false))?;
            request.size += frame.names[at].len() + encoded.len();
            request.members[at] = Some(encoded);
        }
        Ok(request)
    }

    /// From a message.
    pub(crate) fn of(codec: Codec, envelope: &Envelope<'a>, function: &'a Function) -> Result<Self, WireError> {
        let copy = envelope.copy.filter(|copy| copy.codec() == codec);
        let members = [
            Some(envelope.data()).filter(|_| copy.is_none()),
            Envelope::non_null(envelope.metadata),
            Envelope::string_or_absent(envelope.traceparent),
            Envelope::string_or_absent(envelope.baggage),
        ];
        let mut request = Self::new(codec, function, members)?;
        if let Some(copy) = copy {
            request.size += frame(codec).names[0].len() + copy.len();
            request.copy = Some(copy);
        }
        Ok(request)
    }

    /// Bytes of the message.
    pub fn size(&self) -> usize {
        self.size
    }

    fn write(&self, outbox: &mut Outbox, id: &IdText) {
        let frame = frame(self.codec);
        let out = outbox.begin_message(self.codec, self.size);
        if self.codec == Codec::Msgpack {
            // At most seven members.
            let members = self.members.iter().flatten().count() + usize::from(self.copy.is_some());
            out.bytes(&[0x83 + members as u8]);
        }
        out.bytes(frame.head);
        id.written(self.codec).write_to(out);
        out.bytes(frame.function);
        self.function_id.write_to(out);
        if let Some(copy) = self.copy {
            out.bytes(frame.names[0]);
            copy.write_to(out);
        }
        for (name, member) in frame.names.iter().zip(&self.members) {
            if let Some(member) = member {
                out.bytes(name);
                out.bytes(member);
            }
        }
        out.bytes(frame.tail);
    }
}

#[inline]
fn frame(codec: Codec) -> &'static Frame {
    match codec {
        Codec::Json => &JSON,
        Codec::Msgpack => &MSGPACK,
    }
}
