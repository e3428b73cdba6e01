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
OTHER_SHAPES: Final = {
    "zipf": list(workloads.operations(4_000, KEYS, draw="zipf")),
    "half sets, zipf": list(workloads.operations(4_000, KEYS, get_percent=50, draw="zipf")),
    "1 KiB": list(workloads.operations(1_000, 100, size=1 << 10)),
    "16 KiB": list(workloads.operations(200, 20, size=16 << 10)),
    "1 MiB": list(workloads.operations(16, 2, size=1 << 20)),
}


@pytest.mark.parametrize("batch", [1, in_process.BATCH])
@pytest.mark.parametrize("backend", SESSIONS)
def test_gets_and_sets(benchmark: BenchmarkFixture, backend: str, batch: int) -> None:
    reads = in_process.reads(MESSAGES, batch)
    written = in_process.time_session(benchmark, backend, reads)
    assert in_process.digest(in_process.messages(written)) == in_process.digest(in_process.results(OPERATIONS))


@pytest.mark.parametrize("shape", OTHER_SHAPES)
@pytest.mark.parametrize("backend", SESSIONS)
def test_other_shapes_of_load(benchmark: BenchmarkFixture, backend: str, shape: str) -> None:
    operations = OTHER_SHAPES[shape]
    batch = 1 if shape == "1 MiB" else in_process.BATCH  # sixteen answers would be more than an outbox may hold
    messages = [workloads.invocation(operation, number) for number, operation in enumerate(operations)]
    reads = in_process.reads(messages, batch)
    written = in_process.time_session(benchmark, backend, reads)
    assert in_process.digest(in_process.messages(written)) == in_process.digest(in_process.results(operations))
