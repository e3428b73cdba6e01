"""One worker connection as commands use it: several calls at a time, and functions that the engine invokes."""

from __future__ import annotations

import uuid
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from iii_fast import jsontext
from iii_fast.cli import packed
from iii_fast.errors import WireError
from iii_fast.protocol import DEFAULT_NAMESPACE, JSON_DEPTH_MAX, Code, Kind

DEPTH_MAX: Final = JSON_DEPTH_MAX + 8
"""A value as deep as the engine takes it may be wrapped a few more times in an answer."""

INVOCATIONS_MAX: Final = 16
"""Invocations of one own function that wait to be taken; the connection is not read beyond that."""


class NoEngineError(Exception):
    """No engine could be reached, or it went away; the text tells the next step."""


class Pending:
    """A call that was sent. ``result`` is to be awaited once."""

    def __init__(self, session: Session, invocation_id: str, function_id: str) -> None:
        self._session = session
        self._id = invocation_id
        self._function_id = function_id
        self._done = trio.Event()
        self._outcome: bytes | Exception = b""

    def settle(self, outcome: bytes | Exception) -> None:
        """The connection's side: what the call came to."""
        self._outcome = outcome
        self._done.set()

    async def result(self) -> bytes:
        """The result as JSON text (``null`` for none), or ``packed`` after such a call.

        Raises ``WireError`` (``TIMEOUT`` too) and ``NoEngineError``.
        """
        timeout_ms = self._session.timeout_ms
        with trio.move_on_after(float("inf") if timeout_ms is None else timeout_ms / 1000):
            await self._done.wait()
        if not self._done.is_set():
            self._session.forget(self._id)
            raise WireError(Code.TIMEOUT, f"{self._function_id} gave no result within {timeout_ms} ms (--timeout-ms)")
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class Invocation:
    """The engine invoked one of our functions with ``data`` (JSON text)."""

    def __init__(self, session: Session, invocation_id: bytes, function_id: str, data: bytes) -> None:
        self._session = session
        self._id = invocation_id
        self._function_id = function_id
        self.data = data

    async def succeed(self) -> None:
        """Answers with no result. Raises ``NoEngineError``."""
        members = [
            ("type", jsontext.quote(Kind.INVOCATION_RESULT)),
            ("invocation_id", self._id),
            ("function_id", jsontext.quote(self._function_id)),
        ]
        await self._session.send(members)


