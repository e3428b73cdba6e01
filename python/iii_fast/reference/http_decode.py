"""Percent-encoding and ``name=value`` lists. Mirrors ``rust/core/src/http/decode.rs``."""

from __future__ import annotations

from urllib.parse import unquote


def percent(text: str) -> str:
    """What a percent-encoded text stands for: escapes that are none stay, bytes that are no UTF-8 become U+FFFD."""
    return unquote(text)


def fields(text: str) -> dict[str, str]:
    """The pairs of ``a=1&b=2``: a name without ``=`` has an empty value, values of one name are joined with ``, ``."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split("&")):
        name, _, value = (unquote(one.replace("+", " ")) for one in pair.partition("="))
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
