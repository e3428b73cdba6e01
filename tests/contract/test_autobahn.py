"""The Autobahn WebSocket cases 1 to 7, 9 and 10 against the native backend's echo endpoint: all pass.

12 and 13 are about compression, which the engine does not negotiate; 8 does not exist.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import Any

import kosoku
import pytest

from tests.support.deadlines import START_S
from tests.support.engine_process import LISTENING
from tests.support.line_process import LineProcess

ECHO_PATH = "/echo"
COUNTS = {"1.*": 16, "2.*": 11, "3.*": 7, "4.*": 10, "5.*": 20, "6.*": 145, "7.*": 37, "9.*": 54, "10.*": 1}


@pytest.fixture(scope="module")
def echo_url() -> Generator[str]:
    """Where everything comes back."""
    with LineProcess([sys.executable, "-u", "-m", "tests.support.echo_server", ECHO_PATH]) as process:
        found = LISTENING.search(process.wait_for(lambda line: LISTENING.search(line) is not None, START_S))
        assert found is not None
        yield f"ws://{found[1]}:{found[2]}{ECHO_PATH}"


async def run(url: str, cases: str) -> Any:
    """The results in case order, passed or not; the fuzzing client runs on asyncio."""
    try:
        return await kosoku.run_fuzzingclient(url, [cases], concurrency=2)
    except kosoku.FailureError as failure:
        return failure.results


@pytest.mark.deadline(120)
@pytest.mark.parametrize("cases", COUNTS)
def test_autobahn(echo_url: str, cases: str) -> None:
    results = asyncio.run(run(echo_url, cases))
    assert len(results) == COUNTS[cases]
    assert [result for result in results if not result.passed] == []
    behaviours = {str(behaviour).split(".")[-1] for one in results for behaviour in (one.behavior, one.behavior_close)}
    assert behaviours <= {"OK", "INFORMATIONAL"}  # never merely "NON-STRICT"
