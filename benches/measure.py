"""Interleaved rounds and what they come to: samples, medians, and the rows of the table with their targets."""

from __future__ import annotations

import itertools
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from benches import contenders, processes, workloads
from benches.processes import BenchError, Cores, Server
from benches.workloads import Workload

SETTLE_S: Final = 1.0
"""Time for an engine to finish what the last connection left to do, before its memory is read."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. ``tiny`` shrinks the workloads; their numbers mean nothing then."""

    rounds: int
    seconds: float
    soak_seconds: float
    tiny: bool = False

    def of(self, workload: Workload) -> Workload:
        """The workload at this scale."""
        return workload.tiny() if self.tiny else workload


FULL: Final = Scale(rounds=5, seconds=3.0, soak_seconds=600.0)
QUICK: Final = Scale(rounds=1, seconds=0.2, soak_seconds=0.2, tiny=True)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who takes turns in a comparison: ``name`` in the tables, and how it makes one report of the workload.

    ``level`` is what a write has come to when it is answered (``Server.level``).
    """

    name: str
    run: Callable[[Workload], dict[str, Any]]
    level: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of targets. ``bound`` is ``">="`` or ``"<="``; without a ``target`` it is for reading only.

    ``by_cpu`` is the same ratio, of processor time per operation instead of operations per second. ``level`` is the
    durability of the writes in it.
    """

    what: str
    value: float
    unit: str
    bound: str = ">="
    target: float | None = None
    by_cpu: float | None = None
    level: str = ""

    @property
    def reached(self) -> bool:
        """Whether the target is met, if there is one."""
        if self.target is None:
            return True
        return self.value >= self.target if self.bound == ">=" else self.value <= self.target


@dataclass(slots=True)
class Results:
    """Everything that was measured. ``samples``: (workload, server) to the generator's reports, a round each.

    ``levels``: the same to the durability of its writes. ``missing``: who could not take part, and why.
    """

    samples: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    levels: dict[tuple[str, str], str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, workload: str, server: str, report: dict[str, Any]) -> None:
        """Keeps one report, and what was wrong in it."""
        self.samples.setdefault((workload, server), []).append(report)
        for count, samples in (("errors", "error_samples"), ("unanswered", "unanswered_ids")):
            if report[count]:
                self.faults.append(f"{workload} on {server}: {report[count]} {count}, such as {report[samples][0]}")

    def of(self, workload: str, server: str, member: str) -> list[float]:
        """One member of all reports, in the order of the rounds."""
        return [float(report.get(member, 0.0)) for report in self.samples[workload, server]]

    def median(self, workload: str, server: str, member: str) -> float:
        """The median over the rounds."""
        return median(self.of(workload, server, member))

    def ratio(self, workload: str, server: str, other: str, member: str = "ops_per_second") -> float:
        """Median over the rounds of ``member`` of ``server`` by that of ``other`` in the same round."""
        pairs = zip(self.of(workload, server, member), self.of(workload, other, member), strict=True)
        return median(one / two if two else 0.0 for one, two in pairs)


