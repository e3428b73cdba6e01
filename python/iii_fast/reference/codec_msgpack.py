"""msgpack as bytes: validated once at the door. Mirrors ``rust/core/src/codec/msgpack``.

The ``msgpack`` package does not say where something is wrong, nor does it keep duplicate names: values are read here,
and the package writes them (``transcode``). Format: https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from iii_fast.protocol import JSON_DEPTH_MAX

_MAP_FIRST_BYTES: Final = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
_FIXED: Final = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS: Final = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
Kind = Literal["scalar", "string", "binary", "extension", "array", "map"]
_LENGTHS: Final[dict[int, tuple[Kind, int]]] = {
    0xC4: ("binary", 1),
    0xC5: ("binary", 2),
    0xC6: ("binary", 4),
    0xC7: ("extension", 1),
    0xC8: ("extension", 2),
    0xC9: ("extension", 4),
    0xD9: ("string", 1),
    0xDA: ("string", 2),
    0xDB: ("string", 4),
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}


class MsgpackError(ValueError):
    """The first thing wrong with a message; ``str`` gives the wire's text: ``at byte 57: a string is not UTF-8``."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"at byte {offset}: {reason}")


@dataclass(frozen=True, slots=True)
class Head:
    """What begins a value: ``value`` of a scalar; the length of the others, in bytes, elements or members."""

    kind: Kind
    value: Any = None
    length: int = 0
    extension: int = 0


def is_map(message: bytes) -> bool:
    """Whether a binary message of this first byte is a msgpack map."""
    return message[:1] != b"" and message[0] in _MAP_FIRST_BYTES


def validate(data: bytes) -> None:
    """Checks that ``data`` is one value and nothing else. Raises ``MsgpackError`` for the first fault."""
    reader = Reader(data)
    reader.skip(JSON_DEPTH_MAX)
    if reader.at < len(data):
        raise MsgpackError(reader.at, "bytes after the value")


def read_lenient(data: bytes) -> dict[str, object] | None:
    """Members of a map that may nest to any depth and have any bytes in strings (rule 25).

    Returns the last value of each member that has a string as name: strings, ``{"type": ...}`` of maps, ``None`` for
    everything else. ``None`` when the bytes are broken in another way.
    """
    reader = Reader(data)
    try:
        members = dict(_lenient_members(reader))
    except MsgpackError:
        return None
    return members if reader.at == len(data) else None


def _lenient_members(reader: Reader, *, nested: bool = False) -> Iterator[tuple[str, object]]:
    for _ in range(reader.head().length):
        name = _lenient_value(reader, nested=True)
        value = _lenient_value(reader, nested=nested)
        if isinstance(name, str):
            yield name, value


def _lenient_value(reader: Reader, *, nested: bool) -> object:
    begin = reader.at
    head = reader.head()
    if head.kind == "string":
        return reader.payload(head.length).decode(errors="replace")
    reader.at = begin
    reader.skip_lenient()
    if head.kind != "map" or nested:
        return None
    inner = Reader(reader.data, begin)
    return dict(_lenient_members(inner, nested=True))


class Reader:
    """A position in some bytes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def payload(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        taken = self.data[self.at : self.at + length]
        if len(taken) < length:
            raise MsgpackError(len(self.data), "unexpected end of the message")
        self.at += length
        return taken

    def text(self, begin: int, length: int) -> str:
        """The next ``length`` bytes, of a string that begins at ``begin``."""
        try:
            return self.payload(length).decode()
        except UnicodeDecodeError:
            raise MsgpackError(begin, "a string is not UTF-8") from None

    def head(self) -> Head:
        """Reads what begins a value; a payload or items follow it."""
        (first,) = self.payload(1)
        if first < 0x80:
            return Head("scalar", first)
        if first < 0x90:
            return Head("map", length=first & 0x0F)
        if first < 0xA0:
            return Head("array", length=first & 0x0F)
        if first < 0xC0:
            return Head("string", length=first & 0x1F)
        if first >= 0xE0:
            return Head("scalar", first - 0x100)
        return self._long_head(first)

    def _long_head(self, first: int) -> Head:
        if first in _FIXED:
            return Head("scalar", _FIXED[first])
        if first in _NUMBERS:
            layout = _NUMBERS[first]
            return Head("scalar", *struct.unpack(layout, self.payload(struct.calcsize(layout))))
        if 0xD4 <= first <= 0xD8:
            return Head("extension", length=1 << (first - 0xD4), extension=self._extension())
        if first not in _LENGTHS:
            raise MsgpackError(self.at - 1, "0xc1 begins no value")
        kind, size = _LENGTHS[first]
        length = int.from_bytes(self.payload(size))
        return Head(kind, length=length, extension=self._extension() if kind == "extension" else 0)

    def _extension(self) -> int:
        return int.from_bytes(self.payload(1), signed=True)

    def skip(self, depth_left: int) -> None:
        """Skips one value that nests at most ``depth_left`` levels. Raises ``MsgpackError``."""
        begin = self.at
        head = self.head()
        match head.kind:
            case "string":
                self.text(begin, head.length)
            case "binary" | "extension":
                self.payload(head.length)
            case "array" | "map":
                if depth_left == 0:
                    raise MsgpackError(begin, f"more than {JSON_DEPTH_MAX} nested levels")
                for _ in range(_items(head)):
                    self.skip(depth_left - 1)
            case _:
                pass

    def skip_lenient(self) -> None:
        """As ``skip``, at any depth and with any bytes in strings."""
        values = 1
        while values:
            head = self.head()
            values += _items(head) - 1
            if head.kind in ("string", "binary", "extension"):
                self.payload(head.length)


def _items(head: Head) -> int:
    """How many values follow in it."""
    return {"array": head.length, "map": 2 * head.length}.get(head.kind, 0)
