"""JSON as text: validated once at the door, then handed on as slices of what came.

Mirrors ``rust/core/src/codec/json``. The standard library's C scanner reads the values; this module adds what that
scanner lacks (depth, lone surrogates, member spans). Nothing here builds a tree or knows a message. All functions but
``validate`` and ``read_lenient`` expect JSON that has been validated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final, Literal, NoReturn, TypeAlias

from iii_fast.protocol import JSON_DEPTH_MAX
from iii_fast.reference.codec_json_scan import JsonError, Scanner, scan_string

__all__ = [
    "JsonError",
    "Kind",
    "Span",
    "byte_len",
    "depth",
    "elements",
    "float_text",
    "kind",
    "members",
    "read_lenient",
    "spans",
]
__all__ += ["string_text", "unescape", "validate"]

Kind: TypeAlias = Literal["null", "boolean", "number", "string", "array", "object"]


Span: TypeAlias = tuple[str, int, int, int]
"""One member of an object: its name, and where in the text its name begins, its value begins, and its value ends."""


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


# Numbers stay text: converting them would cost time, lose digits, and refuse very long integers.
_scan_value: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse_constant
).scan_once  # type: ignore[attr-defined]

_WHITE_SPACE: Final = " \t\n\r"
_skip_white_space: Final = re.compile(r"[ \t\n\r]*").match
_STRINGS_AND_SCALARS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^\[\]{}"]+')
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPES: Final = re.compile(r"\\(?:[^u]|u(?![dD][89a-fA-F])|u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u))")
_STEPS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
_KINDS: Final[dict[str, Kind]] = {
    '"': "string",
    "{": "object",
    "[": "array",
    "t": "boolean",
    "f": "boolean",
    "n": "null",
}


def validate(text: str) -> None:
    """Checks that ``text`` is one JSON value and nothing else (rule 1). Raises ``JsonError`` for the first fault."""
    try:
        _, end = _scan_value(text, _skip(text, 0))
    except (StopIteration, ValueError, RecursionError):
        sound = False
    else:
        sound = _skip(text, end) == len(text) and not _too_deep(text) and not _has_lone_surrogate(text)
    if not sound:
        Scanner(text).document()
        raise AssertionError("the two JSON scanners disagree")  # a bug of ours, never the peer's


def read_lenient(text: str) -> dict[str, str] | None:
    """Members of an object that may hold ``NaN`` and the like, lone surrogates and any depth (rule 4).

    Returns the last text of each member by name, or ``None`` when the text is broken in another way.
    """
    try:
        return Scanner(text, lenient=True).document_members()
    except JsonError:
        return None


def kind(value: str) -> Kind:
    """The kind of a value; white space before it is not allowed."""
    return _KINDS.get(value[0], "number")


def members(text: str) -> Iterator[tuple[str, str]]:
    """Names (unescaped) and values (text) of an object's members, in order, duplicates included."""
    for name, _, value_begin, value_end in spans(text):
        yield name, text[value_begin:value_end]


def spans(text: str) -> Iterator[Span]:
    """Where the members of an object are, in order, duplicates included."""
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        name, end = scan_string(text, at + 1, True)
        value_begin = _skip(text, _skip(text, end) + 1)
        _, value_end = _scan_value(text, value_begin)
        yield name, at, value_begin, value_end
        at = _skip(text, value_end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def elements(text: str) -> Iterator[str]:
    """The elements of an array as text, in order."""
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "]":
        _, end = _scan_value(text, at)
        yield text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def unescape(string: str) -> str:
    """What a JSON string with its quotes stands for."""
    if "\\" not in string:
        return string[1:-1]
    return scan_string(string, 1, True)[0]


string_text: Final = json.JSONEncoder(ensure_ascii=False).encode
"""The JSON text of a ``str``: only ``"``, ``\\`` and control characters below 0x20 are escaped."""


def float_text(number: float) -> str:
    """The shortest JSON text that reads back as ``number``, which must be finite."""
    return repr(number)


def depth(text: str) -> int:
    """How many levels a value nests: 0 for a scalar, 1 for ``{"a":1}``."""
    brackets = _STRINGS_AND_SCALARS.sub("", text)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def byte_len(text: str) -> int:
    """Length in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _skip(text: str, at: int) -> int:
    """Skips white space."""
    if text[at : at + 1] not in _WHITE_SPACE:
        return at
    match = _skip_white_space(text, at)
    assert match is not None  # the pattern matches nothing, too
    return match.end()


def _too_deep(text: str) -> bool:
    """Whether a valid text nests too deep. Few brackets cannot; only many are looked at."""
    return text.count("[") + text.count("{") > JSON_DEPTH_MAX and depth(text) > JSON_DEPTH_MAX


def _has_lone_surrogate(text: str) -> bool:
    """Whether a valid text has half of a surrogate pair as an escape."""
    if _SURROGATE.search(text) is None:
        return False
    return any(match["lone"] for match in _ESCAPES.finditer(text))
