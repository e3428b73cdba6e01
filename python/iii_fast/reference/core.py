"""Everything that sessions share, the two events that touch all of it (a worker comes, a worker goes), and what the
control plane tells the data plane to do. Mirrors ``rust/core/src/core.rs`` and ``control.rs``; knows no socket.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from iii_fast.contracts import EVERY_PAGE, Cors, Limits, Outcome, SessionId, Storage
from iii_fast.errors import WireError
from iii_fast.protocol import Code, Kind, function_not_found
from iii_fast.reference import codec_json as json_text
from iii_fast.reference import state_calls
from iii_fast.reference.calls import CallQueue, Changed, Closed, Settled
from iii_fast.reference.http_service import HttpService
from iii_fast.reference.invocation import Caller, ControlCaller, HttpCaller, Invocations, Pending, WorkerCaller, new_id
from iii_fast.reference.log import Log, Then
from iii_fast.reference.outbox import Outbox, message_len
from iii_fast.reference.outcome import Reply, Settlement, control_outcome
from iii_fast.reference.payload import Payload
from iii_fast.reference.peer import Directory, Peer
from iii_fast.reference.registry import Function, Registry
from iii_fast.reference.state import State
from iii_fast.reference.state_answer import Answer
from iii_fast.reference.state_quotas import Quotas
from iii_fast.reference.transcode import InexpressibleError
from iii_fast.reference.wall_clock import WallClock


@dataclass(slots=True)
class Counters:
    """Counted since start."""

    messages_in: int = 0
    messages_ignored: int = 0
    telemetry_frames: int = 0
    telemetry_bytes: int = 0


class Core:
    """The shared half of the data plane. ``now_ms`` is Unix time and must never go back; ``None`` is the system's.

    ``monotonic_ms`` is what http deadlines are measured by.
    """

    def __init__(
        self,
        limits: Limits,
        storage: Storage | None = None,
        now_ms: Callable[[], int] | None = None,
        monotonic_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
        cors: Cors = EVERY_PAGE,
    ) -> None:
        self.limits = limits
        now_ms = now_ms or WallClock()
        self.log = Log((storage or Storage()).history_bytes_max)
        self.log.on_advance = self._log_advanced
        self.state = State(self.log, Quotas.of(limits), now_ms, self._state_changed)
        self._feeding = False
        self._unacknowledged: set[int] = set()  # tickets of state calls that wait for the disk
        self.registry = Registry(limits.functions_per_worker_max)
        self.invocations = Invocations(limits.invocations_in_flight_max)
        self.directory = Directory()
        self.calls = CallQueue()
        self.counters = Counters()
        self.http = HttpService(self, monotonic_ms, now_ms, cors)

    def _state_changed(self, scope: str, key: str, event: str) -> None:
        self.calls.push(Changed(scope, key, event.encode()))

    def _log_advanced(self) -> None:
        if self._feeding:
            self.calls.advance()

    def begin_feed(self) -> int:
        """Makes sure that changes are remembered and told from now on; returns where the feed begins."""
        self._feeding = True
        return self.log.begin_feed()

    # --- workers come and go ---------------------------------------------------------------------------------------

    def connect(self, session: SessionId, outbox: Outbox, address: str, connected_at_ms: int) -> Peer:
        """A worker connected: greets it."""
        peer = Peer(session, address, connected_at_ms, self.limits.message_bytes_max, outbox)
        self.directory.insert(peer)
        outbox.send(
            f'{{"type":"{Kind.WORKER_REGISTERED}","worker_id":"{peer.worker_id}","reattach_token":"{peer.reattach_token}"}}'
        )
        return peer

    def disconnect(self, peer: Peer, reason: str) -> None:
        """A worker is gone: nothing of it stays, and nobody waits for it. Does nothing the second time."""
        if peer.gone:
            return
        peer.gone = True
        self.directory.remove(peer)
        self.registry.remove_worker(peer)
        stopped = self.invocations.stop_worker(peer)
        for pending in stopped:
            self._hand_over(pending, WireError(Code.INVOCATION_STOPPED, "Invocation stopped"))
        self.calls.push(Closed(peer.session, peer.worker_id, reason))
        # One clean-up after the other: a caller that is given up for these results goes when this worker is gone.
        for pending in stopped:
            self._give_up_caller_if_flooded(pending)

    # --- invocations -----------------------------------------------------------------------------------------------

    def relay(self, caller: Caller | None, function: Function, payload: Payload) -> Pending | None:
        """Sends an invocation to the worker that executes it; ``caller`` is ``None`` for a void one, as is the result.

        Raises ``WireError`` for limits, having sent nothing.
        """
        try:
            # Any id the engine sends is as long as this one.
            size = message_len(function.peer.encode(payload.message("00000000-0000-0000-0000-000000000000", function)))
        except InexpressibleError as error:
            raise WireError(Code.NOT_EXPRESSIBLE, str(error)) from None
        limit = function.peer.message_bytes_max
        if size > limit:
            raise WireError(
                Code.PAYLOAD_TOO_LARGE,
                f"Invocation of {size} bytes exceeds what the worker can receive ({limit} bytes).",
            )
        pending = None if caller is None else self.invocations.begin(caller, function)
        waiting, limit = function.peer.outbox.waiting, self.limits.outbox_bytes_max
        if waiting + size > limit:
            if pending is not None:
                self.invocations.withdraw(pending)
            raise WireError(
                Code.WORKER_OVERLOADED,
                f"The worker has {waiting} bytes waiting to be read, the limit is {limit} bytes.",
            )
        invocation_id = new_id() if pending is None else pending.id
        function.peer.outbox.send(function.peer.encode(payload.message(invocation_id, function)))
        return pending

    def deliver(self, pending: Pending, settlement: Settlement) -> None:
        """Gives an outcome to whoever waits for it."""
        self._hand_over(pending, settlement)
        self._give_up_caller_if_flooded(pending)

    def _hand_over(self, pending: Pending, settlement: Settlement) -> None:
        match pending.caller:
            case WorkerCaller(peer, own_id):
                Reply.to(peer, own_id, pending.function.id_text).send(settlement)
            case ControlCaller(ticket):
                self.calls.push(Settled(ticket, control_outcome(settlement)))
            case HttpCaller(exchange):
                self.http.settled(exchange, control_outcome(settlement))

    def _give_up_caller_if_flooded(self, pending: Pending) -> None:
        if isinstance(pending.caller, WorkerCaller):
            self._give_up_if_flooded(pending.caller.peer)

    def _give_up_if_flooded(self, peer: Peer) -> None:
        """A peer that does not read what it asked for: throttling it does not stop what is on its way."""
        if not peer.gone and peer.outbox.waiting > self.limits.outbox_bytes_max:
            reason = "does not read: more than outbox_bytes_max waits for it"
            peer.outbox.close(1008, reason)  # first: what it asked of itself and now stops is not told any more
            self.disconnect(peer, reason)

    # --- what the control plane wants ------------------------------------------------------------------------------

    def invoke(self, ticket: int, function_id: str, payload: Payload) -> None:
        """Invokes a function of a worker or of the state API; the outcome becomes a call (``Settled``)."""
        try:
            if function_id in state_calls.STATE_FUNCTIONS:
                self._settle_state(ticket, state_calls.call(self.state, function_id, payload.data))
                return
            function = self.registry.find(function_id)
            if function is None:
                raise WireError(Code.FUNCTION_NOT_FOUND, function_not_found(function_id))
            self.relay(ControlCaller(ticket), function, payload)
        except WireError as error:
            self.calls.push(Settled(ticket, error))

    def forget(self, ticket: int) -> None:
        """Nobody waits for ``ticket`` any more."""
        self._unacknowledged.discard(ticket)
        if not self.invocations.forget(ticket):
            self.calls.forget(ticket)

    def _settle_state(self, ticket: int, answer: Answer) -> None:
        def settle(error: WireError | None) -> None:
            if ticket in self._unacknowledged:
                self._unacknowledged.discard(ticket)
                self.calls.push(Settled(ticket, control_outcome(error or answer.result, wrote=answer.wrote)))

        self._unacknowledged.add(ticket)
        self._when_acknowledged(answer, settle)

    def answer_state(self, reply: Reply, answer: Answer) -> None:
        """Sends what a state function came to, as soon as what it wrote is acknowledged."""

        size = json_text.byte_len(answer.result or "")

        def send(error: WireError | None) -> None:
            reply.peer.outbox.held -= size
            if not reply.peer.gone:
                reply.send(error or answer.result, wrote=answer.wrote)

        reply.peer.outbox.held += size
        self._when_acknowledged(answer, send)

    def _when_acknowledged(self, answer: Answer, then: Then) -> None:
        if answer.position is None:
            then(None)
        else:
            self.log.when_acknowledged(answer.position, answer.durable, then)

    def settle(self, session: SessionId, invocation_id: str, function_id: str, outcome: Outcome) -> None:
        """Answers a call of a worker."""
        peer = self.directory.get(session)
        if peer is None:
            return
        reply = Reply.to(peer, json_text.string_text(invocation_id), json_text.string_text(function_id))
        reply.send(outcome.decode() if isinstance(outcome, bytes) else outcome)
        self._give_up_if_flooded(peer)

    def push(self, session: SessionId, message: str) -> None:
        """Sends one wire message to a worker."""
        peer = self.directory.get(session)
        if peer is not None:
            peer.push(message)
            self._give_up_if_flooded(peer)
