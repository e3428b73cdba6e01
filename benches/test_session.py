"""A session, bytes to bytes: frames of gets and sets in, frames of results out, nothing else in between."""

from __future__ import annotations

from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import in_process, workloads
from benches.in_process import SESSIONS

KEYS: Final = 500
OPERATIONS: Final = list(workloads.operations(4_000, KEYS))
MESSAGES: Final = [workloads.invocation(operation, number) for number, operation in enumerate(OPERATIONS)]


@pytest.mark.parametrize("batch", [1, in_process.BATCH])
@pytest.mark.parametrize("backend", SESSIONS)
def test_gets_and_sets(benchmark: BenchmarkFixture, backend: str, batch: int) -> None:
    reads = in_process.reads(MESSAGES, batch)
    written = in_process.time_session(benchmark, backend, reads)
    assert in_process.digest(in_process.messages(written)) == in_process.digest(in_process.results(OPERATIONS))
