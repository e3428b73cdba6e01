"""``python -m benches``: measures, prints the tables, writes them to ``benches/results/``.

Exit status: 0, or 1 when an answer was wrong or missing or (in a full run) a target was missed, 2 when it broke off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benches import report
from benches.measure import FULL, QUICK, Bench
from benches.processes import ROOT, BenchError, Cores
from benches.suite import GROUPS, OLDER, SUITE

DATA: Final = ROOT / ".cache" / "benches"
"""On the file system of the checkout, and ignored by version control."""


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny inputs: shows that it works, measures nothing")
    names = [*SUITE, *GROUPS]
    parser.add_argument("--only", nargs="+", choices=names, default=list(SUITE), metavar="NAME", help="%(choices)s")
    parser.add_argument("--rounds", type=int, help="interleaved rounds per workload")
    parser.add_argument("--seconds", type=float, help="length of each measurement")
    parser.add_argument("--soak-seconds", type=float, help="length of each soak")
    parser.add_argument("--data", type=Path, default=DATA, help="where files that are measured lie (%(default)s)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="older build to compare with")
    return parser


def selected(names: Sequence[str], against: Path | None) -> list[str]:
    """The benchmarks to run, groups in the order of the suite; what needs an older build is left out without one."""
    wanted = {one for name in names for one in GROUPS.get(name, [name])}
    return [name for name in SUITE if name in wanted and (name != OLDER or against is not None)]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmarks that were asked for."""
    parser = arguments()
    options = parser.parse_args(words)
    if options.only == [OLDER] and options.against is None:
        parser.error(f"{OLDER} needs --against CHECKOUT")
    scale = QUICK if options.quick else FULL
    scale = replace(
        scale,
        rounds=options.rounds or scale.rounds,
        seconds=options.seconds or scale.seconds,
        soak_seconds=options.soak_seconds or scale.soak_seconds,
    )
    options.data.mkdir(parents=True, exist_ok=True)
    bench = Bench(scale, Cores.pinned(), options.data, options.against)
    facts = report.machine()
    broken = False
    try:
        for name in selected(options.only, against=options.against):
            SUITE[name](bench)
    except BenchError as error:
        print(f"benches: {error}", file=sys.stderr)
        broken = True
    results = bench.results
    print(report.targets_table(results, judged=not scale.tiny), report.samples_table(results), sep="\n\n")
    for fault in results.faults:
        print(f"wrong: {fault}")
    if broken:
        return 2
    if not scale.tiny:
        part = "" if set(options.only) == set(SUITE) else " ".join(options.only)
        files = report.write(results, scale, bench.cores, facts, part=part)
        print("written:", *(path.relative_to(ROOT) for path in files))
    missed = not scale.tiny and any(not row.reached for row in results.rows)
    return 1 if missed or results.faults else 0


if __name__ == "__main__":
    sys.exit(main())
