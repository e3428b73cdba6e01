"""Interleaved rounds and what they come to: samples, medians, and the rows of the table with their targets."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final

from benches import processes, workloads
from benches.processes import BenchError, Cores, Server
from benches.workloads import Workload

SETTLE_S: Final = 1.0
"""Time for an engine to finish what the last connection left to do, before its memory is read."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. ``tiny`` shrinks the workloads; their numbers mean nothing then."""

    rounds: int
    seconds: float
    tiny: bool = False

    def of(self, workload: Workload) -> Workload:
        """The workload at this scale."""
        return workload.tiny() if self.tiny else workload


FULL: Final = Scale(rounds=5, seconds=3.0)
QUICK: Final = Scale(rounds=1, seconds=0.2, tiny=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of targets. ``bound`` is ``">="`` or ``"<="``.

    ``by_cpu`` is the same ratio, of processor time per operation instead of operations per second.
    """

    what: str
    value: float
    unit: str
    bound: str
    target: float
    by_cpu: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.value >= self.target if self.bound == ">=" else self.value <= self.target


@dataclass(slots=True)
class Results:
    """Everything that was measured. ``samples``: (workload, server) to the generator's reports, a round each."""

    samples: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
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

    def ratio(self, workload: str, server: str, other: str) -> float:
        """Median over the rounds of how many times ``server`` did what ``other`` did in the same round."""
        pairs = zip(
            self.of(workload, server, "ops_per_second"), self.of(workload, other, "ops_per_second"), strict=True
        )
        return median(one / two for one, two in pairs)


class Bench:
    """Makes measurements at one scale into ``results``; says on standard error what it is doing."""

    def __init__(self, scale: Scale, cores: Cores) -> None:
        self.scale = scale
        self.cores = cores
        self.results = Results()
        self._scopes = itertools.count()

    def say(self, text: str) -> None:
        """One line of progress."""
        print(text, file=sys.stderr, flush=True)

    def _scope(self) -> str:
        """A new scope of constant length: the echo answers in sizes that depend on it."""
        return f"{workloads.SCOPE}-{next(self._scopes):04d}"

    def compare(self, workload: Workload, servers: Sequence[str]) -> None:
        """Rounds of one workload on freshly started servers, taking turns; every round begins with another server."""
        workload = self.scale.of(workload)
        with ExitStack() as stack:
            started = [stack.enter_context(processes.serve(name, self.cores)) for name in servers]
            for round_number in range(self.scale.rounds):
                shift = round_number % len(started)
                for server in started[shift:] + started[:shift]:
                    report = self._load(server, workload)
                    self.say(
                        f"{workload.name}, round {round_number + 1}/{self.scale.rounds}, {server.name}: "
                        f"{report['ops_per_second']:,.0f}/s, generator {report['generator_busy']:.0%} busy"
                    )

    def _load(self, server: Server, workload: Workload, extra: Sequence[str] = ()) -> dict[str, Any]:
        timed = ("--seconds", str(self.scale.seconds)) if workload.timed else ()
        report = processes.run_load(server, workload, self._scope(), self.cores, (*timed, *extra))
        self.results.add(workload.name, server.name, report)
        return report

    def ratio_row(self, workload: Workload, server: str, other: str, at_least: float) -> None:
        """A row of the table from rounds that ``compare`` made."""
        ratio = self.results.ratio(workload.name, server, other)
        own, others = (self.results.median(workload.name, name, "server_cpu_us_per_op") for name in (server, other))
        by_cpu = others / own if own else None
        self.results.rows.append(Row(f"{workload.name}, {server} / {other}", ratio, "x", ">=", at_least, by_cpu))

    def unanswered_row(self, workload: Workload, loops: int) -> None:
        """Worker-to-worker calls without pinning: how many of them were never answered."""
        workload = replace(self.scale.of(workload), name=f"{workload.name}, --loops {loops}")
        unpinned = Cores()
        with processes.engine("native", unpinned, loops) as server:
            self.say(f"{workload.name}: {workload.ops:,} calls")
            progress = ("--progress-ms", "5000")
            report = processes.run_load(server, workload, self._scope(), unpinned, progress, timeout_s=3600)
        self.results.add(workload.name, server.name, report)
        if report["ops"] + report["unanswered"] != workload.ops:
            raise BenchError(f"{workload.name}: {report['ops']} calls were made instead of {workload.ops}")
        self.results.rows.append(Row(f"{workload.name}, unanswered", report["unanswered"], "calls", "<=", 0))

    def fill_row(self, workload: Workload, most_mb: float) -> None:
        """Memory of the whole engine process that holds all keys."""
        workload = self.scale.of(workload)
        with processes.engine("native", self.cores) as server:
            self.say(f"{workload.name}: filling")
            self._load(server, workload, ("--progress-ms", "5000"))
            time.sleep(SETTLE_S)
            megabytes = server.rss_bytes() / 1e6
        self.results.rows.append(Row(f"memory, {workload.name} of 100 bytes", megabytes, "MB", "<=", most_mb))

    def idle_row(self, workload: Workload, most_kib: float) -> None:
        """Memory per idle connection, above what the engine takes after its first few connections."""
        workload = self.scale.of(workload)
        with processes.engine("native", self.cores) as server:
            self.say(f"{workload.name}: {workload.connections}")
            with processes.held_connections(server, workloads.IDLE_WARMUP, self.cores):
                time.sleep(SETTLE_S)
            time.sleep(SETTLE_S)
            before = server.rss_bytes()
            with processes.held_connections(server, workload, self.cores):
                time.sleep(SETTLE_S)
                after = server.rss_bytes()
        kib = (after - before) / workload.connections / 1024
        self.results.rows.append(Row("memory, idle connection", kib, "KiB", "<=", most_kib))