class Bench:
    """Makes measurements at one scale into ``results``; says on standard error what it is doing.

    Files that are measured lie below ``data``. ``against`` is the checkout of an older build, ``engine`` the address of
    a running engine, if one is compared with.
    """

    def __init__(
        self, scale: Scale, cores: Cores, data: Path, against: Path | None = None, engine: str | None = None
    ) -> None:
        self.scale = scale
        self.cores = cores
        self.data = data
        self.against = against
        self.engine = engine
        self.results = Results()
        self._scopes = itertools.count()
        self._run = secrets.token_hex(3)

    def say(self, text: str) -> None:
        """One line of progress."""
        print(text, file=sys.stderr, flush=True)

    def scope(self) -> str:
        """A new scope, also in an engine that was measured before; the echo's answers need names of constant length."""
        return f"{workloads.SCOPE}-{self._run}-{next(self._scopes):04d}"

    def compare(self, workload: Workload, servers: Sequence[str]) -> None:
        """Rounds of one workload on freshly started servers."""
        with ExitStack() as stack:
            started = [stack.enter_context(processes.serve(name, self.cores)) for name in servers]
            self.take_turns(workload, [self.contender(server) for server in started])

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of the contenders that are installed; the others are named in the report."""
        for name in names:
            reason = contenders.missing(name)
            if reason is not None and reason not in self.results.missing:
                self.say(f"missing: {reason}")
                self.results.missing.append(reason)
        return [name for name in names if contenders.missing(name) is None]

    def contender(self, server: Server) -> Contender:
        """A server as a contender: each turn is the workload in a new scope."""
        return Contender(server.name, partial(self.load, server), server.level)

    def take_turns(self, workload: Workload, rivals: Sequence[Contender]) -> None:
        """Interleaved rounds of one workload; every round begins with another contender."""
        workload = self.scale.of(workload)
        self.results.levels |= {(workload.name, one.name): one.level for one in rivals if one.level}
        for round_number in range(self.scale.rounds):
            shift = round_number % len(rivals)
            for one in [*rivals[shift:], *rivals[:shift]]:
                report = one.run(workload)
                self.results.add(workload.name, one.name, report)
                self.say(
                    f"{workload.name}, round {round_number + 1}/{self.scale.rounds}, {one.name}: "
                    f"{report['ops_per_second']:,.0f}/s, generator {report['generator_busy']:.0%} busy"
                )

    def load(
        self,
        server: Server,
        workload: Workload,
        *extra: str,
        scope: str | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """The report of one load, of ``seconds`` instead of the usual ones, in a new scope instead of ``scope``."""
        seconds = self.scale.seconds if seconds is None else seconds
        timed = ("--seconds", str(seconds)) if workload.timed else ("--warmup-ms", "0") if self.scale.tiny else ()
        return processes.run_load(
            server, workload, scope or self.scope(), self.cores, (*timed, *extra), timeout_s=600 + seconds
        )

    def ratio_row(self, workload: Workload, server: str, other: str, at_least: float | None) -> None:
        """A row of the table from rounds in which both took turns."""
        ratio = self.results.ratio(workload.name, server, other)
        own, others = (self.results.median(workload.name, name, "server_cpu_us_per_op") for name in (server, other))
        by_cpu = others / own if own else None
        level = self.results.levels.get((workload.name, server), "")
        self.results.rows.append(Row(f"{workload.name}, {server} / {other}", ratio, "x", ">=", at_least, by_cpu, level))

    def unanswered_row(self, workload: Workload, loops: int) -> None:
        """Worker-to-worker calls without pinning: how many of them were never answered."""
        workload = replace(self.scale.of(workload), name=f"{workload.name}, --loops {loops}")
        unpinned = Cores()
        with processes.engine("native", unpinned, "--loops", str(loops)) as server:
            self.say(f"{workload.name}: {workload.ops:,} calls")
            progress = ("--progress-ms", "5000")
            report = processes.run_load(server, workload, self.scope(), unpinned, progress, timeout_s=3600)
        self.results.add(workload.name, server.name, report)
        if report["ops"] + report["unanswered"] != workload.ops:
            raise BenchError(f"{workload.name}: {report['ops']} calls were made instead of {workload.ops}")
        self.results.rows.append(Row(f"{workload.name}, unanswered", report["unanswered"], "calls", "<=", 0))

    def fill_row(self, workload: Workload, most_mb: float) -> None:
        """Memory of the whole engine process that holds all keys."""
        workload = self.scale.of(workload)
        with processes.engine("native", self.cores) as server:
            self.say(f"{workload.name}: filling")
            report = self.load(server, workload, "--progress-ms", "5000")
            self.results.add(workload.name, server.name, report)
            time.sleep(SETTLE_S)
            megabytes = server.rss_bytes() / 1e6
        self.results.rows.append(Row(f"memory, {workload.name} of 100 bytes", megabytes, "MB", "<=", most_mb))

    def idle_row(self, workload: Workload, what: str, most_kib: float) -> None:
        """Memory per idle connection, above what the engine takes after its first few connections."""
        workload = self.scale.of(workload)
        first = replace(workload, connections=workloads.WARMUP_CONNECTIONS)
        with processes.engine("native", self.cores) as server:
            self.say(f"{workload.name}: {workload.connections}")
            with processes.held_connections(server, first, self.cores):
                time.sleep(SETTLE_S)
            time.sleep(SETTLE_S)
            before = server.rss_bytes()
            with processes.held_connections(server, workload, self.cores):
                time.sleep(SETTLE_S)
                after = server.rss_bytes()
        kib = (after - before) / workload.connections / 1024
        self.results.rows.append(Row(f"memory, {what}", kib, "KiB", "<=", most_kib))
