"""One connection's protocol state: messages in, replies in outboxes. Knows no socket.

Mirrors ``rust/core/src/session.rs``.
"""

from __future__ import annotations

import trio

from iii_fast.protocol import TELEMETRY_PREFIXES
from iii_fast.reference.codec_msgpack import is_map
from iii_fast.reference.core import Core
from iii_fast.reference.dispatch import dispatch
from iii_fast.reference.peer import Peer


class WorkerSession:
    """A connection that speaks the wire protocol."""

    def __init__(self, core: Core, peer: Peer) -> None:
        self.peer = peer
        self._core = core

    def receive(self, message: str | bytes) -> trio.Event | None:
        """Serves one WebSocket message: text, or the bytes of a binary one (rules 3 and 24).

        Returns what has to happen before the next one may be served, if anything: a registration takes effect first,
        and whoever adds to what waits for the disk waits while that is too much.
        """
        if self.peer.gone:
            return None
        self._core.counters.messages_in += 1
        if isinstance(message, bytes) and message.startswith(TELEMETRY_PREFIXES):
            count_telemetry(self._core, message)
            return None
        before = self._core.log.position
        self.peer.speaks_msgpack = isinstance(message, bytes) and is_map(message)
        handled = dispatch(self._core, self.peer, message) if self.peer.speaks_msgpack else self._receive_text(message)
        return self._core.log.room() if self._core.log.position > before else handled

    def _receive_text(self, message: str | bytes) -> trio.Event | None:
        if isinstance(message, bytes):
            try:
                message = message.decode()
            except UnicodeDecodeError:
                self._core.counters.messages_ignored += 1
                return None
        return dispatch(self._core, self.peer, message) if message else None

    def end(self, reason: str) -> None:
        """The connection is gone."""
        self._core.disconnect(self.peer, reason)


class TelemetrySession:
    """A connection to ``/otel``: counted and dropped."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def receive(self, message: str | bytes) -> None:
        """Counts one WebSocket message; the next one may follow at once."""
        count_telemetry(self._core, message if isinstance(message, bytes) else message.encode())

    def end(self, reason: str) -> None:
        """The connection is gone."""


def count_telemetry(core: Core, message: bytes) -> None:
    """Counts a message that carries telemetry."""
    core.counters.telemetry_frames += 1
    core.counters.telemetry_bytes += len(message)
