"""State that is kept in files: what it costs against state in memory, and what it promises about time and space."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final

from benches import disk, processes, workloads
from benches.disk import DataDirectory
from benches.measure import SETTLE_S, Bench, Contender, Row
from benches.processes import BenchError, Cores, Server
from benches.workloads import Workload

NATIVE: Final = "native"
MEMORY, ALWAYS, INTERVAL, NEVER = "memory", "always", "interval", "never"
DISK: Final = "the disk alone"
FREE_BYTES: Final = 8 * 10**9
WARM_S: Final = 0.2
FEW: Final = 1_000
"""A phase of fewer invocations has no 99th percentile to speak of."""


@contextmanager
def kept(bench: Bench, sync: str, name: str | None = None) -> Iterator[tuple[Server, DataDirectory]]:
    """A started engine that keeps its state in a new directory, with that level of ``sync``, its name by default."""
    with (
        _directory(bench, sync) as directory,
        processes.engine(NATIVE, bench.cores, *directory.arguments, name=name or sync, level=sync) as server,
    ):
        yield server, directory


def _directory(bench: Bench, sync: str) -> AbstractContextManager[DataDirectory]:
    free = shutil.disk_usage(bench.data).free
    if free < FREE_BYTES and not bench.scale.tiny:
        raise BenchError(f"{bench.data} has {free:,} bytes free, expected {FREE_BYTES:,}; choose another with --data")
    return disk.data_directory(bench.data, sync=sync, segment_bytes=_segment_bytes(bench))


def _segment_bytes(bench: Bench) -> int:
    return 1 << 20 if bench.scale.tiny else 64 << 20


def rate(bench: Bench) -> None:
    """Sets at every level of sync against sets in memory."""
    with ExitStack() as stack:
        memory = bench.contender(stack.enter_context(processes.engine(NATIVE, bench.cores, name=MEMORY)))
        servers = [stack.enter_context(kept(bench, sync))[0] for sync in (ALWAYS, INTERVAL, NEVER)]
        always, interval, never = (bench.contender(server) for server in servers)
        bench.take_turns(workloads.SETS_64X16, [memory, always])
        bench.ratio_row(workloads.SETS_64X16, ALWAYS, MEMORY, at_least=0.5)
        _one_by_one(bench, memory, always, awake=False)
        _one_by_one(bench, memory, always, awake=True)
        bench.take_turns(workloads.SETS_16X16, [memory, interval, never])
        bench.ratio_row(workloads.SETS_16X16, INTERVAL, MEMORY, at_least=0.8)
        bench.ratio_row(workloads.SETS_16X16, NEVER, MEMORY, at_least=None)


def _one_by_one(bench: Bench, memory: Contender, always: Contender, *, awake: bool) -> None:
    """One set at a time, beside the same appended and synced without an engine.

    How soon a processor hears that the disk is done may depend on what else wakes it (``awake_processors``).
    """
    name = f"{workloads.SETS_1X1.name}, processors {'awake' if awake else 'left alone'}"
    workload = replace(workloads.SETS_1X1, name=name)
    size = disk.batch_bytes(workload, bench.scope())
    with processes.awake_processors() if awake else nullcontext():
        bench.take_turns(workload, [memory, always, Contender(DISK, partial(_append_and_sync, bench, size))])
    results = bench.results
    own_us, disk_us = (results.median(name, one, "p50_us") for one in (ALWAYS, DISK))
    results.rows += [
        Row(f"{name}, {MEMORY}", results.median(name, MEMORY, "ops_per_second"), "sets/s"),
        Row(f"{name}, {ALWAYS}", results.median(name, ALWAYS, "ops_per_second"), "sets/s"),
        Row(f"{name}, {ALWAYS}, median", own_us, "us"),
        Row(f"{name}, {DISK}: append of {size} bytes and fdatasync, median", disk_us, "us"),
    ]


def _append_and_sync(bench: Bench, size: int, workload: Workload) -> dict[str, Any]:
    with processes.affinity(bench.cores.server):
        return disk.append_and_sync(bench.data / "append", size, seconds=bench.scale.seconds, ops=workload.ops)


def snapshot(bench: Bench) -> None:
    """Sets while a snapshot runs, against sets just before. The sets themselves cause the snapshots."""
    for sync in (ALWAYS, INTERVAL):
        workload = bench.scale.of(workloads.SETS_DURING_SNAPSHOTS)
        name = f"sets 16x1 of 4 KiB, {sync}"
        with kept(bench, sync) as (server, directory):
            bench.say(f"{name}: filling")
            with processes.phased_load(server, workload, bench.scope(), bench.cores) as load:
                for round_number in range(bench.scale.rounds):
                    before, during = _snapshot_round(bench, directory, load)
                    bench.results.add(name, "before", before)
                    bench.results.add(name, "snapshot", during)
                    one, two = (
                        f"{report['p99_us']:,.0f} us in {report['seconds']:.1f} s" for report in (before, during)
                    )
                    bench.say(f"{name}, round {round_number + 1}/{bench.scale.rounds}: p99 {one}, with snapshot {two}")
        ratio = bench.results.ratio(name, "snapshot", "before", "p99_us")
        bench.results.rows.append(Row(f"{name}, p99 in a snapshot of 1 GB / before", ratio, "x", "<=", 3))


def _snapshot_round(
    bench: Bench, directory: DataDirectory, load: processes.PhasedLoad
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reports of the time up to the next snapshot, and of that snapshot. Too short ones are let pass."""
    few, quiet_s, warm_s = (1, 0.0, 0.0) if bench.scale.tiny else (FEW, disk.QUIET_S, WARM_S)
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        # While nobody writes, so that the next one does not begin at once.
        with load.paused():
            directory.wait_for_snapshot(runs=False, quiet_s=5 * quiet_s)
        time.sleep(warm_s)
        load.end_phase()
        directory.wait_for_snapshot(runs=True)
        before = load.end_phase()
        directory.wait_for_snapshot(runs=False, quiet_s=quiet_s)
        during = load.end_phase()
        if before["ops"] >= few and during["ops"] >= few:
            return before, during
    raise BenchError(f"no snapshot within 600 s had {few} sets in it and as many before it")


