"""One data plane without sockets, native or reference, behind one small interface.

Messages go in as text, what the plane says to workers and to the control plane comes out as text and plain tuples.
Knows both backends; the tests know only ``Plane``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from iii_fast import _core
from iii_fast.contracts import (
    EVERY_PAGE,
    Call,
    Changes,
    Cors,
    ExchangeId,
    HttpAnswer,
    Limits,
    Outcome,
    Route,
    SessionId,
)
from iii_fast.errors import WireError
from iii_fast.native import _handlers, answer_http, bind_route
from iii_fast.reference import codec_json, codec_msgpack, transcode
from iii_fast.reference.core import Core
from iii_fast.reference.history import Filter
from iii_fast.reference.http_service import HttpService
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.payload import Payload
from iii_fast.reference.session import WorkerSession

BINARY = 0x2
CLOSE = 0x8
UNIX_MS = 784_111_777_000
"""When http begins: Sun, 06 Nov 1994 08:49:37 GMT."""

MSGPACK = "msgpack "
"""Begins what stands for a binary message among texts; its bytes follow as characters of Latin-1."""

CallTuple = tuple[Any, ...]


class Plane(Protocol):
    """A data plane whose sessions are fed by hand."""

    def define(self, function_ids: list[str]) -> None: ...
    def connect(self) -> SessionId: ...
    def disconnect(self, session: SessionId) -> None:
        """The connection breaks; whatever waited for the session is lost."""

    def receive(self, session: SessionId, message: str | bytes) -> None:
        """A text (``str``) or binary (``bytes``) message arrives. Does nothing when the session is closed."""

    def sent(self, session: SessionId) -> list[str]:
        """Takes the messages for a session: texts (see ``MSGPACK``), ``close <code> <reason>`` at the end."""

    def calls(self) -> list[CallTuple]:
        """Takes the calls for the control plane: the method's name and its arguments."""

    def set_time(self, now_ms: int) -> None:
        """Unix time in ms, never less than before. What has expired stays until something comes across it."""

    def advance(self, now_ms: int) -> None:
        """As ``set_time``, and what has expired goes."""

    def begin_feed(self) -> None:
        """Changes are remembered from now on; where the feed begins is among ``calls``."""

    def read_changes(self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int) -> None:
        """Reads the change feed; what is found is among ``calls``."""

    def watch(self, scope: str | None) -> None: ...
    def unwatch(self, scope: str | None) -> None: ...
    def set_peer_message_max(self, session: SessionId, message_bytes_max: int) -> None: ...
    def invoke(self, ticket: int, function_id: str, data: bytes, metadata: bytes | None) -> None: ...
    def settle(self, session: SessionId, invocation_id: str, function_id: str, result: bytes | None) -> None: ...

    def bind_route(self, route: Route) -> None:
        """As ``Backend.bind_route``."""

    def unbind_route(self, route_id: int) -> None: ...
    def http_connect(self) -> int:
        """A client connects."""

    def http_feed(self, client: int, data: bytes) -> None: ...
    def http_end(self, client: int) -> None:
        """The client sends nothing more."""

    def http_lose(self, client: int) -> None:
        """Its connection breaks."""

    def http_take(self, client: int) -> tuple[bytes, bool]:
        """What the client was sent, and whether its connection ends behind that."""

    def http_tick(self, now_ms: int) -> None:
        """It is so late, since the start; what has taken too long ends."""

    def http_stop(self) -> None: ...
    def proceed(self, exchange: ExchangeId) -> None: ...
    def answer(self, exchange: ExchangeId, answer: HttpAnswer) -> None: ...


