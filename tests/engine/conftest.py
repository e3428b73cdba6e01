"""Engines inside the test's own Trio loop: on real backends, or on a fake one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio

from iii_fast.config import HttpSettings, Settings
from iii_fast.contracts import Backend, Storage
from iii_fast.engine import Address, Bound, Engine

LOCAL = Settings(port=0, http=HttpSettings(port=0), storage=Storage())
"""Free ports, and state in memory."""


@dataclass
class Running:
    """A started engine; ``ended`` is set when ``serve`` has returned."""

    engine: Engine
    bound: Bound
    ended: trio.Event

    @property
    def worker(self) -> Address:
        return self.bound.worker[0]

    @property
    def http(self) -> Address:
        return self.bound.http[0]


@asynccontextmanager
async def running(settings: Settings = LOCAL, backend: Backend | None = None) -> AsyncIterator[Running]:
    """Starts an engine and cancels it at the end if it still runs."""
    async with trio.open_nursery() as nursery:
        engine = Engine(settings, backend)
        ended = trio.Event()

        async def serve(*, task_status: trio.TaskStatus[Bound]) -> None:
            await engine.serve(task_status=task_status)
            ended.set()

        bound = await nursery.start(serve)
        yield Running(engine, bound, ended)
        nursery.cancel_scope.cancel()


StartEngine = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(params=["reference", "native"])
def start(request: pytest.FixtureRequest) -> StartEngine:
    """Starts an engine on each real backend; keyword arguments change its settings."""

    def start_one(**changes: Any) -> AbstractAsyncContextManager[Running]:
        return running(replace(LOCAL, backend=request.param, **changes))

    return start_one
