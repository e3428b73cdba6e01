"""What the http contenders serve: the bytes that the engine answers with through its worker, without any framework.

``GET /.../NUMBER`` -> ``{"n":"NUMBER"}``. granian calls ``rsgi``, its own and fastest interface, uvicorn ``asgi``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

JSON: Final = "application/json"
START: Final = {"type": "http.response.start", "status": 200}


def body(path: str) -> str:
    """The response to a request for the path."""
    return '{"n":"' + path.rpartition("/")[2] + '"}'


async def rsgi(scope: Any, protocol: Any) -> None:
    """As an RSGI application."""
    protocol.response_str(200, [("content-type", JSON)], body(scope.path))


async def asgi(scope: Any, receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """As an ASGI application."""
    content = body(scope["path"]).encode()
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(content)).encode())]
    await send(START | {"headers": headers})
    await send({"type": "http.response.body", "body": content})
