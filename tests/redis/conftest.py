"""A Redis server and engines on it, shared by the tests of one process: use scopes of your own."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support.engine_process import EngineProcess
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis() -> Generator[RedisServer]:
    """The server; leave it running."""
    with RedisServer() as started:
        yield started


@pytest.fixture(scope="session")
def engine(redis: RedisServer) -> Generator[EngineProcess]:
    """An engine with one loop."""
    with redis.engine() as started:
        yield started


@pytest.fixture(scope="session")
def other(redis: RedisServer) -> Generator[EngineProcess]:
    """A second engine on the same server, with two loops."""
    with redis.engine("--loops", "2") as started:
        yield started
