"""One connection of the worker port on trio-websocket: upgrade, reading, writing, liveness, close.

Mirrors ``rust/reactor``: everything that waits is here, everything that decides is in ``session`` and below.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from iii_fast.contracts import Limits
from iii_fast.protocol import CAPABILITIES_HEADER
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.link import READ_BYTES, Link
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.session import TelemetrySession, WorkerSession
from iii_fast.transport.tls import TlsStream

log = logging.getLogger(__name__)

Session: TypeAlias = WorkerSession | TelemetrySession
OpenSession: TypeAlias = Callable[[str, Outbox], Session | tuple[int, str]]
"""Makes the session for a path, or refuses with an HTTP status and text."""

_MESSAGES_AHEAD = 64  # read but not served yet: serving is quick, so this is about fewer task switches
_WRITE_BYTES = 256 << 10  # framed before the next write: more would only be copied around


class Connection:
    """Serves one accepted socket until it is closed; ``run`` returns then and leaves the socket to its owner."""

    def __init__(self, stream: trio.SocketStream | TlsStream, limits: Limits, open_session: OpenSession) -> None:
        self._limits = limits
        self._open_session = open_session
        self._reading = trio.CancelScope()
        self._close_asked = trio.Event()
        self._close_next = trio.Event()  # everything before the close frame is framed
        self._close_done = trio.Event()
        self.outbox = Outbox(self._wake)
        self._link = Link(stream, self.outbox, limits)

    def _wake(self) -> None:
        self._link.something_to_write.set()
        if self.outbox.closing is not None:
            self._close_asked.set()

    async def run(self) -> None:
        """Upgrades and serves. Raises nothing that the peer could bring about."""
        try:
            async with trio.open_nursery() as nursery:
                opened = await self._upgrade(nursery)
                if opened is not None:
                    await self._serve(nursery, *opened)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, LocalProtocolError) as group:
            # trio-websocket answers a ping behind a message that was too large, and trips over its own state.
            log.debug("connection ended untidily: %r", group.exceptions)
        if self._link.lost is None:
            with trio.move_on_after(self._limits.close_ms / 1000):
                await self._link.flush()
                await self._link.finish()

    def drop(self) -> None:
        """The peer is gone, and so is what waits for it."""
        self._link.drop()

    # --- upgrade ---------------------------------------------------------------------------------------------------

    async def _upgrade(self, nursery: trio.Nursery) -> tuple[WebSocketConnection, Session] | None:
        with trio.move_on_after(self._limits.handshake_ms / 1000) as scope:
            nursery.start_soon(self._cancel_when_ended, scope)
            request = await wrap_server_stream(
                nursery, self._link, _MESSAGES_AHEAD, self._limits.message_bytes_max, READ_BYTES
            )
            return await self._answer(request)
        log.info("handshake broken off, or not finished within %d ms", self._limits.handshake_ms)
        return None

    async def _cancel_when_ended(self, scope: trio.CancelScope) -> None:
        """trio-websocket goes on waiting for a request when the stream has ended."""
        await self._link.ended.wait()
        scope.cancel()

    async def _answer(self, request: WebSocketRequest) -> tuple[WebSocketConnection, Session] | None:
        opened = self._open_session(request.path.split("?", 1)[0], self.outbox)
        if isinstance(opened, tuple):
            status, text = opened
            await request.reject(status, extra_headers=[(b"content-type", b"text/plain")], body=text.encode())
            return None
        name, value = CAPABILITIES_HEADER
        try:
            return await request.accept(extra_headers=[(name.encode(), value.encode())]), opened
        except BaseException:
            opened.end("connection lost")
            raise

    # --- serving ---------------------------------------------------------------------------------------------------

    async def _serve(self, nursery: trio.Nursery, websocket: WebSocketConnection, session: Session) -> None:
        nursery.start_soon(self._write, websocket)
        nursery.start_soon(self._keep_alive, websocket)
        nursery.start_soon(self._close_when_asked, session)
        try:
            with self._reading:
                await self._read(websocket, session)
        except ConnectionClosed as closed:
            if self.outbox.closing is None and closed.reason is not None:
                # Left out by trio-websocket when a peer breaks the WebSocket protocol.
                self._link.add_close_frame(closed.reason.code, closed.reason.reason)
        finally:
            session.end(self._why_closed(websocket))
        if self.outbox.closing is not None:
            await self._close_done.wait()

    async def _read(self, websocket: WebSocketConnection, session: Session) -> None:
        while True:
            message = await websocket.get_message()
            if self._is_too_large(message):
                self.outbox.close(1009, f"message of more than {self._limits.message_bytes_max} bytes")
            if self.outbox.closing is not None:
                continue  # only the close handshake matters now
            handled = None
            try:
                handled = session.receive(message)
            except Exception:
                log.exception("a message could not be served; this is a bug of iii-fast")
                self.outbox.close(1011, "internal error")
            if handled is not None:
                await handled.wait()
            if self._link.crowded:
                await self._link.wait_for_room()

    def _is_too_large(self, message: str | bytes) -> bool:
        """trio-websocket counts the characters of a text, the limit is one of bytes."""
        limit = self._limits.message_bytes_max
        return isinstance(message, str) and len(message) > limit // 4 and json_text.byte_len(message) > limit

    def _why_closed(self, websocket: WebSocketConnection) -> str:
        if self._link.lost is not None:
            return self._link.lost
        closed = websocket.closed
        return "connection lost" if closed is None else f"closed with {closed.code} {closed.reason or ''}".rstrip()

    async def _write(self, websocket: WebSocketConnection) -> None:
        """Moves messages from the outbox into the link, many at a time, and writes them."""
        while True:
            await self._link.something_to_write.wait()
            self._link.something_to_write = trio.Event()
            try:
                while (message := self.outbox.pop()) is not None:
                    await websocket.send_message(message)
                    if self.outbox.writing > _WRITE_BYTES:
                        await self._link.flush()
            except ConnectionClosed:
                log.debug("messages for a closed connection dropped")
            if self.outbox.closing is not None:
                self._close_next.set()
            await self._link.flush()

    async def _keep_alive(self, websocket: WebSocketConnection) -> None:
        """Pings a peer that has said nothing for a while; that nothing comes at all is the link's business."""
        interval_s = self._limits.ping_interval_ms / 1000
        while True:
            await trio.sleep_until(self._link.heard_at + interval_s)
            if trio.current_time() < self._link.heard_at + interval_s:
                continue
            try:
                with trio.move_on_after(interval_s):
                    await websocket.ping()
            except ConnectionClosed:
                return

    async def _close_when_asked(self, session: Session) -> None:
        """Begins the close handshake behind what waits, and gives it ``close_ms``."""
        await self._close_asked.wait()
        closing = self.outbox.closing
        if closing is not None:
            session.end(closing.reason)
            with trio.move_on_after(self._limits.close_ms / 1000) as scope:
                await self._close_next.wait()
                self._link.add_close_frame(closing.code, closing.reason)
                await self._link.ended.wait()
            if scope.cancelled_caught:
                self._link.lose(f"not closed within {self._limits.close_ms} ms")
        self._reading.cancel()
        self._close_done.set()
