"""From one codec to the other (docs/wire.md 26 to 28). Mirrors ``rust/core/src/codec/transcode``.

What the other codec cannot express is an error that names where it is, never something else.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, TypeAlias

import msgpack

from iii_fast.reference import codec_json as json_text
from iii_fast.reference.codec_msgpack import Reader

MARK: Final = '"\\udcc1'
"""Begins msgpack that stands in JSON text: half a surrogate pair, which no message may have."""

_PACKER: Final = msgpack.Packer()
_NAME_CHARS_MAX: Final = 64
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_INTEGERS: Final = range(-(2**63), 2**64)
_INTEGER_DIGITS_MAX: Final = 20

Step: TypeAlias = str | int
"""A member's name or an element's index."""


class InexpressibleError(ValueError):
    """Something that the other codec does not have: ``steps`` say where, from the outermost on."""

    def __init__(self, what: str, codec: str, steps: list[Step]) -> None:
        path = "".join(_step_text(step) for step in steps).removeprefix(".")
        super().__init__(f"`{path}` is {what}, which {codec} cannot express")


def _step_text(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    shown = step if len(step) <= _NAME_CHARS_MAX else step[:_NAME_CHARS_MAX] + "…"
    return f".{shown}" if _PLAIN_NAME.fullmatch(step) else f"[{json_text.string_text(shown)}]"


def unpacked(text: str) -> bytes | None:
    """The bytes of msgpack that stands in JSON text (see ``codec_value``); ``None`` for anything else."""
    return bytes.fromhex(text[len(MARK) : -1]) if text.startswith(MARK) else None


def to_json(data: bytes, *steps: Step) -> str:
    """The JSON text of a valid msgpack value, to which ``steps`` lead, in the shortest layout.

    Raises ``InexpressibleError``.
    """
    return _read(Reader(data), list(steps))


def _read(reader: Reader, steps: list[Step]) -> str:
    begin = reader.at
    head = reader.head()
    match head.kind:
        case "string":
            return json_text.string_text(reader.text(begin, head.length))
        case "binary":
            raise InexpressibleError("binary", "JSON", steps)
        case "extension":
            what = "a timestamp" if head.extension == -1 else f"an extension of type {head.extension}"
            raise InexpressibleError(what, "JSON", steps)
        case "array":
            return "[" + ",".join([_read(reader, [*steps, index]) for index in range(head.length)]) + "]"
        case "map":
            return "{" + ",".join([_read_member(reader, steps) for _ in range(head.length)]) + "}"
    if isinstance(head.value, float) and not math.isfinite(head.value):
        raise InexpressibleError("NaN" if math.isnan(head.value) else "an infinite float", "JSON", steps)
    return json_text.float_text(head.value) if isinstance(head.value, float) else json.dumps(head.value)


def _read_member(reader: Reader, steps: list[Step]) -> str:
    begin = reader.at
    head = reader.head()
    if head.kind != "string":
        raise InexpressibleError("a member whose name is no string", "JSON", steps)
    name = reader.text(begin, head.length)
    return f"{json_text.string_text(name)}:{_read(reader, [*steps, name])}"


def to_msgpack(text: str) -> bytes:
    """The msgpack of a valid JSON text, each value in its shortest form; msgpack in it stays as it came.

    Raises ``InexpressibleError``.
    """
    out = bytearray()
    _write(out, text.strip(" \t\n\r"), [])
    return bytes(out)


def _write(out: bytearray, text: str, steps: list[Step]) -> None:
    match json_text.kind(text):
        case "object":
            members = list(json_text.members(text))
            out += _PACKER.pack_map_header(len(members))
            for name, value in members:
                out += _PACKER.pack(name)
                _write(out, value, [*steps, name])
        case "array":
            elements = list(json_text.elements(text))
            out += _PACKER.pack_array_header(len(elements))
            for index, element in enumerate(elements):
                _write(out, element, [*steps, index])
        case "string":
            data = unpacked(text)
            out += _PACKER.pack(json_text.unescape(text)) if data is None else data
        case "number":
            out += _PACKER.pack(_number(text, steps))
        case _:
            out += _PACKER.pack({"null": None, "true": True, "false": False}[text])


def _number(text: str, steps: list[Step]) -> int | float:
    # The sign of a negative zero is kept, as those do who read JSON numbers as floats.
    if text == "-0" or not text.removeprefix("-").isdecimal():
        number = float(text)
        if math.isinf(number):
            raise InexpressibleError("a number beyond the range of a float", "msgpack", steps)
        return number
    if len(text) > _INTEGER_DIGITS_MAX or int(text) not in _INTEGERS:
        raise InexpressibleError("an integer beyond 64 bits", "msgpack", steps)
    return int(text)
