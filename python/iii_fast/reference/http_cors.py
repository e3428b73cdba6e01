"""Whose pages may read responses (CORS: the Fetch standard, section 3.2). Mirrors ``rust/core/src/http/cors.rs``.

Nothing is refused by it: browsers hold it.
"""

from __future__ import annotations

from iii_fast.contracts import Cors


def allow_origin(cors: Cors, origin: bytes | None) -> bytes | None:
    """Who may read the response to a request from ``origin``, as a header says it; ``None``: no other origin."""
    if cors.origins is None:
        return b"*"
    return origin if origin is not None and origin.decode("latin-1") in cors.origins else None


def for_pages(cors: Cors, origin: bytes | None) -> list[tuple[str, bytes]]:
    """The headers that let a page of another origin read the response to its request."""
    headers: list[tuple[str, bytes]] = []
    if (allowed := allow_origin(cors, origin)) is not None:
        headers += [("access-control-allow-origin", allowed), ("access-control-expose-headers", b"*")]
    if cors.origins is not None:
        headers.append(("vary", b"Origin"))
    return headers
