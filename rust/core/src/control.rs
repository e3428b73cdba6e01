//! What Python tells the data plane to do; the counterpart of [`crate::calls`].

use crate::calls::{Call, Outcome};
use crate::codec::{Codec, Value, json};
use crate::core::Core;
use crate::dispatch::{self, Router};
use crate::error::WireError;
use crate::invocation::CallerRef;
use crate::log::Progress;
use crate::outcome::{Settlement, give_up_if_flooded, push, write};
use crate::parts::Parts;
use crate::peer::SessionId;
use crate::registry::Provider;
use crate::remote::Caller;
use crate::reply::{Id, IdText, Reply, not_expressible};
use crate::request::{self, Request};
use crate::state::{self, Answer, StateCall};
use std::sync::atomic::Ordering;

/// An invocation that the control plane makes; JSON texts are valid.
#[derive(Debug)]
pub struct ControlInvocation {
    /// Names it in `settled`.
    pub ticket: u64,
    /// Which function.
    pub function_id: Box<str>,
    /// JSON text.
    pub data: Box<str>,
    /// JSON text.
    pub metadata: Option<Box<str>>,
    /// W3C trace context, plain text.
    pub traceparent: Option<Box<str>>,
    /// W3C baggage, plain text.
    pub baggage: Option<Box<str>>,
}

/// What a function of the control plane answered.
#[derive(Debug)]
pub enum Answered {
    /// JSON text of the result, or none.
    Result(Option<Box<str>>),
    /// An error with any code.
    Error {
        /// `error.code`.
        code: Box<str>,
        /// `error.message`.
        message: Box<str>,
        /// `error.stacktrace`.
        stacktrace: Option<Box<str>>,
    },
}

impl Core {
    /// Invokes a function of a worker or of the state API; the outcome is queued as [`Call::Settled`].
    pub fn invoke(&self, invocation: &ControlInvocation, router: &mut impl Router) {
        if let Err(error) = self.try_invoke(invocation, router) {
            self.calls.push(Call::Settled { ticket: invocation.ticket, outcome: Outcome::Error(error) });
        }
    }

    fn try_invoke(&self, invocation: &ControlInvocation, router: &mut impl Router) -> Result<(), WireError> {
        let ControlInvocation { ticket, function_id, data, metadata, traceparent, baggage } = invocation;
        if let Some(call) = StateCall::from_function_id(function_id) {
            if let Some(remote) = &self.remote {
                let pipeline = router.pipeline().ok_or_else(|| remote.refused())?;
                return pipeline.submit(self, remote, || Caller::Control(*ticket), call, Value::Json(data));
            }
            let mut served = state::serve(&self.state, call, Value::Json(data))?;
            if served.noted {
                self.calls.announce();
            }
            let outcome = outcome_of(&mut served.answer, served.receipt.is_some());
            let call = Call::Settled { ticket: *ticket, outcome };
            match served.receipt.map(|receipt| (receipt, self.state.log().progress(receipt))) {
                Some((_, Progress::Failed)) => return Err(self.state.log().failed_error()),
                Some((receipt, Progress::Waiting)) => router.hold(receipt, call),
                Some((_, Progress::Acknowledged)) | None => {
                    self.calls.push(call);
                }
            }
            return Ok(());
        }
        let Some(Provider::Worker(function)) = self.registry.find(function_id) else {
            return Err(dispatch::not_found(function_id));
        };
        let callee = function.peer.clone();
        let traceparent = traceparent.as_deref().map(json_string);
        let baggage = baggage.as_deref().map(json_string);
        let optional = [metadata.as_deref(), traceparent.as_deref(), baggage.as_deref()];
        let [metadata, traceparent, baggage] = optional.map(|text| text.map(Value::Json));
        let members = [Some(Value::Json(data)), metadata, traceparent, baggage];
        let request = Request::new(callee.codec(), &function, members)?;
        request::check_size(&request, &callee)?;
        let caller = CallerRef::Control(*ticket);
        let Ok(id) = self.invocations.begin(None, "", &caller, function.clone()) else { return Ok(()) };
        let sent = request::send(self, router, &callee, &request, &IdText::new(&id));
        if sent.is_err() && self.invocations.withdraw(&id).is_some() { sent } else { Ok(()) }
    }

    /// Answers a call of a worker.
    pub fn settle(
        &self,
        session: SessionId,
        invocation_id: &str,
        function_id: &str,
        answered: &Answered,
        router: &mut impl Router,
    ) {
        let Some(peer) = self.directory.get(session) else { return };
        let (invocation_id, function_id) = (json_string(invocation_id), json_string(function_id));
        let codec = peer.codec();
        let reply = Reply {
            invocation_id: Id::new(Value::Json(&invocation_id), codec),
            function_id: Id::new(Value::Json(&function_id), codec),
            message_bytes_max: peer.message_bytes_max.load(Ordering::Relaxed),
            codec,
        };
        let Some(outbox) = router.outbox(session, None) else { return };
        match answered {
            Answered::Result(body) => {
                write(&reply, outbox, Settlement::Result(body.as_deref().map(Value::Json)));
            }
            Answered::Error { code, message, stacktrace } => {
                let object = any_error_json(code, message, stacktrace.as_deref());
                reply.error_object(outbox, Value::Json(&object));
            }
        }
        let waiting = outbox.len();
        give_up_if_flooded(self, router, session, waiting);
    }

    /// Sends one message to a worker.
    pub fn push(&self, session: SessionId, message: &[u8], router: &mut impl Router) {
        let Some(peer) = self.directory.get(session) else { return };
        if let Some(outbox) = router.outbox(session, None) {
            push(outbox, peer.codec(), message);
            let waiting = outbox.len();
            give_up_if_flooded(self, router, session, waiting);
        }
    }
}

/// What a state call came to, for the control plane: JSON.
pub(crate) fn outcome_of(answer: &mut Answer, written: bool) -> Outcome {
    if answer.is_absent() {
        return Outcome::Result(None);
    }
    if let Err(error) = answer.turn(Codec::Json) {
        return Outcome::Error(not_expressible(&error.within("result"), written));
    }
    let mut text = Vec::new();
    answer.write_to(Codec::Json, &mut text);
    Outcome::Result(Some(String::from_utf8(text).unwrap_or_default().into()))
}

fn json_string(text: &str) -> String {
    let mut json = Vec::with_capacity(text.len() + 2);
    json::write_string(&mut json, text);
    String::from_utf8_lossy(&json).into_owned()
}

fn any_error_json(code: &str, message: &str, stacktrace: Option<&str>) -> String {
    let mut object = b"{\"code\":".to_vec();
    json::write_string(&mut object, code);
    object.bytes(b",\"message\":");
    json::write_string(&mut object, message);
    if let Some(stacktrace) = stacktrace {
        object.bytes(b",\"stacktrace\":");
        json::write_string(&mut object, stacktrace);
    }
    object.push(b'}');
    String::from_utf8_lossy(&object).into_owned()
}
