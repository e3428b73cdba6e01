//! What Python tells the data plane to do; the counterpart of [`crate::calls`].

use crate::calls::{Call, Outcome};
use crate::codec::json;
use crate::core::Core;
use crate::dispatch::{self, Router};
use crate::error::WireError;
use crate::invocation::CallerRef;
use crate::log::Progress;
use crate::outcome::{Reply, Settlement, give_up_if_flooded, push, write};
use crate::parts::Parts;
use crate::peer::SessionId;
use crate::registry::Provider;
use crate::remote::Caller;
use crate::request::{self, Request};
use crate::state::{self, StateCall};
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
    Result(Option<Box<[u8]>>),
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
                return pipeline.submit(self, remote, || Caller::Control(*ticket), call, data);
            }
            let served = state::serve(&self.state, call, data)?;
            if served.noted {
                self.calls.announce();
            }
            let mut result = Vec::new();
            served.answer.write_to(&mut result);
            let result = Some(result.into_boxed_slice()).filter(|_| !served.answer.is_absent());
            let call = Call::Settled { ticket: *ticket, outcome: Outcome::Result(result) };
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
        let request =
            Request::from_parts(&function, data, metadata.as_deref(), traceparent.as_deref(), baggage.as_deref());
        let request = request.encoded(callee.codec())?;
        request::check_size(&request, &callee)?;
        let caller = CallerRef::Control(*ticket);
        let Ok(id) = self.invocations.begin(None, "", &caller, function.clone()) else { return Ok(()) };
        let sent = request::send(self, router, &callee, &request, &id);
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
        let reply = Reply {
            invocation_id: invocation_id.as_bytes(),
            function_id: function_id.as_bytes(),
            message_bytes_max: peer.message_bytes_max.load(Ordering::Relaxed),
            codec: peer.codec(),
        };
        let Some(outbox) = router.outbox(session, None) else { return };
        match answered {
            Answered::Result(body) => write(&reply, outbox, Settlement::Result(body.as_deref())),
            Answered::Error { code, message, stacktrace } => {
                reply.error_object(outbox, &any_error_json(code, message, stacktrace.as_deref()));
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

fn json_string(text: &str) -> String {
    let mut json = Vec::with_capacity(text.len() + 2);
    json::write_string(&mut json, text);
    String::from_utf8_lossy(&json).into_owned()
}

fn any_error_json(code: &str, message: &str, stacktrace: Option<&str>) -> Vec<u8> {
    let mut object = b"{\"code\":".to_vec();
    json::write_string(&mut object, code);
    object.bytes(b",\"message\":");
    json::write_string(&mut object, message);
    if let Some(stacktrace) = stacktrace {
        object.bytes(b",\"stacktrace\":");
        json::write_string(&mut object, stacktrace);
    }
    object.push(b'}');
    object
}
