"""Side by side with what people would otherwise run, with the bare limits, and with an engine that runs already.

Every row has the same payload, load and durability on both sides; all take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from benches import contenders, durability, processes, python_client, workloads
from benches.contenders import ALWAYS, GRANIAN, INTERVAL, MEMORY, NATS, REDIS, UVICORN
from benches.measure import Bench, Contender, Row
from benches.processes import Server
from benches.workloads import Workload

NATIVE, REFERENCE, ECHO, BARE_RELAY, RUNNING = "native", "reference", "echo", "bare relay", "running engine"

FEW: Final = 500
HTTP_TARGETS: Final = {GRANIAN: 2.0, REFERENCE: 20.0}

IN_MEMORY: Final = (
    workloads.STATE_1X1,
    workloads.STATE_ZIPF,
    workloads.STATE_HALF_SETS,
    workloads.STATE_1_KIB,
    workloads.LARGE_16_KIB,
    workloads.LARGE_1_MIB,
)


def stores(bench: Bench) -> None:
    """State against Redis and NATS KV: many shapes of load in memory, and sets at each level of durability."""
    with _stores(bench, MEMORY) as servers:
        for workload in IN_MEMORY:
            _compare(bench, workload, servers)
    for level in (INTERVAL, ALWAYS):
        with _stores(bench, level) as servers:
            for workload in (workloads.SETS_64X16, workloads.SETS_1X1):
                _compare(bench, workloads.at_level(workload, level), servers)


@contextmanager
def _stores(bench: Bench, level: str) -> Iterator[list[Server]]:
    """The native engine and every store that is installed, all at one level."""
    with ExitStack() as stack:
        if level == MEMORY:
            own = stack.enter_context(processes.engine(NATIVE, bench.cores))
        else:
            own = stack.enter_context(durability.kept(bench, level, name=NATIVE))[0]
        servers = [own]
        for name in bench.present([REDIS, NATS]):
            servers.append(stack.enter_context(contenders.STORES[name](bench.cores, bench.data, level)))
        yield servers


def _compare(bench: Bench, workload: Workload, servers: Sequence[Server]) -> None:
    """Rounds of a workload, and a row for the first server against each other one."""
    bench.take_turns(workload, [bench.contender(server) for server in servers])
    for other in servers[1:]:
        bench.ratio_row(workload, servers[0].name, other.name, at_least=None)


def curve(bench: Bench) -> None:
    """Throughput against latency, with more and more invocations in flight."""
    with _stores(bench, MEMORY) as servers, ExitStack() as stack:
        limits = [stack.enter_context(processes.serve(name, bench.cores)) for name in (ECHO, REFERENCE)]
        for workload in workloads.CURVE:
            _compare(bench, workload, [*servers, *limits])


def events(bench: Bench) -> None:
    """State triggers: from a set to the call of a function with the change."""
    with ExitStack() as stack:
        servers = [stack.enter_context(processes.engine(name, bench.cores)) for name in (NATIVE, REFERENCE)]
        for workload in (workloads.EVENTS_1X1, workloads.EVENTS_16X16):
            _compare(bench, workload, servers)


def http(bench: Bench) -> None:
    """A GET with one parameter to a worker in Rust; granian and uvicorn answer with the same bytes themselves."""
    with ExitStack() as stack:
        native = stack.enter_context(processes.engine(NATIVE, bench.cores, level=""))
        others = [stack.enter_context(contenders.HTTP[name](bench.cores)) for name in bench.present([GRANIAN, UVICORN])]
        others.append(stack.enter_context(processes.engine(REFERENCE, bench.cores, level="")))
        for workload in workloads.HTTP_GETS:
            bench.take_turns(workload, [bench.contender(server) for server in (native, *others)])
            for other in others:
                target = HTTP_TARGETS.get(other.name) if workload is workloads.HTTP_128 else None
                bench.ratio_row(workload, NATIVE, other.name, at_least=target)
        one, eight = (bench.results.median(workload.name, NATIVE, "p50_us") for workload in workloads.HTTP_GETS[:2])
        bench.results.rows.append(Row("http GET, native, p50 at 8 connections / at 1", eight / one, "x", "<=", 3))
        _routes(bench, native)


def _routes(bench: Bench, server: Server) -> None:
    """One route among a thousand, against the only one."""
    workload, among, alone = workloads.HTTP_ROUTES, "1,000 routes", "1 route"
    variants = {among: replace(workload, routes=1_000), alone: replace(workload, routes=1)}
    bench.take_turns(workload, _variants(bench, server, variants))
    bench.ratio_row(workload, among, alone, at_least=0.95)


def _variants(bench: Bench, server: Server, workloads: Mapping[str, Workload]) -> list[Contender]:
    """Contenders that all are one server, each under its own workload."""

    def run(own: Workload, _: Workload) -> dict[str, Any]:
        return bench.load(server, bench.scale.of(own))

    return [Contender(name, partial(run, own)) for name, own in workloads.items()]


def codecs(bench: Bench) -> None:
    """The same state calls in msgpack and in JSON: what they cost the engine, and a client in Python."""
    one, other = "msgpack", "json"

    def from_python(server: Server, codec: str, _: Workload) -> dict[str, Any]:
        ops = FEW if bench.scale.tiny else None
        with processes.affinity(bench.cores.load):
            return python_client.run(server.url, codec, bench.scope(), seconds=bench.scale.seconds, ops=ops)

    workload, python = workloads.STATE_CODECS, workloads.FROM_PYTHON
    with processes.engine(NATIVE, bench.cores) as server:
        variants = {name: replace(workload, codec=name) for name in (one, other)}
        bench.take_turns(workload, _variants(bench, server, variants))
        bench.take_turns(python, [Contender(name, partial(from_python, server, name)) for name in (one, other)])
    bench.ratio_row(workload, one, other, at_least=None)
    bench.ratio_row(python, one, other, at_least=None)
    for load, whose, member, target in (
        (workload, "engine", "server_cpu_us_per_op", 0.9),
        (python, "client", "generator_cpu_us_per_op", None),
    ):
        ratio = bench.results.ratio(load.name, one, other, member)
        what = f"{load.name}, processor time of the {whose}, {one} / {other}"
        bench.results.rows.append(Row(what, ratio, "x", "<=", target))


def lists(bench: Bench) -> None:
    """All values of a scope."""
    with ExitStack() as stack:
        servers = [stack.enter_context(processes.engine(name, bench.cores)) for name in (NATIVE, REFERENCE)]
        for workload in (workloads.LIST_100, workloads.LIST_10_000):
            _compare(bench, workload, servers)


def relay(bench: Bench) -> None:
    """Calls from worker to worker, against the reference and against passing on bytes."""
    workload = workloads.RELAY_16X16
    with ExitStack() as stack:
        servers = [stack.enter_context(processes.engine(name, bench.cores)) for name in (NATIVE, REFERENCE)]
        pairs = bench.scale.of(workload).connections
        servers.append(stack.enter_context(processes.bare_relay(bench.cores, pairs)))
        bench.take_turns(workload, [bench.contender(server) for server in servers])
    bench.ratio_row(workload, NATIVE, REFERENCE, at_least=15)
    bench.ratio_row(workload, NATIVE, BARE_RELAY, at_least=0.6)


def running(bench: Bench) -> None:
    """A running engine, that of ``--engine``, against the native one of this checkout with state in memory."""
    if bench.engine is None:
        raise ValueError("there is no running engine to compare with")
    other = Server(RUNNING, bench.engine, None, level="as configured")
    with processes.engine(NATIVE, bench.cores) as native:
        for workload in workloads.RUNNING:
            bench.take_turns(workload, [bench.contender(other), bench.contender(native)])
            bench.ratio_row(workload, RUNNING, NATIVE, at_least=None)
