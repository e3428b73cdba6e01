"""The map alone, one call from Python per operation, beside the dict of the reference backend."""

from __future__ import annotations

from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import in_process, workloads
from benches.in_process import MAPS
from iii_fast import _core
from iii_fast.contracts import Limits

OPERATIONS: Final = list(workloads.operations(10_000))


@pytest.mark.parametrize("backend", MAPS)
def test_gets_and_sets(benchmark: BenchmarkFixture, backend: str) -> None:
    found = benchmark(MAPS[backend], in_process.steps(OPERATIONS))
    assert in_process.digest(value or b"nothing" for value in found) == in_process.digest(
        in_process.found_by(OPERATIONS)
    )


def test_list_of_a_scope(benchmark: BenchmarkFixture) -> None:
    state = _core.StateMap(Limits().stripes)
    for number in range(1_000):
        state.set("bench", workloads.key(number), workloads.value(number, 0).decode())
    found = benchmark(state.list, "bench")
    assert in_process.digest(found) == in_process.digest(workloads.value(number, 0) for number in range(1_000))


def test_delete_from_a_large_scope(benchmark: BenchmarkFixture) -> None:
    keys = [workloads.key(number) for number in range(20_000)]

    def filled() -> _core.StateMap:
        state = _core.StateMap(Limits().stripes)
        for key in keys:
            state.set("bench", key, f'"{key}"')
        return state

    def delete_every_other(state: _core.StateMap) -> list[bytes]:
        assert all(state.delete("bench", key) for key in keys[::2])
        return state.list("bench")

    left = in_process.timed(benchmark, filled, delete_every_other, rounds=10)
    assert in_process.digest(left) == in_process.digest(f'"{key}"'.encode() for key in keys[1::2])