def recovery(bench: Bench) -> None:
    """From the start of a killed engine's successor until it listens, on all processors; every entry is checked."""
    for fill in (workloads.GIGABYTE_OF_4_KIB, workloads.FIVE_MILLION):
        name, fill = f"recovery, {fill.name}", bench.scale.of(fill)
        scope = bench.scope()
        with _directory(bench, NEVER) as directory:
            with processes.engine(NATIVE, bench.cores, *directory.arguments, name=NEVER, killed=True) as server:
                bench.say(f"{name}: filling")
                bench.results.add(fill.name, NEVER, bench.load(server, fill, scope=scope))
            for round_number in range(bench.scale.rounds):
                with processes.engine(NATIVE, Cores(), *directory.arguments, killed=True) as server:
                    report = disk.report(fill.keys or 0, server.start_s, [])
                    bench.results.add(name, "start", report)
                    bench.say(f"{name}, round {round_number + 1}/{bench.scale.rounds}: {server.start_s:.2f} s")
                    check = bench.load(server, replace(fill, command="check"), scope=scope)
                    bench.results.add(name, "check", check)
        seconds = bench.results.median(name, "start", "seconds")
        bench.results.rows.append(Row(name, seconds, "s", "<=", 10))


def soak(bench: Bench) -> None:
    """Memory and disk while the same keys are overwritten for long, against what the entries themselves take."""
    for workload, most in ((workloads.SOAK_100_BYTES, 3.0), (workloads.SOAK_4_KIB, 1.3)):
        workload, scope = bench.scale.of(workload), bench.scope()
        live_bytes = workload.live_bytes(scope)
        with kept(bench, ALWAYS) as (server, directory):
            bench.say(f"{workload.name}: {bench.scale.soak_seconds:.0f} s")
            with disk.watched(directory, server) as largest:
                report = bench.load(
                    server, workload, "--progress-ms", "30000", scope=scope, seconds=bench.scale.soak_seconds
                )
            time.sleep(0 if bench.scale.tiny else SETTLE_S)
            rss_bytes = server.rss_bytes()
        bench.results.add(workload.name, ALWAYS, report)
        bound = 2 * live_bytes + _segment_bytes(bench)
        bench.results.rows += [
            Row(f"{workload.name}, RSS / live data", rss_bytes / live_bytes, "x", "<=", most),
            Row(f"{workload.name}, largest RSS / live data", largest.rss_bytes / live_bytes, "x"),
            Row(
                f"{workload.name}, largest disk use / (2 x live data + a segment)",
                largest.disk_bytes / bound,
                "x",
                "<=",
                1,
            ),
        ]


def scope(bench: Bench) -> None:
    """A set costs the same whether its scope holds 1 GB or nothing."""
    for sync in (MEMORY, ALWAYS):
        with ExitStack() as stack:
            if sync == MEMORY:
                server, directory = stack.enter_context(processes.engine(NATIVE, bench.cores, name=MEMORY)), None
            else:
                server, directory = stack.enter_context(kept(bench, sync))
            _compare_scopes(bench, server, directory)


FULL_SCOPE, EMPTY_SCOPE = "scope of 1 GB", "empty scope"


def _compare_scopes(bench: Bench, server: Server, directory: DataDirectory | None) -> None:
    fill, full = bench.scale.of(workloads.GIGABYTE_OF_4_KIB), bench.scope()
    workload = replace(workloads.SETS_16X16, name=f"sets 16x16 in scopes, {server.name}")
    bench.say(f"{workload.name}: filling")
    bench.results.add(fill.name, server.name, bench.load(server, fill, scope=full))
    if directory is not None:
        directory.wait_for_snapshot(runs=False, quiet_s=0 if bench.scale.tiny else SETTLE_S)
    fresh = iter(range(fill.keys or 0, 1 << 31, workload.keys or 1))

    def run(of: str | None, workload: Workload) -> dict[str, Any]:
        """Sets of keys that are in no scope yet."""
        return bench.load(server, replace(workload, first_key=next(fresh)), scope=of)

    bench.take_turns(workload, [Contender(FULL_SCOPE, partial(run, full)), Contender(EMPTY_SCOPE, partial(run, None))])
    results = bench.results
    by_rate = 1 / results.ratio(workload.name, FULL_SCOPE, EMPTY_SCOPE)
    by_cpu = results.ratio(workload.name, FULL_SCOPE, EMPTY_SCOPE, "server_cpu_us_per_op")
    for what, value in (("time", by_rate), ("CPU", by_cpu)):
        results.rows.append(Row(f"{workload.name}, {what} per set, 1 GB / empty", value, "x", "<=", 1.1))