class Session:
    """A connection; ``run`` reads it, everything else waits for what comes. Calls leave in the order of ``begin``."""

    def __init__(self, link: WebSocketConnection, url: str, calls_max: int, timeout_ms: int | None) -> None:
        self.url = url
        self.timeout_ms = timeout_ms
        self._link = link
        self._slots = trio.Semaphore(calls_max)
        self._pending: dict[str, Pending] = {}
        self._functions: dict[str, trio.MemorySendChannel[Invocation]] = {}
        self._sending = trio.Lock()
        self._lost: NoEngineError | None = None

    async def call(self, function_id: str, data: bytes, namespace: str | None = None) -> bytes:
        """Calls a function and waits for its result; see ``Pending.result``. ``data``: JSON text, or ``packed``."""
        return await (await self.begin(function_id, data, namespace)).result()

    async def begin(self, function_id: str, data: bytes, namespace: str | None = None) -> Pending:
        """Sends a call, as soon as fewer than ``calls_max`` are under way. Raises ``NoEngineError``."""
        await self._slots.acquire()
        pending = Pending(self, invocation_id := str(uuid.uuid4()), function_id)
        self._pending[invocation_id] = pending
        members = [
            ("type", jsontext.quote(Kind.INVOKE_FUNCTION)),
            ("invocation_id", jsontext.quote(invocation_id)),
            ("function_id", jsontext.quote(function_id)),
            ("data", data),
        ]
        if namespace is not None and namespace != DEFAULT_NAMESPACE:
            members.append(("namespace", jsontext.quote(namespace)))
        try:
            if packed.is_packed(data):
                fields = {"type": Kind.INVOKE_FUNCTION, "invocation_id": invocation_id, "function_id": function_id}
                await self._put(packed.with_last(fields, "data", data))
            else:
                await self.send(members)
        except BaseException:
            self.forget(invocation_id)
            raise
        return pending

    async def register(self, function_id: str) -> trio.MemoryReceiveChannel[Invocation]:
        """Registers a function; its invocations come out of the channel, which ends with the connection."""
        sender, receiver = trio.open_memory_channel[Invocation](INVOCATIONS_MAX)
        self._functions[function_id] = sender
        members = [("type", jsontext.quote(Kind.REGISTER_FUNCTION)), ("id", jsontext.quote(function_id))]
        await self.send(members)
        return receiver

    def lost(self) -> NoEngineError:
        """Why the connection has ended."""
        return self._lost or NoEngineError(f"{self.url} cut the connection")

    def forget(self, invocation_id: str) -> Pending | None:
        """The call is not under way any more; ``None`` when it was not."""
        pending = self._pending.pop(invocation_id, None)
        if pending is not None:
            self._slots.release()
        return pending

    async def send(self, members: list[tuple[str, bytes]]) -> None:
        """Sends one message. Raises ``NoEngineError``."""
        await self._put(jsontext.build(members).decode())

    async def _put(self, message: str | bytes) -> None:
        if self._lost is not None:
            raise self._lost
        try:
            async with self._sending:
                await self._link.send_message(message)
        except ConnectionClosed as error:
            raise NoEngineError(_closed(self.url, error)) from None

    async def run(self) -> None:
        """Reads until the connection ends; then every pending call fails and every channel ends."""
        try:
            while True:
                message = await self._link.get_message()
                if isinstance(message, str):
                    await self._take(message.encode())
                else:
                    self._take_packed(message)
        except ConnectionClosed as error:
            self._lost = NoEngineError(_closed(self.url, error))
        except NoEngineError as error:
            self._lost = error
        finally:
            for pending in self._pending.values():
                pending.settle(self.lost())
            for channel in self._functions.values():
                channel.close()

    def _take_packed(self, message: bytes) -> None:
        """A message in msgpack: the result of a call that was made so."""
        fields = packed.unpack(packed.TAG + message)
        pending = self.forget(fields.get("invocation_id", "")) if fields.get("type") == Kind.INVOCATION_RESULT else None
        if pending is not None and "error" in fields:
            pending.settle(WireError(fields["error"]["code"], fields["error"]["message"]))
        elif pending is not None:
            pending.settle(packed.pack(fields.get("result")))

    async def _take(self, message: bytes) -> None:
        try:
            jsontext.check(message, DEPTH_MAX)
        except jsontext.JsonTextError as broken:
            raise NoEngineError(f"the engine sent a message that is not JSON: {broken}") from None
        fields = dict(jsontext.members(message) or ())
        match _string(fields.get("type")):
            case Kind.INVOCATION_RESULT:
                pending = self.forget(_string(fields.get("invocation_id")) or "")
                if pending is not None:
                    error = fields.get("error")
                    failed = error is not None and not jsontext.is_null(error)
                    pending.settle(_wire_error(error or b"") if failed else fields.get("result", b"null"))
            case Kind.INVOKE_FUNCTION:
                function_id = _string(fields.get("function_id")) or ""
                channel = self._functions.get(function_id)
                invocation_id = fields.get("invocation_id")
                if channel is not None and invocation_id is not None:
                    data = fields.get("data", b"null")
                    await channel.send(Invocation(self, invocation_id, function_id, data))


def _wire_error(error: bytes) -> WireError:
    fields = dict(jsontext.members(error) or ())
    code, message = _string(fields.get("code")), _string(fields.get("message"))
    if code is None or message is None:
        return WireError(Code.UNKNOWN, error.decode())
    return WireError(code, message, _string(fields.get("stacktrace")))


def _string(text: bytes | None) -> str | None:
    value = None if text is None else jsontext.decode(text)
    return value if isinstance(value, str) else None


def _closed(url: str, error: ConnectionClosed) -> str:
    reason = error.reason
    if reason is None:
        return f"{url} cut the connection before the result came"
    return f"{url} closed the connection before the result came ({reason.code} {reason.reason or reason.name})"
