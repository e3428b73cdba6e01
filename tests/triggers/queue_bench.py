"""A bench for queues: the trigger type above a fake backend, and short words for what its tests do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import trio

from iii_fast.config import QueueConfig, QueueSettings
from iii_fast.errors import WireError
from iii_fast.triggers.queue import QueueTrigger
from iii_fast.triggers.queue_jobs import JobQueue
from tests.engine.fake_backend import FakeBackend
from tests.triggers.bench import VirtualClock, make, trigger


@asynccontextmanager
async def queue(**queues: QueueConfig) -> AsyncIterator[tuple[FakeBackend, QueueTrigger]]:
    """The trigger type on virtual time, with named queues by name."""
    backend, broker = make()
    kind = QueueTrigger(broker, VirtualClock(0), QueueSettings(queue_configs=MappingProxyType(queues)))
    async with trio.open_nursery() as nursery:
        await nursery.start(kind.run)
        yield backend, kind
        nursery.cancel_scope.cancel()


def subscribe(topic: str = "news", function_id: str = "f", trigger_id: str = "t", **more: Any) -> Any:
    """A trigger of one function for one topic."""
    metadata = more.pop("metadata", None)
    return trigger("queue", {"topic": topic, **more}, function_id, trigger_id, metadata=metadata)


def publish(kind: QueueTrigger, *values: Any, topic: str = "news") -> None:
    """Publishes values as JSON."""
    for value in values:
        kind.publish(topic, json.dumps(value).encode())


def values(backend: FakeBackend, function_id: str | None = "f") -> list[Any]:
    """What a function was called with so far."""
    return [one.value for one in backend.invocations_of(function_id)]


def fails(times: int) -> Any:
    """A function that fails the first times it is called."""
    left = [times]

    def script(data: bytes) -> bytes | WireError:
        left[0] -= 1
        return WireError("boom", "it broke") if left[0] >= 0 else b"null"

    return script


def named(kind: QueueTrigger, name: str = "default") -> JobQueue:
    """A named queue."""
    return kind._queues[name]


def lane(kind: QueueTrigger, function_id: str = "f") -> JobQueue:
    """The queue of one function's jobs from the topic ``news``."""
    return kind._topics["news"].lanes[function_id].queue