class Recorder:
    """A control plane that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[CallTuple] = []

    def called(self, call: Call) -> None:
        self.calls.append(("called", call))

    def message(self, session: SessionId, kind: str, message: bytes) -> None:
        self.calls.append(("message", session, kind, message))

    def settled(self, ticket: int, outcome: Outcome) -> None:
        if isinstance(outcome, WireError):
            outcome = WireError(str(outcome.code), outcome.message, outcome.stacktrace)
        self.calls.append(("settled", ticket, outcome))

    def changed(self, scope: str, key: str, event: bytes) -> None:
        self.calls.append(("changed", scope, key, event))

    def advanced(self) -> None:
        self.calls.append(("advanced", None))

    def requested(self, exchange: ExchangeId, route: int, request: bytes, left_ms: int) -> None:
        self.calls.append(("requested", exchange, route, request, left_ms))

    def left(self, exchange: ExchangeId) -> None:
        self.calls.append(("left", exchange))

    def closed(self, session: SessionId, worker_id: str, reason: str) -> None:
        # The reason is for the log: each backend words it in its own way.
        self.calls.append(("closed", session, worker_id))

    def read(self, read: Callable[[], Changes]) -> None:
        """Writes down what the change feed says."""
        try:
            changes = read()
        except WireError as error:
            self.calls.append(("changes", str(error.code), error.message))
        else:
            self.calls.append(("changes", changes.position, *changes.items))

    def take(self) -> list[CallTuple]:
        calls, self.calls = self.calls, []
        return calls


class NativePlane:
    """``_core.Harness``."""

    def __init__(self, limits: Limits, cors: Cors = EVERY_PAGE) -> None:
        self._harness = _core.Harness(limits, cors)
        self._recorder = Recorder()
        self._handlers: dict[str, Callable[..., Any]] = _handlers(self._recorder)
        self.set_time = self._harness.set_time
        self.advance = self._harness.advance
        self.define = self._harness.define
        self.connect = self._harness.connect
        self.disconnect = self._harness.disconnect
        self.watch = self._harness.watch
        self.unwatch = self._harness.unwatch
        self.set_peer_message_max = self._harness.set_peer_message_max
        self.invoke = self._harness.invoke
        self.settle = self._harness.settle_result
        self.unbind_route = self._harness.unbind_route
        self.http_connect = self._harness.http_connect
        self.http_feed = self._harness.http_feed
        self.http_end = self._harness.http_end
        self.http_lose = self._harness.http_lose
        self.http_take = self._harness.http_take
        self.http_stop = self._harness.http_stop
        self.proceed = self._harness.http_proceed
        self._harness.http_time(0, UNIX_MS)

    def bind_route(self, route: Route) -> None:
        bind_route(self._harness, route)

    def http_tick(self, now_ms: int) -> None:
        self._harness.http_time(now_ms, UNIX_MS + now_ms)
        self._harness.http_tick()

    def answer(self, exchange: ExchangeId, answer: HttpAnswer) -> None:
        answer_http(self._harness, exchange, answer)

    def receive(self, session: SessionId, message: str | bytes) -> None:
        if isinstance(message, str):
            self._harness.receive(session, message.encode())
        else:
            self._harness.receive_binary(session, message)

    def sent(self, session: SessionId) -> list[str]:
        return list(_messages(self._harness.take(session)))

    def calls(self) -> list[CallTuple]:
        for kind, *arguments in self._harness.take_calls():
            self._handlers[kind](*arguments)
        self._harness.handled()
        return self._recorder.take()

    def begin_feed(self) -> None:
        self._recorder.calls.append(("feed begins", self._harness.begin_feed()))

    def read_changes(self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int) -> None:
        self._recorder.read(lambda: Changes(*self._harness.read_changes(since, scope, prefix, count_max, bytes_max)))


def _messages(frames: bytes) -> Iterator[str]:
    """The payloads of whole unmasked frames (RFC 6455, section 5.2). Nobody listens behind a close frame (5.5.1)."""
    at = 0
    while at < len(frames):
        opcode, length = frames[at] & 0xF, frames[at + 1]
        at += 2
        if length == 126:
            (length,) = struct.unpack_from("!H", frames, at)
            at += 2
        elif length == 127:
            (length,) = struct.unpack_from("!Q", frames, at)
            at += 8
        payload = frames[at : at + length]
        at += length
        if opcode == CLOSE:
            (code,) = struct.unpack_from("!H", payload)
            yield f"close {code} {payload[2:].decode()}"
            return
        yield MSGPACK + payload.decode("latin-1") if opcode == BINARY else payload.decode()


class ReferencePlane:
    """``reference.core`` with sessions and outboxes, as ``reference.backend`` uses them."""

    def __init__(self, limits: Limits, cors: Cors = EVERY_PAGE) -> None:
        self._now_ms = 0
        self._http_ms = 0
        self._core = Core(limits, now_ms=lambda: self._now_ms)
        http = self._core.http = HttpService(self._core, lambda: self._http_ms, lambda: UNIX_MS + self._http_ms, cors)
        self.bind_route = http.bind
        self.unbind_route = http.unbind
        self.http_stop = http.stop
        self.proceed = http.proceed
        self.answer = http.answer
        self._sessions: dict[SessionId, WorkerSession] = {}
        self._outboxes: dict[SessionId, Outbox] = {}
        self._recorder = Recorder()
        self.define = self._core.registry.define
        self.watch = self._core.state.watch
        self.unwatch = self._core.state.unwatch
        self.settle = self._core.settle

    def http_connect(self) -> int:
        return self._core.http.connect().number

    def http_feed(self, client: int, data: bytes) -> None:
        if (connection := self._core.http.connections.get(client)) is not None:
            connection.feed(data)

    def http_end(self, client: int) -> None:
        if (connection := self._core.http.connections.get(client)) is not None:
            connection.ended()

    def http_lose(self, client: int) -> None:
        if (connection := self._core.http.connections.get(client)) is not None:
            self._core.http.disconnect(connection)

    def http_take(self, client: int) -> tuple[bytes, bool]:
        connection = self._core.http.connections.get(client)
        if connection is None:
            return b"", True
        taken = b""
        while text := connection.take():
            taken += text
            connection.go_on()
        if connection.closed:
            self._core.http.disconnect(connection)
        return taken, connection.closed

    def http_tick(self, now_ms: int) -> None:
        self._http_ms = now_ms
        self._core.http.tick()

    def connect(self) -> SessionId:
        session = len(self._sessions) + 1
        outbox = self._outboxes[session] = Outbox()
        peer = self._core.connect(session, outbox, "loopback", session)
        self._sessions[session] = WorkerSession(self._core, peer)
        return session

    def disconnect(self, session: SessionId) -> None:
        self._outboxes.pop(session, None)
        self._sessions[session].end("connection lost")

    def receive(self, session: SessionId, message: str | bytes) -> None:
        self._sessions[session].receive(message)

    def sent(self, session: SessionId) -> list[str]:
        outbox = self._outboxes.get(session)
        if outbox is None:
            return []
        popped = iter(outbox.pop, None)
        messages = [text if isinstance(text, str) else MSGPACK + text.decode("latin-1") for text in popped]
        if outbox.closing is not None:
            messages.append(f"close {outbox.closing.code} {outbox.closing.reason}")
            del self._outboxes[session]
        return messages

    def calls(self) -> list[CallTuple]:
        while (call := self._core.calls.pop()) is not None:
            call.give(self._recorder)
        return self._recorder.take()

    def set_time(self, now_ms: int) -> None:
        self._now_ms = max(self._now_ms, now_ms)

    def advance(self, now_ms: int) -> None:
        self.set_time(now_ms)
        while self._core.state.expire_due(1):
            pass

    def begin_feed(self) -> None:
        self._recorder.calls.append(("feed begins", self._core.begin_feed()))

    def read_changes(self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int) -> None:
        wanted = Filter(scope, prefix)
        self._recorder.read(lambda: self._core.log.read_changes(since, wanted, count_max, bytes_max))

    def set_peer_message_max(self, session: SessionId, message_bytes_max: int) -> None:
        peer = self._core.directory.get(session)
        if peer is not None:
            peer.message_bytes_max = message_bytes_max

    def invoke(self, ticket: int, function_id: str, data: bytes, metadata: bytes | None) -> None:
        self._core.invoke(ticket, function_id, Payload(data.decode(), None if metadata is None else metadata.decode()))


def as_msgpack(text: str) -> str | bytes:
    """The message as msgpack; as it is where it is no JSON object, or nothing that msgpack has."""
    try:
        codec_json.validate(text)
        message = transcode.to_msgpack(text)
    except (codec_json.JsonError, transcode.InexpressibleError):
        return text
    return message if codec_msgpack.is_map(message) else text


def quote(text: str) -> str:
    """A JSON string."""
    return codec_json.string_text(text)
