"""One message of one worker: what it means, and where it goes. Mirrors ``rust/core/src/dispatch.rs``.

State calls are answered here, invocations of workers are relayed, registrations are entered; what the control plane
decides is queued for it. Nothing a worker sends raises: what is wrong with a message is told to its sender or counted.
"""

from __future__ import annotations

import trio

from iii_fast.contracts import Call
from iii_fast.errors import WireError
from iii_fast.protocol import CONTROL_KINDS, DEFAULT_NAMESPACE, Code, Kind, function_not_found
from iii_fast.reference import codec_json as json_text
from iii_fast.reference import codec_value as values
from iii_fast.reference import state_calls
from iii_fast.reference.calls import Called, Message
from iii_fast.reference.codec_msgpack import MsgpackError
from iii_fast.reference.core import Core
from iii_fast.reference.invocation import Pending, WorkerCaller, canonical_uuid
from iii_fast.reference.message import (
    Envelope,
    read_action,
    read_envelope,
    read_function_id,
    read_namespace,
    read_unusable,
)
from iii_fast.reference.outcome import Reply, complete_error
from iii_fast.reference.payload import Payload
from iii_fast.reference.peer import Peer
from iii_fast.reference.registry import TakenError, TooManyError
from iii_fast.reference.transcode import InexpressibleError, to_json

_PONG = f'{{"type":"{Kind.PONG}"}}'


def dispatch(core: Core, peer: Peer, message: str | bytes) -> trio.Event | None:
    """Serves one message of ``peer``: text, or bytes that begin with a msgpack map.

    Returns what the next one has to wait for, if anything.
    """
    try:
        envelope = read_envelope(message)
    except json_text.JsonError as error:
        assert isinstance(message, str)
        _unusable(core, peer, Envelope(json_text.read_lenient(message) or {}), f"Invalid JSON {error}")
        return None
    except MsgpackError as error:
        assert isinstance(message, bytes)
        _unusable(core, peer, read_unusable(message), f"Invalid msgpack {error}")
        return None
    match envelope and envelope.string("type"):
        case Kind.INVOKE_FUNCTION if envelope:
            _invoke(core, peer, envelope)
        case Kind.INVOCATION_RESULT if envelope:
            _result(core, peer, envelope)
        case Kind.UNREGISTER_FUNCTION if envelope:
            core.registry.unregister(envelope.string("id") or "", peer)
        case Kind.REATTACH if envelope:
            _reattach(core, peer, envelope)
        case Kind.PING:
            peer.push(_PONG)
        case Kind.REGISTER_SERVICE:
            pass
        case str(kind) if envelope and (kind == Kind.REGISTER_FUNCTION or kind in CONTROL_KINDS):
            return _registration(core, peer, envelope, kind, message)
        case _:
            core.counters.messages_ignored += 1
    return None


def _registration(core: Core, peer: Peer, envelope: Envelope, kind: str, message: str | bytes) -> trio.Event | None:
    """What is kept, or read by the control plane, as JSON."""
    try:
        text = to_json(message) if isinstance(message, bytes) else message
    except InexpressibleError:
        core.counters.messages_ignored += 1
        return None
    if kind == Kind.REGISTER_FUNCTION:
        _register(core, peer, envelope, text)
        return None
    call = Message(peer.session, kind, text.encode())
    core.calls.push(call)
    return call.handled


def _unusable(core: Core, peer: Peer, envelope: Envelope, problem: str) -> None:
    """A message that is broken: whoever waits for it is told, if that can be found out (rules 4, 10 and 25)."""
    match envelope.string("type"):
        case Kind.INVOKE_FUNCTION:
            _refuse(peer, envelope, WireError(Code.INVALID_MESSAGE, problem))
        case Kind.INVOCATION_RESULT:
            pending = _take_pending(core, peer, envelope)
            if pending:
                core.deliver(pending, _not_usable(problem))
        case _:
            core.counters.messages_ignored += 1


def _not_usable(problem: str) -> WireError:
    return WireError(Code.INVALID_MESSAGE, f"Worker's result is not usable: {problem}")


# --- invocations ---------------------------------------------------------------------------------------------------


def _invoke(core: Core, peer: Peer, envelope: Envelope) -> None:
    try:
        _try_invoke(core, peer, envelope)
    except WireError as error:
        _refuse(peer, envelope, error)


