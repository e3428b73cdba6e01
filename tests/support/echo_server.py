"""A program: the native backend alone, with its echo endpoint, for the WebSocket conformance cases.

Run as ``python -m tests.support.echo_server PATH``; announces its address as the engine does.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import trio

from iii_fast.contracts import Call, ExchangeId, Limits, Outcome
from iii_fast.native import NativeBackend


class NoControl:
    """``contracts.Control`` where nobody registers or calls anything."""

    def called(self, call: Call) -> None:
        raise AssertionError(call)

    def message(self, session: int, kind: str, message: bytes) -> None:
        raise AssertionError(message)

    def settled(self, ticket: int, outcome: Outcome) -> None:
        raise AssertionError(outcome)

    def changed(self, scope: str, key: str, event: bytes) -> None:
        raise AssertionError(event)

    def advanced(self) -> None:
        raise AssertionError("no feed was begun")

    def requested(self, exchange: ExchangeId, route: int, request: bytes, left_ms: int) -> None:
        raise AssertionError(request)

    def left(self, exchange: ExchangeId) -> None:
        raise AssertionError(exchange)

    def closed(self, session: int, worker_id: str, reason: str) -> None:
        """Echo connections may or may not count as sessions."""


async def serve(path: str) -> None:
    """Echoes what comes to connections of ``path``, until the process is ended."""
    backend = NativeBackend(Limits(), loops=1, echo_path=path)
    await backend.open()
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.serve, NoControl())
        listen: Any = partial(trio.serve_tcp, backend.accept, 0, host="127.0.0.1")
        (listener, *_) = await nursery.start(listen)
        host, port, *_ = listener.socket.getsockname()
        print(f"listening worker=ws://{host}:{port}", flush=True)


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
