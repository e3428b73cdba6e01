"""``make profile``: where an engine spends its processor time under a named load. How to read it: docs/profiling.md.

perf samples the engine's process while the load generator runs, and every answer is checked as in a benchmark. The
recording stays in ``.cache/profile``, for ``perf report`` and ``perf annotate``. Exit status: 0; 1 when an answer was
wrong or missing; 2 when nothing could be recorded.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benches import processes, workloads
from benches.measure import FULL, Bench
from benches.processes import ROOT, BenchError, Cores, Server

RECORDINGS: Final = ROOT / ".cache" / "profile"
"""Beside what is measured, and ignored by version control."""
SAMPLES_PER_SECOND: Final = 1999
"""No multiple of anything that happens regularly."""
FUNCTIONS_SHOWN: Final = 30
LEAST_PERCENT: Final = 0.5
"""A part of the engine with less is counted among the others."""
PERF_ENDS_S: Final = 60
NAMED: Final = {
    "state-16x16": workloads.STATE_16X16,
    "state-1x1": workloads.STATE_1X1,
    "state-256x1": workloads.STATE_256X1,
    "sets-16x16": workloads.SETS_16X16,
    "values-16-kib": workloads.LARGE_16_KIB,
    "values-1-mib": workloads.LARGE_1_MIB,
    "relay-16x16": workloads.RELAY_16X16,
    "http-128": workloads.HTTP_128,
    "events-16x16": workloads.EVENTS_16X16,
}
KERNEL: Final = "kernel"
OTHERS: Final = "others"
RUST: Final = re.compile(r"(iii_fast_\w+)::(\w+)")
CRATE: Final = re.compile(r"<?&?(?:mut )?(\w+)::")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A function with its share of all samples in per cent. ``library``: the file that has it, or ``kernel``."""

    percent: float
    library: str
    function: str

    @property
    def part(self) -> str:
        """What it belongs to: a room of ours (``iii_fast_core::state``), another crate, a library, the kernel."""
        if "_core" not in self.library:
            return self.library
        own = RUST.search(self.function)
        if own is not None:
            return f"{own[1]}::{own[2]}"
        crate = CRATE.match(self.function)
        return crate[1] if crate is not None else self.library


@contextmanager
def package_with_names() -> Iterator[Path]:
    """A place to import the engine from, with an extension whose functions have names: the installed one is stripped.

    It is what cargo builds with the profile ``release``, the same instructions as those of ``make build``.
    """
    library = processes.build("iii-fast-py")
    with tempfile.TemporaryDirectory(prefix="iii-fast-profile-") as place:
        package = Path(place) / "iii_fast"
        package.mkdir()
        for entry in (ROOT / "python" / "iii_fast").iterdir():
            if entry.suffix != ".so":
                (package / entry.name).symlink_to(entry)
        (package / "_core.abi3.so").symlink_to(library)
        yield Path(place)


def record(server: Server, bench: Bench, name: str, recording: Path, *, callers: bool) -> dict[str, Any]:
    """Samples the server while the load runs; returns the load generator's report."""
    graph = ["--call-graph", "dwarf,8192"] if callers else []
    what = ["-F", str(SAMPLES_PER_SECOND), *graph, "--pid", str(server.pid), "--output", str(recording)]
    perf = subprocess.Popen(["perf", "record", "--quiet", *what], stderr=subprocess.PIPE, text=True)
    try:
        report = bench.load(server, NAMED[name])
    finally:
        perf.terminate()
        _, words = perf.communicate(timeout=PERF_ENDS_S)
    bench.results.add(name, server.name, report)
    if not recording.is_file():
        raise BenchError(f"perf recorded nothing (kernel.perf_event_paranoid may be too high): {words.strip()}")
    return report


def sampled(recording: Path) -> list[Sampled]:
    """Every function that was seen, the most frequent one first."""
    columns = ["--fields", "overhead,dso,sym", "--field-separator", "|", "-g", "none"]
    command = ["perf", "report", "--stdio", "--no-children", "--no-inline", *columns, "--input", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"perf report failed: {done.stderr}")
    return list(parsed(done.stdout.splitlines()))


def parsed(lines: Iterable[str]) -> Iterator[Sampled]:
    """Of perf's lines ``12.34%|libc.so.6|[.] memcpy``; a ``k`` in the brackets is the kernel."""
    for line in lines:
        share, _, rest = line.partition("%")
        columns = rest.split("|", 2)
        if line.startswith("#") or len(columns) < 3:
            continue
        kind, function = columns[2].strip().split("] ", 1)
        yield Sampled(float(share), KERNEL if kind == "[k" else columns[1].strip(), function)


def by_part(found: Iterable[Sampled]) -> list[tuple[str, float]]:
    """Parts with their shares, the largest first; the small ones together at the end."""
    parts: dict[str, float] = {}
    for one in found:
        parts[one.part] = parts.get(one.part, 0.0) + one.percent
    shown = sorted(((name, share) for name, share in parts.items() if share >= LEAST_PERCENT), key=lambda one: -one[1])
    return [*shown, (OTHERS, sum(share for share in parts.values() if share < LEAST_PERCENT))]


def table(found: Sequence[Sampled]) -> str:
    """By part, then by function."""
    lines = [f"{share:6.1f} %  {part}" for part, share in by_part(found)]
    lines.append("")
    lines += [f"{one.percent:6.1f} %  {one.library[:14]:14}  {one.function}" for one in found[:FUNCTIONS_SHOWN]]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Profiles under one load and prints where the time went."""
    parser = argparse.ArgumentParser(prog="make profile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", default="state-16x16", choices=NAMED, help="%(choices)s")
    parser.add_argument("--backend", default="native", choices=["native", "reference"])
    parser.add_argument("--callers", action="store_true", help="also record who called, for `perf report`: slower")
    parser.add_argument("--seconds", type=float, default=FULL.seconds)
    options = parser.parse_args(words)
    if shutil.which("perf") is None:
        print("profile: perf is not on the path (Debian: apt-get install linux-perf)", file=sys.stderr)
        return 2
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    recording = RECORDINGS / f"{options.name}-{options.backend}.data"
    recording.unlink(missing_ok=True)
    bench = Bench(replace(FULL, rounds=1, seconds=options.seconds), Cores.pinned(), RECORDINGS)
    try:
        with package_with_names() as place:
            env = {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
            with processes.engine(options.backend, bench.cores, env=env) as server:
                report = record(server, bench, options.name, recording, callers=options.callers)
        found = sampled(recording)
    except BenchError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 2
    rate, cpu_us = report["ops_per_second"], report["server_cpu_us_per_op"]
    print(f"{options.name}, {options.backend}: {rate:,.0f}/s, {cpu_us:.2f} us of processor time each")
    print(table(found))
    print(f"\nperf report --no-children --input {recording}")
    for fault in bench.results.faults:
        print(f"wrong: {fault}")
    return 1 if bench.results.faults else 0


if __name__ == "__main__":
    sys.exit(main())
