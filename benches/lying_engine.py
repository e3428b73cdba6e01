"""An engine for state and worker-to-worker calls that lies now and then: the checker of the load generator must notice.

``python -m benches.lying_engine LIE`` serves on a port of the system's choice until it is ended.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

import trio
from trio_websocket import ConnectionClosed, serve_websocket

Answer: TypeAlias = dict[str, Any]
Send: TypeAlias = Callable[[Answer], Awaitable[None]]
EVERY: Final = 50
LATE_S: Final = 1.5


def compact(message: Any) -> str:
    """The layout of both backends."""
    return json.dumps(message, separators=(",", ":"))


def spacious(message: Answer) -> str:
    """The envelope backwards and with white space; payloads stay as they came, as the wire demands."""
    members = (f'"{name}" :\n {compact(value)}' for name, value in reversed(message.items()))
    return f" {{ {' , '.join(members)} }} "


async def honest(send: Send, answer: Answer, former: Answer) -> None:
    """The truth."""
    await send(answer)


async def stale(send: Send, answer: Answer, former: Answer) -> None:
    """The result of the answer before."""
    await send(answer | {"result": former["result"]})


async def flipped(send: Send, answer: Answer, former: Answer) -> None:
    """One letter of the result is another one."""
    text = json.dumps(answer["result"], separators=(",", ":"))
    await send(answer | {"result": json.loads(text[:-4] + ("a" if text[-4] != "a" else "b") + text[-3:])})


async def renamed(send: Send, answer: Answer, former: Answer) -> None:
    """An id that nobody asked for."""
    await send(answer | {"invocation_id": "00000000-0000-4000-8000-00000000abcd"})


async def silent(send: Send, answer: Answer, former: Answer) -> None:
    """Nothing."""


async def twice(send: Send, answer: Answer, former: Answer) -> None:
    """The same again."""
    await send(answer)
    await send(answer)


async def failing(send: Send, answer: Answer, former: Answer) -> None:
    """An error instead of the result."""
    del answer["result"]
    await send(answer | {"error": {"code": "internal_error", "message": "no"}})


LIES: Final = {lie.__name__: lie for lie in (honest, stale, flipped, renamed, silent, twice, failing)}
LAYOUTS: Final[dict[str, Callable[[Answer], str]]] = {"spacious": spacious}


class LyingEngine:
    """Answers truthfully, and every ``EVERY``-th time with the lie. ``late`` is an honest answer after ``LATE_S``."""

    def __init__(self, lie: str, nursery: trio.Nursery) -> None:
        self.lie = lie
        self.nursery = nursery
        self.write: Callable[[Answer], str] = LAYOUTS.get(lie, compact)
        self.values: dict[str, Any] = {}
        self.workers: dict[str, Any] = {}
        self.callers: dict[str, Any] = {}
        self.former: Answer = {"result": None}
        self.count = itertools.count(1)

    async def serve(self, request: Any) -> None:
        """One connection."""
        connection = await request.accept()
        await connection.send_message(compact({"type": "workerregistered", "worker_id": "w"}))
        try:
            while True:
                await self.serve_message(connection, json.loads(await connection.get_message()))
        except ConnectionClosed:
            return

    async def serve_message(self, connection: Any, message: Any) -> None:
        """One message."""
        match message["type"]:
            case "registerfunction":
                self.workers[message["id"]] = connection
            case "invokefunction" if message["function_id"] in self.workers:
                self.callers[message["invocation_id"]] = connection
                await self.workers[message["function_id"]].send_message(self.write(message))
            case "invokefunction":
                await self.answer(connection, message, self.state(message["function_id"], message["data"]))
            case "invocationresult":
                caller = self.callers.pop(message["invocation_id"])
                await self.answer(caller, message, message["result"])

    def state(self, function_id: str, data: Any) -> Any:
        """``state::get`` and ``state::set``."""
        old = self.values.get(data["key"])
        if function_id == "state::get":
            return old
        self.values[data["key"]] = data["value"]
        return {"old_value": old, "new_value": data["value"]}

    async def answer(self, caller: Any, message: Any, result: Any) -> None:
        """Tells the truth, or lies."""
        ids = {name: message[name] for name in ("invocation_id", "function_id")}
        answer = {"type": "invocationresult", **ids, "result": result}
        lying = next(self.count) % EVERY == 0
        if lying and self.lie == "late":
            self.nursery.start_soon(self.answer_late, caller, answer)
        else:
            lie = LIES.get(self.lie, honest) if lying else honest
            await lie(lambda answer: caller.send_message(self.write(answer)), dict(answer), self.former)
        self.former = answer

    async def answer_late(self, caller: Any, answer: Answer) -> None:
        """The truth, too late."""
        await trio.sleep(LATE_S)
        await caller.send_message(self.write(answer))


async def main(lie: str) -> None:
    """Serves until cancelled."""
    async with trio.open_nursery() as nursery:
        engine = LyingEngine(lie, nursery)
        server = await nursery.start(partial(serve_websocket, engine.serve, "127.0.0.1", 0, ssl_context=None))
        print(f"listening worker=ws://127.0.0.1:{server.port}", flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
