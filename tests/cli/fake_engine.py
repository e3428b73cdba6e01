"""A worker port that a test scripts: a real WebSocket on loopback, without an engine behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket

Script: TypeAlias = Callable[[WebSocketConnection, dict[str, Any]], Awaitable[None]]
"""What to do with the connection once its first message, an invocation, has come."""

REGISTERED = json.dumps({"type": "workerregistered", "worker_id": "w", "reattach_token": "t"})


@asynccontextmanager
async def fake_engine(script: Script) -> AsyncGenerator[int, None]:
    """Serves every connection with ``script`` and yields the port."""

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message(REGISTERED)
        await script(connection, json.loads(await connection.get_message()))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        yield server.port
        nursery.cancel_scope.cancel()


def result_of(message: dict[str, Any], **outcome: Any) -> str:
    """An ``invocationresult`` for ``message``, with ``result`` or ``error``."""
    return json.dumps(
        {
            "type": "invocationresult",
            "invocation_id": message["invocation_id"],
            "function_id": message["function_id"],
            **outcome,
        }
    )
