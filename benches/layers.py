"""The layers below the sockets, in this process and without a load generator: the map, and a session bytes to bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benches import disk, in_process, processes, workloads
from benches.measure import Bench, Contender
from benches.workloads import Operation, Workload

OPERATIONS: Final = 10_000
FEW: Final = 200
BACKENDS: Final = ("native", "reference")


@dataclass(frozen=True, slots=True)
class Layer:
    """How operations go through one backend (``prepare`` makes a pass of all of them), and what must come out.

    ``answers`` reads what the pass returned, ``expected`` asks the model.
    """

    prepare: Callable[[str, Sequence[Operation]], Callable[[], list[Any]]]
    answers: Callable[[list[Any]], list[bytes]]
    expected: Callable[[Sequence[Operation]], list[bytes]]


def _map(backend: str, operations: Sequence[Operation]) -> Callable[[], list[Any]]:
    return partial(in_process.MAPS[backend], in_process.steps(operations))


def _session(backend: str, operations: Sequence[Operation]) -> Callable[[], list[Any]]:
    session = in_process.SESSIONS[backend]()
    reads = in_process.reads(workloads.invocation(one, number) for number, one in enumerate(operations))
    return lambda: [session.feed(read) for read in reads]


LAYERS: Final = {
    workloads.MAP: Layer(_map, lambda found: [value or b"nothing" for value in found], in_process.found_by),
    workloads.SESSION: Layer(_session, in_process.messages, in_process.results),
}


def layers(bench: Bench) -> None:
    """The map alone, and a session bytes to bytes, in this process: native against reference."""
    operations = list(workloads.operations(FEW if bench.scale.tiny else OPERATIONS))
    for workload, layer in LAYERS.items():
        bench.take_turns(
            workload, [Contender(name, partial(_timed, bench, layer, name, operations)) for name in BACKENDS]
        )
        bench.ratio_row(workload, *BACKENDS, at_least=None)


def _timed(bench: Bench, layer: Layer, backend: str, operations: Sequence[Operation], _: Workload) -> dict[str, Any]:
    """Passes for as long as a measurement takes, at least one; making ready and comparing are not timed."""
    expected = in_process.digest(layer.expected(operations))
    took, passes, wrong = 0.0, 0, 0
    with processes.affinity(bench.cores.server):
        while passes == 0 or (took < bench.scale.seconds and not bench.scale.tiny):
            run = layer.prepare(backend, operations)
            begin = time.perf_counter()
            found = run()
            took += time.perf_counter() - begin
            passes += 1
            wrong += in_process.digest(layer.answers(found)) != expected
    samples = [f"{wrong} of {passes} passes had other answers than a dict"] if wrong else []
    return disk.report(len(operations) * passes, took, []) | {"errors": wrong, "error_samples": samples}
