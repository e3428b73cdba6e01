"""An HTTP request and response as plain data: the seam between the ``http`` trigger type and the server's sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Headers: TypeAlias = list[tuple[str, str]]
"""Names and values in order, names in lower case, values as latin-1 text."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One whole request. ``path`` and ``query`` are as they came (not percent-decoded), without the ``?``."""

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The last value of a header; ``name`` in lower case."""
        return next((value for key, value in reversed(self.headers) if key == name), None)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One whole response. The server adds ``content-length`` and leaves the body out where HTTP forbids one."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


HttpHandler: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
