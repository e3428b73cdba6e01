"""JSON at the door: a value is validated once, kept as its text, and comes back as that text; per shape of value."""

from __future__ import annotations

import json
import random
from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import in_process, workloads
from benches.in_process import SESSIONS
from benches.workloads import SCOPE, SEED, Operation
from iii_fast.protocol import JSON_DEPTH_MAX

REPEATS: Final = 64


def _numbers() -> bytes:
    numbers = random.Random(SEED)
    return json.dumps([numbers.uniform(-1e9, 1e9) for _ in range(1_000)]).encode()


def _objects() -> bytes:
    rows = [{"id": number, "name": f"row {number}", "tags": ["a", "b"], "on": number % 2 == 0} for number in range(200)]
    return json.dumps(rows, indent=1).encode()


_NESTED: Final = JSON_DEPTH_MAX - 10
SHAPES: Final = {
    "small object": workloads.value(1, 1),
    "long string": b'"' + b"x" * 16_384 + b'"',
    "escapes": json.dumps('"\\\n\u00e9\U0001f600' * 500).encode(),
    "beyond ASCII": json.dumps("\u00e9\u4e16\U0001f600" * 1_000, ensure_ascii=False).encode(),
    "numbers": _numbers(),
    "objects with white space": _objects(),
    "deeply nested": b"[" * _NESTED + b"1" + b"]" * _NESTED,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", SESSIONS)
def test_a_value_in_and_out(benchmark: BenchmarkFixture, backend: str, shape: str) -> None:
    operations = [Operation(SCOPE, "key", SHAPES[shape] if number % 2 == 0 else None) for number in range(REPEATS)]
    reads = in_process.reads([workloads.invocation(operation, number) for number, operation in enumerate(operations)])
    written = in_process.time_session(benchmark, backend, reads)
    assert in_process.digest(in_process.messages(written)) == in_process.digest(in_process.results(operations))
