"""Reads Rust sources as text, well enough for the house rules: no comments, no strings, no tests, functions with lines.

Not a parser. It relies on rustfmt's layout only where it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_OPAQUE: Final = re.compile(
    r"""
    //[^\n]*                                    # comments
  | /\*.*?\*/
  | \bb?c?r(?P<hashes>\#*)".*?"(?P=hashes)      # raw strings
  | [bc]?"(?:[^"\\]|\\.)*"                   # strings
  | b?'(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.))'   # characters, not lifetimes
    """,
    re.VERBOSE | re.DOTALL,
)
_TEST_ITEM: Final = re.compile(r"#\[cfg\(test\)\]")
_FUNCTION: Final = re.compile(r"\bfn\s+(\w+)")


@dataclass(frozen=True, slots=True)
class Function:
    """A function with a body: where it starts (from 1) and how many lines it has, signature included."""

    name: str
    line: int
    lines: int


def code(text: str) -> str:
    """The text with comments, strings and characters blanked out; every line keeps its number."""
    return _OPAQUE.sub(lambda found: _blank(found.group()), text)


def without_tests(masked: str) -> str:
    """Code (see ``code``) with the items under ``#[cfg(test)]`` blanked out."""
    at = 0
    while (found := _TEST_ITEM.search(masked, at)) is not None:
        end = _end_of_item(masked, found.end())
        masked = masked[: found.start()] + _blank(masked[found.start() : end]) + masked[end:]
        at = end
    return masked


def functions(masked: str) -> Iterator[Function]:
    """The functions in code (see ``code``)."""
    for found in _FUNCTION.finditer(masked):
        end = _end_of_item(masked, found.end())
        if masked[end - 1] == "}":
            line = masked.count("\n", 0, found.start()) + 1
            yield Function(found.group(1), line, masked.count("\n", found.start(), end) + 1)


def _end_of_item(masked: str, start: int) -> int:
    """Behind the ``;`` or the closing brace of the item that goes on at ``start``."""
    depth = 0
    for at in range(start, len(masked)):
        character = masked[at]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0 and character == "}":
                return at + 1
        elif character == ";" and depth == 0:
            return at + 1
    raise AssertionError("unbalanced braces in Rust source")


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
