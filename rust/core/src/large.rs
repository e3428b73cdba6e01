//! Messages so large that others would notice how long they take to be read. Their session stands still while another thread reads them
//! ([`Large::read`]) and makes the copies that serving them needs; then it goes on with what came of that ([`Read`]).

use crate::codec::{Codec, Value};
use crate::core::Core;
use crate::limits::SHARE_BYTES_MIN;
use crate::message::{self, Action, Broken, Envelope, Kind, value_of};
use crate::msgpack_message::read_unusable;
use crate::registry::Provider;
use crate::reply::IdText;
use crate::state::{Request, Served, StateCall, Stored, Texts};
use crate::ws::Whole;
use self_cell::self_cell;
use std::cell::OnceCell;

/// A complete message that nobody has looked at.
#[derive(Debug)]
pub struct Large(pub(crate) Whole);

/// A message that has been read. Letting go of it takes as long as copying some of it: not on a thread that others wait for.
pub struct Read(Cell);

struct Source {
    whole: Whole,
    texts: Texts,
    copy: OnceCell<Stored>,
}

self_cell!(
    struct Cell {
        owner: Source,
        #[covariant]
        dependent: Reading,
    }
);

/// What a message is.
pub(crate) enum Reading<'a> {
    /// As it should be; taken when it is served.
    Message(Value<'a>, Option<Box<Envelope<'a>>>),
    /// The same, a state call that needs nothing but to be served.
    StateCall(Box<ReadCall<'a>>),
    /// Not as it should be, but something can be read of it.
    Broken(Box<Envelope<'a>>, Broken),
    /// Nothing can be read of it.
    Nothing(Codec),
}

/// A state call.
pub(crate) struct ReadCall<'a> {
    pub(crate) envelope: Envelope<'a>,
    /// Taken when it is served.
    pub(crate) request: Option<Request<'a>>,
    /// Of the value that it writes.
    pub(crate) copy: Option<Stored>,
    /// What came of it: the value before may be as large.
    pub(crate) served: Option<Served>,
}

impl Large {
    /// Reads it. Whatever is wrong with it is told when it is served, as of any message.
    pub fn read(self, core: &Core) -> Read {
        Read(Cell::new(Source { whole: self.0, texts: Texts::default(), copy: OnceCell::new() }, |source| {
            read(source, core)
        }))
    }
}

impl Read {
    /// The codec it came in.
    pub(crate) fn codec(&self) -> Codec {
        match self.0.borrow_dependent() {
            Reading::Message(message, _) => message.codec(),
            Reading::StateCall(call) => call.envelope.function_id.map_or(Codec::Json, Value::codec),
            Reading::Broken(_, Broken::Msgpack(_)) => Codec::Msgpack,
            Reading::Broken(_, Broken::Json(_)) => Codec::Json,
            Reading::Nothing(codec) => *codec,
        }
    }

    pub(crate) fn with<T>(&mut self, work: impl FnOnce(&mut Reading<'_>) -> T) -> T {
        self.0.with_dependent_mut(|_, reading| work(reading))
    }
}

fn read<'a>(source: &'a Source, core: &Core) -> Reading<'a> {
    let Some(message) = value_of(source.whole.message()) else { return Reading::Nothing(Codec::Json) };
    let mut envelope = match Envelope::read(message) {
        Ok(envelope) => envelope,
        Err(broken) => return lenient(message, broken, &source.texts),
    };
    if let Some(request) = state_call(&envelope, &source.texts, core) {
        let copy = request.copy();
        return Reading::StateCall(Box::new(ReadCall { envelope, request: Some(request), copy, served: None }));
    }
    envelope.copy = copy(&envelope, core).map(|copy| source.copy.get_or_init(|| copy));
    Reading::Message(message, Some(Box::new(envelope)))
}

fn lenient<'a>(message: Value<'a>, broken: Broken, texts: &'a Texts) -> Reading<'a> {
    let text = match message {
        Value::Json(text) => Some(text),
        Value::Msgpack(bytes) => read_unusable(bytes).map(|text| texts.keep(text)),
    };
    match text.and_then(Envelope::read_lenient) {
        Some(envelope) => Reading::Broken(Box::new(envelope), broken),
        None => Reading::Nothing(message.codec()),
    }
}

/// None as well when something is wrong with the call: serving the message will tell.
fn state_call<'a>(envelope: &Envelope<'a>, texts: &'a Texts, core: &Core) -> Option<Request<'a>> {
    if core.remote.is_some() || envelope.kind() != Some(Kind::InvokeFunction) {
        return None;
    }
    let call = StateCall::from_function_id(&message::string(envelope.function_id)?)?;
    let waits_or_not = matches!(Action::read(envelope.action), Ok(Action::Wait | Action::Void));
    if !waits_or_not || message::check_namespace(envelope.namespace) != Ok(None) {
        return None;
    }
    Request::read(call, envelope.data(), texts, &core.state).ok()
}

/// Of what goes on to another worker, in its codec.
fn copy(envelope: &Envelope<'_>, core: &Core) -> Option<Stored> {
    let (value, codec) = match envelope.kind()? {
        Kind::InvokeFunction => match core.registry.find(&message::string(envelope.function_id)?)? {
            Provider::Worker(function) => (envelope.data(), function.peer.codec()),
            Provider::Control => return None,
        },
        Kind::InvocationResult => {
            let id = IdText::canonical(envelope.invocation_id()?)?.id();
            (Envelope::non_null(envelope.result)?, core.invocations.caller_codec(&id)?)
        }
        _ => return None,
    };
    if value.bytes().len() < SHARE_BYTES_MIN {
        return None;
    }
    let mut copy = Stored::of(value);
    copy.turn(codec).ok()?;
    Some(copy)
}
