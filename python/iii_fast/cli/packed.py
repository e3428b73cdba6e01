"""Values that are kept as msgpack because JSON does not have them: 0xc1, which begins no JSON, and the bytes."""

from __future__ import annotations

import re
from typing import Any, Final

import msgpack

from iii_fast.errors import WireError
from iii_fast.protocol import Code

TAG: Final = b"\xc1"

_PLACE: Final = re.compile(r"`result\.entries\[([0-9]+)\]\.(value.*)")


def is_packed(value: bytes) -> bool:
    """Whether it is such a value, and not JSON text."""
    return value.startswith(TAG)


def pack(value: Any) -> bytes:
    """As such a value."""
    return TAG + bytes(msgpack.packb(value))


def unpack(value: bytes) -> Any:
    """What such a value is."""
    return msgpack.unpackb(value[1:], strict_map_key=False)


def with_last(members: dict[str, Any], name: str, value: bytes) -> bytes:
    """The msgpack map of ``members`` and, behind them, such a value as it is."""
    return bytes(msgpack.packb({**members, name: None})[:-1]) + value[1:]


def problem_of(error: WireError) -> tuple[int, str] | None:
    """Of an answer of ``state::get_many`` that JSON cannot express: which entry, and what is told of it."""
    match = _PLACE.match(error.message) if error.code == Code.NOT_EXPRESSIBLE else None
    return None if match is None else (int(match[1]), f"`{match[2]}")
