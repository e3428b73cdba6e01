"""Waiting for another process to get somewhere, where it gives no sign of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import trio

from tests.support.deadlines import ANSWER_S

T = TypeVar("T")
PAUSE_S = 0.02


def eventually(attempt: Callable[[], T], *, timeout_s: float = ANSWER_S) -> T:
    """What ``attempt`` returns once it no longer raises ``AssertionError``; its last error when time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return attempt()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)


async def until(wanted: Callable[[], bool]) -> None:
    """Returns when ``wanted`` holds; whoever calls bounds the time."""
    while not wanted():  # noqa: ASYNC110 - another process gives no sign
        await trio.sleep(PAUSE_S)
