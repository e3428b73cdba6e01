"""A value in whichever codec it came, as text. Mirrors ``codec/value.rs`` and ``state/stored.rs`` in ``rust/core/src``.

JSON is its own text. msgpack is text, too: a JSON string that begins with half a surrogate pair, which no message may
have (rule 1), with the bytes in hexadecimal behind it. So values of both codecs fit into the JSON text of a message or
of an answer, and are turned where that is sent: ``to_json`` and ``to_msgpack``. All other functions ask one value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from iii_fast.reference import codec_json as json_text
from iii_fast.reference import transcode
from iii_fast.reference.codec_msgpack import Reader
from iii_fast.reference.transcode import MARK, Step

Kind: TypeAlias = json_text.Kind | Literal["binary", "extension"]

_DIGITS: Final = re.compile("[0-9]{1,20}")
"""Longer integers are beyond every range here (JSON has no leading zeros), and Python refuses very long ones."""
_TAG: Final = b"\xc1"
"""In front of msgpack in files: neither codec begins a value with it."""


def packed(data: bytes | memoryview) -> str:
    """The text of a msgpack value."""
    return f'{MARK}{data.hex()}"'


def unpacked(text: str) -> bytes | None:
    """The bytes of a msgpack value; ``None`` for JSON."""
    return transcode.unpacked(text)


def kind(text: str) -> Kind:
    """What it is."""
    data = unpacked(text)
    if data is None:
        return json_text.kind(text)
    head = Reader(data).head()
    match head.kind:
        case "scalar" if head.value is None:
            return "null"
        case "scalar":
            return "boolean" if isinstance(head.value, bool) else "number"
        case "map":
            return "object"
    return head.kind


def string(text: str) -> str | None:
    """The characters of a string; ``None`` for anything else."""
    if kind(text) != "string":
        return None
    return json_text.unescape(to_json(text))


def is_true(text: str) -> bool:
    """Whether it is the boolean true."""
    return kind(text) == "boolean" and to_json(text) == "true"


def unsigned(text: str) -> int | None:
    """An integer (in JSON: written without ``.`` and exponent) that is not negative and not very long."""
    data = unpacked(text)
    if data is None:
        return int(text) if _DIGITS.fullmatch(text) else None
    value = Reader(data).head().value
    return value if type(value) is int and value >= 0 else None


def members(text: str) -> Iterator[tuple[str, str]]:
    """Names and values of an object's members, in order, with duplicates and without names that are no strings."""
    data = unpacked(text)
    if data is None:
        yield from json_text.members(text)
        return
    reader = Reader(data)
    for _ in range(reader.head().length):
        name, value = _next(reader), _next(reader)
        if kind(name) == "string":
            yield string(name) or "", value


def elements(text: str) -> Iterator[str]:
    """The elements of an array, in order."""
    data = unpacked(text)
    if data is None:
        yield from json_text.elements(text)
        return
    reader = Reader(data)
    for _ in range(reader.head().length):
        yield _next(reader)


def _next(reader: Reader) -> str:
    begin = reader.at
    reader.skip_lenient()
    return packed(reader.data[begin : reader.at])


def to_json(text: str, *steps: Step) -> str:
    """The same with all msgpack in it turned to JSON. ``steps`` lead to it. Raises ``InexpressibleError``."""
    if MARK not in text:
        return text
    data = unpacked(text)
    if data is not None:
        return transcode.to_json(data, *steps)
    if json_text.kind(text) == "object":
        values = ((name, to_json(value, *steps, name)) for name, value in json_text.members(text))
        return "{" + ",".join(f"{json_text.string_text(name)}:{value}" for name, value in values) + "}"
    if json_text.kind(text) == "array":
        return f"[{','.join(to_json(item, *steps, at) for at, item in enumerate(json_text.elements(text)))}]"
    return text


def json_or_null(text: str | None, name: str) -> tuple[str, str]:
    """A value for those who read JSON and did not ask: null when JSON cannot express it.

    Then a further member that says so comes with it: ``name`` is how it names the value.
    """
    try:
        return ("null" if text is None else to_json(text, name)), ""
    except transcode.InexpressibleError as error:
        return "null", f',"not_expressible":{json_text.string_text(str(error))}'


def shown(text: str) -> str:
    """For error texts: JSON text, or what it is."""
    try:
        return to_json(text)
    except transcode.InexpressibleError:
        return kind(text)


def size(text: str) -> int:
    """Bytes of a value in its codec: what ``max_value_bytes`` counts."""
    data = unpacked(text)
    return json_text.byte_len(text) if data is None else len(data)


def to_raw(text: str) -> bytes:
    """What files hold: JSON text, or 0xc1 and msgpack."""
    data = unpacked(text)
    return text.encode() if data is None else _TAG + data


def from_raw(raw: bytes) -> str:
    """Reads that. Raises ``UnicodeDecodeError``."""
    return packed(raw[1:]) if raw.startswith(_TAG) else raw.decode()
