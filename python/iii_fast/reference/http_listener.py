"""Http connections on Trio streams: reads, writes, and looks at the time. Knows no requests.

The bounds of time are looked at every ``TICK_S``, as by the native backend.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

import trio

from iii_fast.reference.http_connection import HttpConnection
from iii_fast.reference.http_service import HttpService
from iii_fast.transport.tls import SslCipher, TlsStream

READ_BYTES: Final = 64 << 10
WRITE_BYTES: Final = 64 << 10
TICK_S: Final = 0.5


class HttpListener:
    """Serves the connections of an ``HttpService``, encrypted if there is a context."""

    def __init__(self, service: HttpService, tls: ssl.SSLContext | None = None) -> None:
        self._service = service
        self._tls = tls
        self._clients: dict[int, _Client] = {}
        service.wake = self._wake

    def _wake(self, number: int) -> None:
        if (client := self._clients.get(number)) is not None:
            client.wake()

    async def run(self) -> None:
        """Looks at the time until cancelled."""
        while True:
            await trio.sleep(TICK_S)
            self._service.tick()

    async def serve(self, listeners: Sequence[trio.SocketListener], nursery: trio.Nursery) -> None:
        """Accepts until cancelled; those that are there are served on in ``nursery``."""
        await trio.serve_listeners(self.serve_stream, list(listeners), handler_nursery=nursery)

    async def serve_stream(self, stream: trio.SocketStream) -> None:
        """Serves one connection to its end and closes it. Raises nothing that the client causes."""
        connection = self._service.connect()
        spoken = stream if self._tls is None else TlsStream(stream, SslCipher(self._tls))
        client = self._clients[connection.number] = _Client(spoken, connection)
        try:
            await client.run()
        finally:
            del self._clients[connection.number]
            self._service.disconnect(connection)
            await trio.aclose_forcefully(stream)


class _Client:
    """One client's stream: one task reads, one writes."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, connection: HttpConnection) -> None:
        self._stream = stream
        self._connection = connection
        self._limits = connection.limits
        self._waiting = trio.lowlevel.ParkingLot()
        self._has_ended = False
        self._is_secure = isinstance(stream, TlsStream)
        self._was_heard = False

    def wake(self) -> None:
        """There may be something to write, or room to read."""
        self._waiting.unpark_all()

    async def run(self) -> None:
        """Until the connection is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await self._write()
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while not self._has_ended:
            if self._connection.full:
                await self._waiting.park()
                continue
            try:
                data = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._connection.lost()
                data = b""
            self._was_heard = True
            if data:
                self._connection.feed(bytes(data))
            else:
                self._has_ended = True
                self._connection.ended()
            self.wake()

    async def _write(self) -> None:
        """Writes what there is until the connection says that there will be no more."""
        if self._is_secure and not await self._is_shaken():
            return
        while self._connection.waiting or not self._connection.closed:
            if not self._connection.waiting:
                await self._waiting.park()
            elif not await self._write_some():
                return
        await self._linger()

    async def _is_shaken(self) -> bool:
        """Waits for the client's first words, behind the TLS handshake: nothing can be said before it.

        False when a client that is refused does not come so far in time.
        """
        while not self._was_heard and not self._connection.closed:
            await self._waiting.park()
        if not self._was_heard and self._connection.waiting:
            with trio.move_on_after(self._limits.write_ms / 1000):
                while not self._was_heard:
                    await self._waiting.park()
        return self._was_heard or not self._connection.waiting

    async def _write_some(self) -> bool:
        """Writes what there is now; false when the client does not take it."""
        text = memoryview(self._connection.take())
        while text:
            self._connection.unsent = len(text)
            taken = False
            with trio.move_on_after(self._limits.write_ms / 1000):
                try:
                    await self._stream.send_all(text[:WRITE_BYTES])
                    taken = True
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
            if not taken:
                return False
            text = text[WRITE_BYTES:]
        self._connection.unsent = 0
        self._connection.go_on()
        self.wake()
        return True

    async def _linger(self) -> None:
        """Closing at once would reset the connection, and destroy the last response before the client has read it.

        What the client sends meanwhile is read away by the reading task.
        """
        with trio.move_on_after(self._limits.linger_ms / 1000):
            try:
                await self._stream.send_eof()
                while not self._has_ended and self._connection.lingered <= self._limits.linger_bytes_max:
                    await self._waiting.park()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client has closed the harder way
