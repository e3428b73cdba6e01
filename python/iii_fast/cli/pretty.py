"""Prints JSON text for people without reading it into values: numbers, escapes and members stay as they came."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
_CLOSING: Final = {"{": "}", "[": "]"}


def pretty(text: str) -> str:
    """Valid JSON text, indented by two spaces; empty objects and arrays stay on their line."""
    tokens = _TOKEN.findall(text)
    parts: list[str] = []
    depth = 0
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else ""
        if token in ("}", "]"):
            depth -= 1
            if _CLOSING.get(before) != token:
                parts.append(_line(depth))
        elif before in _CLOSING:
            parts.append(_line(depth))
        parts.append(token)
        if token in _CLOSING:
            depth += 1
        elif token == ",":
            parts.append(_line(depth))
        elif token == ":":
            parts.append(" ")
    return "".join(parts)


def _line(depth: int) -> str:
    return "\n" + "  " * depth
