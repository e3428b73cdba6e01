"""``redis://[user:password@]host[:port][/database]`` taken apart."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

from iii_fast.contracts import RedisPlace

EXPECTED: Final = "expected redis://[user:password@]host[:port][/database]"
DEFAULT_URL: Final = "redis://localhost:6379"
"""What the original engine's adapter connects to when its configuration does not say."""


def parse(url: str) -> RedisPlace:
    """The place that a URL names. Raises ``ValueError``; its text never holds the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL ({error}), {EXPECTED}") from None
    if parts.scheme == "rediss":
        raise ValueError("asks for TLS, which is not supported: connect through a tunnel, or use redis://")
    if parts.scheme != "redis" or not parts.hostname:
        raise ValueError(f"is not understood, {EXPECTED}")
    if parts.query or parts.fragment:
        raise ValueError(f"has options behind it, which are not supported; {EXPECTED}")
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdigit() and int(database) < 1 << 31):
        raise ValueError(f'names database "{database}", expected a number')
    user, password = unquote(parts.username or "") or None, unquote(parts.password or "") or None
    if user is not None and password is None:
        raise ValueError(f"names a user without a password, {EXPECTED}")
    return RedisPlace(parts.hostname, 6379 if port is None else port, user, password, int(database))
