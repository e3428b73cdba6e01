"""A proxy in front of an engine that cuts every connection once so many bytes have gone through it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

READ_BYTES = 1 << 16


@asynccontextmanager
async def limited_proxy(
    target: tuple[str, int], *, up_bytes_max: int = 1 << 60, down_bytes_max: int = 1 << 60
) -> AsyncGenerator[str]:
    """Yields the address. ``up`` is towards the engine; each connection counts for itself."""

    async def pump(source: trio.SocketStream, sink: trio.SocketStream, left: int, scope: trio.CancelScope) -> None:
        try:
            while left > 0 and (data := await source.receive_some(min(left, READ_BYTES))):
                await sink.send_all(data)
                left -= len(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async def handle(client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(*target) as server, trio.open_nursery() as both:
            both.start_soon(pump, client, server, up_bytes_max, both.cancel_scope)
            both.start_soon(pump, server, client, down_bytes_max, both.cancel_scope)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