def _try_invoke(core: Core, peer: Peer, envelope: Envelope) -> None:
    function_id = read_function_id(envelope)
    action = read_action(envelope)
    _check_namespace(core, envelope, function_id)
    own_id = None if action.kind == "void" else envelope.string_json("invocation_id")
    if action.queue is not None or core.registry.is_control(function_id):
        _hand_up(core, peer, envelope, own_id, function_id, action.queue)
    elif function_id in state_calls.STATE_FUNCTIONS:
        answer = state_calls.call(core.state, function_id, envelope.data)
        if own_id is not None:
            core.answer_state(Reply.to(peer, own_id, envelope.string_json("function_id") or ""), answer)
    else:
        function = core.registry.find(function_id)
        if function is None:
            raise WireError(Code.FUNCTION_NOT_FOUND, function_not_found(function_id))
        payload = Payload(
            envelope.data,
            envelope.non_null("metadata"),
            envelope.string_text("traceparent"),
            envelope.string_text("baggage"),
        )
        core.relay(None if own_id is None else WorkerCaller(peer, own_id), function, payload)


def _refuse(peer: Peer, envelope: Envelope, error: WireError) -> None:
    """Tells the caller, if it waits."""
    own_id = envelope.string_json("invocation_id")
    if own_id is not None and not _is_void(envelope):
        Reply.to(peer, own_id, envelope.string_json("function_id") or '""').send(error)


def _is_void(envelope: Envelope) -> bool:
    """Whether nobody waits, told from a message that may be broken."""
    text = envelope.get("action", "null")
    if values.unpacked(text) is None:
        action = Envelope(json_text.read_lenient(text) or {})
    else:
        action = Envelope(values.members(text) if values.kind(text) == "object" else ())
    return action.string("type") == "void"


def _check_namespace(core: Core, envelope: Envelope, function_id: str) -> None:
    namespace = read_namespace(envelope)
    if namespace == DEFAULT_NAMESPACE:
        return
    text = function_not_found(function_id, namespace)
    if function_id in core.registry:
        text += f" It is registered in namespace(s): {DEFAULT_NAMESPACE}."
    raise WireError(Code.FUNCTION_NOT_FOUND, text)


def _hand_up(
    core: Core, peer: Peer, envelope: Envelope, own_id: str | None, function_id: str, queue: str | None
) -> None:
    """Queues an invocation for the control plane, which reads JSON. Raises ``WireError``."""
    try:
        data = values.to_json(envelope.data, "data")
        metadata = values.to_json(envelope.non_null("metadata") or "", "metadata")
    except InexpressibleError as error:
        raise WireError(Code.NOT_EXPRESSIBLE, str(error)) from None
    call = Call(
        session=peer.session,
        invocation_id=None if own_id is None else json_text.unescape(own_id),
        function_id=function_id,
        data=data.encode(),
        metadata=metadata.encode() or None,
        queue=queue,
        traceparent=envelope.string("traceparent"),
        baggage=envelope.string("baggage"),
    )
    core.calls.push(Called(call))


def _result(core: Core, peer: Peer, envelope: Envelope) -> None:
    pending = _take_pending(core, peer, envelope)
    if pending is None:
        return
    error = envelope.non_null("error")
    try:
        core.deliver(pending, envelope.non_null("result") if error is None else complete_error(error))
    except InexpressibleError as problem:
        core.deliver(pending, _not_usable(str(problem)))


def _take_pending(core: Core, peer: Peer, envelope: Envelope) -> Pending | None:
    """The invocation that a result is for; nothing when its sender was not asked for it."""
    invocation_id = canonical_uuid(envelope.string("invocation_id") or "")
    if invocation_id is None:
        core.counters.messages_ignored += 1
        return None
    return core.invocations.settle(invocation_id, peer)


# --- registrations -------------------------------------------------------------------------------------------------


def _register(core: Core, peer: Peer, envelope: Envelope, text: str) -> None:
    function_id = envelope.string("id")
    if not function_id or json_text.byte_len(text) > core.limits.registration_bytes_max:
        core.counters.messages_ignored += 1
        return
    try:
        core.registry.register(function_id, peer, text)
    except TooManyError:
        core.counters.messages_ignored += 1
    except TakenError as taken:
        owner = taken.owner.worker_id if taken.owner else ""
        peer.push(
            f'{{"type":"{Kind.REGISTRATION_REJECTED}","code":"{Code.FUNCTION_NAMESPACE_CONFLICT}",'
            f'"namespace":"{DEFAULT_NAMESPACE}","function_id":{json_text.string_text(function_id)},'
            f'"owner_worker_id":"{owner}"}}'
        )


def _reattach(core: Core, peer: Peer, envelope: Envelope) -> None:
    """Ends the connection that the same worker had before."""
    worker_id = canonical_uuid(envelope.string("previous_worker_id") or "")
    token = canonical_uuid(envelope.string("reattach_token") or "")
    if worker_id is None or token is None:
        return
    former = core.directory.find(worker_id, token)
    if former is not None and former is not peer:
        reason = "replaced by a new connection"
        core.disconnect(former, reason)
        former.outbox.close(1000, reason)
