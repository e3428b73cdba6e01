"""The benchmarks by name, each with the targets it must reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benches import comparisons, durability, layers, processes, workloads
from benches.measure import Bench

NATIVE, REFERENCE, ECHO = "native", "reference", "echo"


def state(bench: Bench) -> None:
    """Gets and sets, in four shapes of load."""
    bench.compare(workloads.STATE_16X16, (NATIVE, REFERENCE, ECHO))
    bench.ratio_row(workloads.STATE_16X16, NATIVE, REFERENCE, at_least=40)
    bench.ratio_row(workloads.STATE_16X16, NATIVE, ECHO, at_least=0.7)
    bench.compare(workloads.STATE_1X1_BARE, (NATIVE, ECHO))
    bench.ratio_row(workloads.STATE_1X1_BARE, NATIVE, ECHO, at_least=0.9)
    bench.compare(workloads.STATE_16X1, (NATIVE, REFERENCE, ECHO))
    bench.ratio_row(workloads.STATE_16X1, NATIVE, REFERENCE, at_least=4)
    bench.compare(workloads.STATE_256X1, (NATIVE, REFERENCE, ECHO))
    bench.ratio_row(workloads.STATE_256X1, NATIVE, REFERENCE, at_least=10)
    bench.ratio_row(workloads.STATE_256X1, NATIVE, ECHO, at_least=0.9)


def unanswered(bench: Bench) -> None:
    """No call is ever left without an answer."""
    for loops in (1, 2):
        bench.unanswered_row(workloads.RELAY_TEN_MILLION, loops)


def memory(bench: Bench) -> None:
    """What keys and idle connections cost."""
    bench.fill_row(workloads.FILL_MILLION, most_mb=300)
    bench.idle_row(workloads.IDLE, "idle connection", most_kib=1)
    bench.idle_row(workloads.IDLE_HTTP, "idle http connection", most_kib=4)


def large(bench: Bench) -> None:
    """Large values. The bare echo writes as many bytes from as much memory without copying them."""
    bench.compare(workloads.GETS_16_KIB, (NATIVE, ECHO))
    bench.ratio_row(workloads.GETS_16_KIB, NATIVE, ECHO, at_least=0.8)
    bench.compare(workloads.GETS_1_MIB, (NATIVE, ECHO))
    bench.ratio_row(workloads.GETS_1_MIB, NATIVE, ECHO, at_least=0.9)
    bench.compare(workloads.LARGE_16_KIB, (NATIVE, REFERENCE))
    bench.compare(workloads.LARGE_1_MIB, (NATIVE, REFERENCE))


def older(bench: Bench) -> None:
    """State in memory costs what it cost in an older build, that of ``--against``."""
    if bench.against is None:
        raise ValueError("there is no older build to compare with")
    with processes.engine(NATIVE, bench.cores) as now, processes.older_engine(bench.against, bench.cores) as before:
        bench.take_turns(workloads.STATE_16X16_OLDER, [bench.contender(now), bench.contender(before)])
        bench.ratio_row(workloads.STATE_16X16_OLDER, now.name, before.name, at_least=0.9)


OLDER, RUNNING = "older", "running"
DURABLE: Final[dict[str, Callable[[Bench], None]]] = {
    "durable-rate": durability.rate,
    "durable-snapshot": durability.snapshot,
    "durable-recovery": durability.recovery,
    "durable-soak": durability.soak,
    "durable-scope": durability.scope,
    OLDER: older,
}
SUITE: Final[dict[str, Callable[[Bench], None]]] = {
    "layers": layers.layers,
    "state": state,
    "list": comparisons.lists,
    "codecs": comparisons.codecs,
    "stores": comparisons.stores,
    "curve": comparisons.curve,
    "http": comparisons.http,
    "relay": comparisons.relay,
    "events": comparisons.events,
    "unanswered": unanswered,
    "memory": memory,
    "large": large,
    RUNNING: comparisons.running,
    **DURABLE,
}
GROUPS: Final = {"durable": list(DURABLE)}
"""Names for several."""
