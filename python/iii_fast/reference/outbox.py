"""Messages waiting for one peer, and the wish to close its connection. Knows no socket.

Mirrors ``rust/core/src/outbox.rs``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from iii_fast.reference import codec_json as json_text


@dataclass(frozen=True, slots=True)
class Closing:
    """The close frame to send once everything before it is sent."""

    code: int
    reason: str


def message_len(message: str | bytes) -> int:
    """Bytes of a message."""
    return len(message) if isinstance(message, bytes) else json_text.byte_len(message)


class Outbox:
    """Whatever is put in calls ``wake``; whoever writes to the peer takes it out.

    ``writing`` is kept by the writer: bytes it has taken out, or made itself, that are not with the peer's system yet.
    ``held`` is kept by whoever holds replies back until what they tell is acknowledged: bytes of their results.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._messages: deque[str | bytes] = deque()
        self._bytes = 0
        self._wake = wake
        self.writing = 0
        self.held = 0
        self.closing: Closing | None = None

    @property
    def waiting(self) -> int:
        """Bytes that wait for the peer, frame headers included."""
        return self._bytes + self.writing

    def send(self, message: str | bytes) -> None:
        """Adds one message, text or binary; nothing follows a close."""
        if self.closing is None:
            self._messages.append(message)
            self._bytes += _framed_len(message)
            self._wake()

    def close(self, code: int, reason: str) -> None:
        """Asks for the close handshake. The first wish counts."""
        if self.closing is None:
            self.closing = Closing(code, reason)
            self._wake()

    def pop(self) -> str | bytes | None:
        """Takes out the oldest message."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= _framed_len(message)
        return message

    def drop(self) -> None:
        """The peer is gone: what waits for it goes at once, not when the garbage collector comes by."""
        self._messages.clear()
        self._bytes = self.writing = 0


def _framed_len(message: str | bytes) -> int:
    """Bytes of an unmasked frame with this message (RFC 6455, section 5.2)."""
    length = message_len(message)
    return length + (2 if length < 126 else 4 if length < 1 << 16 else 10)
