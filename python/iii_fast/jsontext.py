"""JSON as text: strict validation, and the members of an object as the text they came in.

For the control plane's edges: what passes through keeps its number text, escapes and white space. Touches nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from iii_fast.protocol import JSON_DEPTH_MAX

INTEGER_DIGITS_MAX: Final = 1_000
"""Python refuses to parse longer integers than 4300 digits, and needs quadratic time before that."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonTextError(ValueError):
    """Text that is not JSON as this engine takes it (docs/wire.md, 1); the text says what is wrong."""


def _no_constant(name: str) -> Any:
    raise JsonTextError(f"{name} is not a JSON value")


# Numbers stay text: no rounding, and no limit on their digits.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)


def quote(value: str) -> bytes:
    """The JSON text of a string, escaped as little as JSON allows."""
    return json.dumps(value, ensure_ascii=False).encode()


def encode(value: Any) -> bytes:
    """The compact JSON text of a value made by this engine. Raises ``ValueError`` for NaN and infinities."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def build(members: list[tuple[str, bytes]]) -> bytes:
    """The JSON text of an object from names and the JSON texts of its values, in order."""
    return b"{" + b",".join(quote(name) + b":" + value for name, value in members) + b"}"


def is_null(text: bytes | None) -> bool:
    """Whether a value is absent or JSON's ``null``."""
    return text is None or text.strip() == b"null"


def check(raw: bytes, depth_max: int = JSON_DEPTH_MAX) -> None:
    """Validates JSON text from outside. Raises ``JsonTextError``."""
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise JsonTextError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise JsonTextError(f"more than {depth_max} nested levels") from None
    except json.JSONDecodeError as error:
        raise JsonTextError(f"{error.msg} at character {error.pos}") from None
    if _depth_over(value, depth_max):
        raise JsonTextError(f"more than {depth_max} nested levels")
    if _SURROGATE.search(raw):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise JsonTextError("lone surrogate in a string") from None


def decode(text: bytes) -> Any:
    """The value of valid JSON text, for reading only: integers beyond what Python parses at once become floats."""
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INTEGER_DIGITS_MAX else float(digits)


def _depth_over(value: Any, depth_max: int) -> bool:
    level = [value]
    for _ in range(depth_max + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [item for box in containers for item in (box.values() if isinstance(box, dict) else box)]
    return True


def kind(text: bytes) -> str:
    """What a valid JSON text is: ``null``, ``boolean``, ``number``, ``string``, ``array`` or ``object``."""
    names = {b"n": "null", b"t": "boolean", b"f": "boolean", b'"': "string", b"[": "array", b"{": "object"}
    return names.get(text.lstrip(b" \t\n\r")[:1], "number")


def members(raw: bytes) -> list[tuple[str, bytes]] | None:
    """The members of a valid JSON object in order, values as text; ``None`` when ``raw`` is not an object."""
    if kind(raw) != "object":
        return None
    text = raw.decode()
    found: list[tuple[str, bytes]] = []
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        found.append((name, text[start:end].encode()))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def elements(raw: bytes) -> list[bytes] | None:
    """The elements of a valid JSON array in order, as text; ``None`` when ``raw`` is not an array."""
    if kind(raw) != "array":
        return None
    text = raw.decode()
    found: list[bytes] = []
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append(text[at:end].encode())
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
