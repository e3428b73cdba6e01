"""A bench to try one trigger type on: a fake backend, the real broker, and a clock that Trio's virtual time drives."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from iii_fast.broker import Broker, Function
from iii_fast.contracts import Outcome, Trigger, TriggerType
from tests.engine.fake_backend import FakeBackend


class VirtualClock:
    """Wall time that starts at ``start`` and moves with Trio's clock; ``shift`` sets it, as an administrator would."""

    def __init__(self, start: float) -> None:
        self.offset = start - trio.current_time()

    def now(self) -> float:
        return trio.current_time() + self.offset

    def monotonic(self) -> float:
        return trio.current_time()

    async def sleep_until_wall(self, unix_time: float) -> None:
        await trio.lowlevel.checkpoint()
        while (left := unix_time - self.now()) > 0:  # noqa: ASYNC110 - this is what the method is for
            await trio.sleep(left)


class BrokerControl:
    """The part of ``Control`` that trigger types need."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def settled(self, ticket: int, outcome: Outcome) -> None:
        self._broker.settled(ticket, outcome)


@asynccontextmanager
async def draining(kind: TriggerType) -> AsyncGenerator[trio.Event]:
    """Drains ``kind`` meanwhile; the event says that it is done. Does not end before."""
    drained = trio.Event()

    async def drain() -> None:
        await kind.drain()
        drained.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        yield drained


def make(functions: dict[str, Function] | None = None) -> tuple[FakeBackend, Broker]:
    """A fake backend and the broker above it."""
    backend = FakeBackend()
    broker = Broker(backend, functions or {})
    backend.control = BrokerControl(broker)  # type: ignore[assignment]
    return backend, broker


def trigger(kind: str, config: Any, function_id: str = "f", trigger_id: str = "t", **fields: Any) -> Trigger:
    """A trigger as the registry binds it."""
    return Trigger(trigger_id, kind, function_id, config, fields.pop("session", 1), **fields)


def returns(value: Any) -> Callable[[bytes], bytes]:
    """A scripted function with a fixed result."""
    return lambda data: json.dumps(value).encode()
