"""Clients that contend for a few keys at once and note everything they did in a history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count
from random import Random
from typing import Any, Final

import trio

from tests.support.pipelined import Lost, Pipelined, pipelined
from tests.support.state_spec import DELETE, GET, GET_MANY, SET, SWAP, TRANSACT, History

SCOPE: Final = "contended"
SINGLE: Final = (GET, SET, SWAP, SWAP, DELETE)
"""Functions of one key: their histories can be checked key by key."""
ALL: Final = (GET, SET, SWAP, SWAP, DELETE, TRANSACT, TRANSACT, GET_MANY)
CONNECTIONS: Final = 4
AT_ONCE: Final = 2
"""Calls under way on each connection."""


class Contenders:
    """Clients with a seed. What they have seen last goes into their conditions, so that some hold and some do not."""

    def __init__(self, seed: int, keys: Sequence[str], functions: Sequence[str]) -> None:
        self.history = History()
        self._random = Random(seed)
        self._keys = keys
        self._functions = functions
        self._values = count(1)

    async def run(
        self, address: tuple[str, int], calls: int, answered: Callable[[int], None] = lambda number: None
    ) -> None:
        """Makes ``calls`` calls, or fewer when the engine ends. ``answered`` hears each answer's number, from 1 on."""
        numbers, answers = iter(range(calls)), count(1)

        async def client(connection: Pipelined, random: Random) -> None:
            last: dict[str, tuple[Any, int | None]] = dict.fromkeys(self._keys, (None, None))
            try:
                for _ in numbers:
                    function_id, data = self._next(random, last)
                    called = self.history.call(function_id, data)
                    answer = await connection.call(function_id, _with_scope(data))
                    self.history.answered(called, answer)
                    _learn(last, function_id, data, answer)
                    answered(next(answers))
            except Lost:
                pass  # the history knows what is open

        async with AsyncExitStack() as stack:
            # All of them before the first call: whoever hears an answer may end the engine.
            connections = [await stack.enter_async_context(pipelined(address)) for _ in range(CONNECTIONS)]
            async with trio.open_nursery() as tasks:
                for connection in connections:
                    for _ in range(AT_ONCE):
                        tasks.start_soon(client, connection, Random(self._random.random()))

    async def look(self, address: tuple[str, int]) -> None:
        """One client reads every key: what an engine has after a restart becomes part of the history."""
        async with pipelined(address) as connection:
            for key in self._keys:
                called = self.history.call(GET, data := {"key": key, "meta": True})
                self.history.answered(called, await connection.call(GET, _with_scope(data)))

    def _next(self, random: Random, last: dict[str, tuple[Any, int | None]]) -> tuple[str, dict[str, Any]]:
        function_id = random.choice(self._functions)
        key = random.choice(self._keys)
        value, version = last[key]
        match function_id:
            case "state::get":
                return function_id, {"key": key, "meta": True}
            case "state::set":
                return function_id, {"key": key, "value": next(self._values)}
            case "state::delete":
                return function_id, {"key": key}
            case "state::compare-and-set":
                condition = random.choice([{"expected": value}, {"version": version}]) if version else {}
                return function_id, {"key": key, "value": next(self._values), **condition}
            case "state::get_many":
                return function_id, {"keys": [{"key": one} for one in self._keys], "meta": True}
        checks = [_check(random, one, last[one][1]) for one in random.sample(self._keys, random.randint(0, 2))]
        ops = [self._op(random, one) for one in random.choices(self._keys, k=random.randint(1, 3))]
        return TRANSACT, {"checks": checks, "ops": ops}

    def _op(self, random: Random, key: str) -> dict[str, Any]:
        if random.random() < 0.3:
            return {"type": "delete", "key": key}
        return {"type": "set", "key": key, "value": next(self._values)}


def _check(random: Random, key: str, version: int | None) -> dict[str, Any]:
    return {"key": key, "version": version} if version and random.random() < 0.8 else {"key": key, "absent": True}


def _with_scope(data: dict[str, Any]) -> dict[str, Any]:
    """As the call goes out: histories leave out the scope, which is the same everywhere."""
    lists = {name: [{"scope": SCOPE, **one} for one in data[name]] for name in ("checks", "ops") if name in data}
    return {"scope": SCOPE, **data, **lists}


def _learn(last: dict[str, tuple[Any, int | None]], function_id: str, data: dict[str, Any], answer: Any) -> None:
    match function_id:
        case "state::get":
            last[data["key"]] = (answer["value"], answer["version"]) if answer else (None, None)
        case "state::compare-and-set":
            last[data["key"]] = answer["current"], answer["version"]
        case "state::get_many":
            for one, entry in zip(data["keys"], answer["entries"], strict=True):
                last[one["key"]] = (entry["value"], entry["version"]) if entry else (None, None)
        case "state::transact" if answer["committed"] and answer["version"]:
            for op in data["ops"]:
                last[op["key"]] = (op["value"], answer["version"]) if op["type"] == "set" else (None, None)
