"""A TCP proxy whose connections a test can cut hard, in the middle of anything."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from tests.support.engine_process import Address

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time left: closing sends a reset instead of the rest."""


class CuttingProxy:
    """Listens on a port that the system chose and forwards to ``target``."""

    def __init__(self, target: Address) -> None:
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.address: Address = ("127.0.0.1", 0)
        self.listen(target)

    def listen(self, target: Address) -> None:
        """Forwards new connections to ``target``, on the same port as before."""
        self.target = target
        self._listener = socket.create_server(self.address)
        self.address = ("127.0.0.1", self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def refuse(self) -> None:
        """Refuses new connections, as the port of an engine that is not there does; the present ones live on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    @property
    def url(self) -> str:
        """What an SDK is given."""
        return f"ws://127.0.0.1:{self.address[1]}"

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(self.target)
                except OSError:  # the engine has gone first
                    client.close()
                    continue
                self._join(client, server)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.append((client, server))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

    def cut(self) -> None:
        """Resets every connection, towards both ends. New ones are accepted at once."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                with contextlib.suppress(OSError):  # it may have ended by itself
                    end.shutdown(socket.SHUT_RD)  # wakes the pump that waits in recv
                end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self.cut()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end is gone: the other is told, and that is all
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
