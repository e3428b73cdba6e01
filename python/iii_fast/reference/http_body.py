"""A request body as it comes in, by its length or in chunks. Mirrors ``rust/core/src/http/body.rs``.

Chunk extensions and trailers are read and dropped (RFC 9112, section 7.1). Not h11's reader: that one takes extensions
and white space behind a chunk's size that other readers understand differently.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final, Literal

from iii_fast.reference.http_head import HEADER_LINE
from iii_fast.reference.http_refusal import Refusal

CHUNK_LINE_BYTES_MAX: Final = 256
"""Bytes of a chunk's first line without its end."""
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?\r\n")


def check_length(length: int, bytes_max: int) -> None:
    """Raises ``Refusal`` for a body that is too large."""
    if length > bytes_max:
        raise Refusal(413, f"the body exceeds the limit of {bytes_max} bytes")


class Reader:
    """A body that is being read. ``body`` is complete when ``complete`` says so; ``feed`` raises ``Refusal``."""

    def __init__(self, length: int | Literal["chunked"], bytes_max: int, trailer_bytes_max: int) -> None:
        self.body = bytearray()
        self.complete = length == 0
        self._bytes_max = bytes_max
        self._trailer_bytes_max = trailer_bytes_max
        self._input = bytearray()
        self._steps = self._chunks() if length == "chunked" else self._read(length)

    def feed(self, data: bytes) -> int:
        """Takes what belongs to the body from the beginning of ``data``; returns how much that is."""
        if self.complete:
            return 0
        self._input += data
        try:
            next(self._steps)
        except StopIteration:
            self.complete = True
            return len(data) - len(self._input)
        return len(data)

    # Each generator takes what it wants from the input, and yields while more must come.

    def _read(self, length: int) -> Generator[None]:
        while length > len(self._input):
            length -= self._take(len(self._input))
            yield
        self._take(length)

    def _take(self, count: int) -> int:
        self.body += self._input[:count]
        del self._input[:count]
        return count

    def _chunks(self) -> Generator[None]:
        while True:
            line = yield from self._line(CHUNK_LINE_BYTES_MAX + 2, _malformed())
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise _malformed()
            size = int(match[1], 16)
            if size == 0:
                break
            check_length(len(self.body) + size, self._bytes_max)
            yield from self._read(size)
            yield from self._chunk_end()
        yield from self._trailers()

    def _line(self, bytes_max: int, too_long: Refusal) -> Generator[None, None, bytes]:
        """Returns the next line with its end."""
        while (at := self._input.find(b"\n", 0, bytes_max)) < 0:
            if len(self._input) >= bytes_max:
                raise too_long
            yield
        line = bytes(self._input[: at + 1])
        del self._input[: at + 1]
        return line

    def _chunk_end(self) -> Generator[None]:
        while not self._input.startswith(b"\r\n"):
            if not b"\r\n".startswith(self._input):
                raise _malformed()
            yield
        del self._input[:2]

    def _trailers(self) -> Generator[None]:
        left = self._trailer_bytes_max
        too_long = Refusal(431, f"the trailers exceed the limit of {left} bytes")
        while (line := (yield from self._line(left, too_long))) != b"\r\n":
            if not line.endswith(b"\r\n") or HEADER_LINE.fullmatch(line[:-2]) is None:
                raise _malformed()
            left -= len(line)


def _malformed() -> Refusal:
    return Refusal(400, "the chunks of the body are malformed")
