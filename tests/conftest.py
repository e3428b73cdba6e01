"""Runs ``async def`` tests on Trio, and puts a deadline on every test.

Ask for time with an argument: ``autojump_clock`` or ``mock_clock`` give a virtual clock, otherwise time is real. Ask
for a parent of background tasks with ``nursery``: it is cancelled when the test body returns. May touch nothing else.
"""

from __future__ import annotations

import inspect
import signal
import traceback
from collections.abc import Generator
from functools import partial, wraps
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.engine_process import BACKENDS, EngineProcess

# A shell that starts the tests in the background has it ignored, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

DEADLINE_S = 30.0
CLOCK_FIXTURES = ("autojump_clock", "mock_clock")


@pytest.fixture
def autojump_clock() -> MockClock:
    """Virtual time that jumps to the next deadline as soon as every task waits."""
    return MockClock(autojump_threshold=0)


@pytest.fixture
def mock_clock() -> MockClock:
    """Virtual time that moves only by ``jump``."""
    return MockClock()


@pytest.fixture(scope="session")
def nursery() -> None:
    """Filled in by the runner: a nursery around the test body of an ``async def`` test."""


@pytest.fixture(scope="session", params=BACKENDS)
def engine(request: pytest.FixtureRequest) -> Generator[EngineProcess]:
    """A running engine of each backend, shared by tests: use unique names in it and leave it running."""
    with EngineProcess(request.param) as started:
        yield started


def _deadline_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("deadline")
    return float(marker.args[0]) if marker else DEADLINE_S


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives pytest-timeout the deadline too: it also ends tests that block the loop or run on virtual time."""
    for item in items:
        item.add_marker(pytest.mark.timeout(_deadline_s(item) + 5))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Replaces a coroutine function (also under ``hypothesis.given``) by one that runs it in ``trio.run``."""
    test = pyfuncitem.obj
    given = getattr(test, "hypothesis", None)
    body = given.inner_test if given else test
    if not inspect.iscoroutinefunction(body):
        return (yield)
    if given:
        given.inner_test = wraps(body)(_synchronous(pyfuncitem, body))
    else:
        pyfuncitem.obj = _synchronous(pyfuncitem, body)
    try:
        return (yield)
    finally:
        if given:
            given.inner_test = body
        else:
            pyfuncitem.obj = test


def _synchronous(item: pytest.Function, body: Any) -> Any:
    clock_name = next((name for name in CLOCK_FIXTURES if name in item.funcargs), None)
    # A virtual clock would jump straight to this deadline when a test hangs, which is what it should report.
    deadline_s = 1e6 if clock_name else _deadline_s(item)

    def run(*args: Any, **kwargs: Any) -> None:
        clock = item.funcargs[clock_name] if clock_name else None
        trio.run(partial(_run, partial(body, *args), deadline_s, kwargs), clock=clock)

    return run


async def _run(test: Any, deadline_s: float, kwargs: dict[str, Any]) -> None:
    where: list[str] = []
    with trio.move_on_after(deadline_s) as scope:
        try:
            await _call(test, kwargs)
        except BaseException as error:
            if scope.cancel_called:
                where = traceback.format_exception(error)
            raise
    if scope.cancelled_caught:
        pytest.fail(f"not done within {deadline_s} s; it was here:\n" + "".join(where), pytrace=False)


async def _call(test: Any, kwargs: dict[str, Any]) -> None:
    if "nursery" not in kwargs:
        await test(**kwargs)
        return
    async with trio.open_nursery() as nursery:
        await test(**(kwargs | {"nursery": nursery}))
        nursery.cancel_scope.cancel()
