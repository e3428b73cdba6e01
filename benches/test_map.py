"""The map alone, one call from Python per operation, beside the dict of the reference backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import in_process, workloads
from iii_fast import _core
from iii_fast.contracts import Limits
from iii_fast.reference.log import Log
from iii_fast.reference.state import State
from iii_fast.reference.state_quotas import Quotas

OPERATIONS: Final = list(workloads.operations(10_000))
Step = tuple[str, str, str | None]
STEPS: Final[list[Step]] = [
    (operation.scope, operation.key, None if operation.value is None else operation.value.decode())
    for operation in OPERATIONS
]


def native_map() -> list[bytes | None]:
    """Every step on the Rust map; returns what the gets found."""
    state = _core.StateMap(Limits().stripes)
    found = []
    for scope, key, value in STEPS:
        if value is None:
            found.append(state.get(scope, key))
        else:
            state.set(scope, key, value)
    return found


def reference_map() -> list[bytes | None]:
    """Every step on the dict; returns what the gets found."""
    state = State(Log(0), Quotas(), lambda: 0, lambda scope, key, event: None)
    found = []
    for scope, key, value in STEPS:
        if value is None:
            entry = state.get(scope, key, 0)
            found.append(None if entry is None else entry.value.encode())
        else:
            batch = state.begin(0, durable=False)
            batch.set(scope, key, value, None)
            state.commit(batch)
    return found


def expected() -> list[bytes]:
    """What the gets must find; in this workload there always is a value."""
    before = in_process.values_read(OPERATIONS)
    return [value for operation, value in zip(OPERATIONS, before, strict=True) if operation.value is None]


@pytest.mark.parametrize("steps", [native_map, reference_map], ids=["native", "reference"])
def test_gets_and_sets(benchmark: BenchmarkFixture, steps: Callable[[], list[bytes | None]]) -> None:
    found = benchmark(steps)
    assert in_process.digest(value or b"nothing" for value in found) == in_process.digest(expected())


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
