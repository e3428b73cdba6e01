"""The socket below one WebSocket connection: reading that waits while the peer does not read, writing that never waits.

``trio-websocket`` answers pings from its reading task; over a plain socket that task would stop reading whenever the
peer's buffers are full. Over this stream it only fills a buffer, which ``flush`` (called by one writing task) empties.
"""

from __future__ import annotations

import trio
from wsproto.frame_protocol import FrameProtocol

from iii_fast.contracts import Limits
from iii_fast.reference.outbox import Outbox
from iii_fast.transport.tls import TlsStream

READ_BYTES = 64 << 10
_CLOSE_FRAME = 0x88


class Link(trio.abc.Stream):
    """One peer's socket, its buffer, and what its liveness is judged by.

    ``lost`` says why the connection was given up, if it was; ``ended`` is set then, and when the WebSocket is closed.
    ``heard_at`` is Trio time.
    """

    def __init__(self, stream: trio.SocketStream | TlsStream, outbox: Outbox, limits: Limits) -> None:
        self._stream = stream
        self._outbox = outbox
        self._limits = limits
        self._pieces: list[bytes | bytearray | memoryview] = []
        self._unsent = memoryview(b"")
        self._room = trio.lowlevel.ParkingLot()
        self.something_to_write = trio.Event()
        self.ended = trio.Event()
        self.lost: str | None = None
        self.heard_at = trio.current_time()
        self._close_frame_added = False

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the peer, or for the disk before it, that it must not ask for more."""
        return self._outbox.waiting + self._outbox.held > self._limits.outbox_throttle_bytes

    async def wait_for_room(self) -> None:
        """Waits until the peer has read enough of what waits for it, or is lost."""
        while self.crowded and self.lost is None:
            await self._room.park()
        self.heard_at = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What the peer sent; empty at its end, or when it was silent for too long."""
        if self.crowded:
            await self.wait_for_room()
        if self.ended.is_set():
            raise trio.ClosedResourceError
        data: bytes | bytearray = b""
        with trio.move_on_after(self._limits.silence_ms / 1000) as scope:
            data = await self._stream.receive_some(max_bytes)
            self.heard_at = trio.current_time()
        if scope.cancelled_caught:
            self.lose(f"silent: nothing was heard of it within {self._limits.silence_ms} ms")
        elif not data:
            self.lose("connection closed by the worker")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Puts ``data`` behind what waits already; never waits for the peer."""
        if self.lost is not None:
            raise trio.BrokenResourceError(self.lost)
        if self.ended.is_set():
            raise trio.ClosedResourceError
        self._add(data)

    def add_close_frame(self, code: int, reason: str | None) -> None:
        """Ends what the peer is told, also when the WebSocket is closed already. The first close frame counts.

        The peer's answer goes through trio-websocket, which does not know of this frame: what it still has to say
        (pongs, a close frame of its own) is dropped here.
        """
        self._add(FrameProtocol(client=False, extensions=[]).close(code, reason))

    def _add(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._close_frame_added:
            self._pieces.append(data)
            self._outbox.writing += len(data)
            self._close_frame_added = data[0] == _CLOSE_FRAME
            self.something_to_write.set()

    async def wait_send_all_might_not_block(self) -> None:
        """It never does."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Ends the WebSocket. Whoever owns the socket flushes and closes it."""
        self.ended.set()
        await trio.lowlevel.checkpoint()

    def lose(self, reason: str) -> None:
        """Gives the connection up. The first reason counts."""
        if self.lost is None:
            self.lost = reason
            self.ended.set()
            self._room.unpark_all()

    async def flush(self) -> None:
        """Writes what was put in. A peer that takes nothing for ``stall_ms`` is lost."""
        while (self._unsent or self._pieces or self._is_encrypted()) and self.lost is None:
            if not self._unsent:
                self._unsent = memoryview(b"".join(self._pieces))
                self._pieces.clear()
            with trio.move_on_after(self._limits.stall_ms / 1000) as scope:
                try:
                    sent = await self._send_some()
                except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    self.lose("connection lost")
                    return
                self._unsent = self._unsent[sent:]
                self._outbox.writing -= sent
            if scope.cancelled_caught:
                self.lose(f"does not read: nothing could be written within {self._limits.stall_ms} ms")
            elif not self.crowded:
                self._room.unpark_all()

    def drop(self) -> None:
        """The peer is gone, and so is what waits for it."""
        self._pieces.clear()
        self._unsent = memoryview(b"")
        self._outbox.drop()

    def _is_encrypted(self) -> bool:
        """Whether something that was encrypted still waits for the socket."""
        return isinstance(self._stream, TlsStream) and not self._stream.is_flushed

    async def _send_some(self) -> int:
        if isinstance(self._stream, TlsStream):
            await self._stream.flush()
            # From here on without waiting: what is encrypted twice would be sent twice.
            return self._stream.put(self._unsent) if self._unsent else 0
        return await self._stream.socket.send(self._unsent)

    async def finish(self) -> None:
        """After the last byte: says so, and reads on until the peer has closed too, so that it can read everything."""
        try:
            await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer has closed the harder way
