"""Workers on each published SDK, connected to a running engine."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support import sdks
from tests.support.engine_process import EngineProcess
from tests.support.steered_worker import SteeredWorker


@pytest.fixture(scope="module", params=sdks.SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    """The name of a published SDK."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def worker(sdk: str, engine: EngineProcess) -> Generator[SteeredWorker]:
    """A worker on that SDK."""
    with sdks.worker(sdk, engine.url) as started:
        yield started
