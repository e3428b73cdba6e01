"""``python -m benches``: measures, prints the tables, writes them to ``benches/results/``.

Exit status: 0, or 1 when an answer was wrong or missing or (in a full run) a target was missed, 2 when it broke off.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benches import plots, processes, report
from benches.measure import FULL, QUICK, Bench
from benches.processes import ROOT, BenchError, Cores
from benches.report import Run
from benches.suite import GROUPS, OLDER, RUNNING, SUITE

DATA: Final = ROOT / ".cache" / "benches"
"""On the file system of the checkout, and ignored by version control."""


ABOUT: Final = """\
Measures this checkout's engine beside the reference, the bare limits, and what people would otherwise run.

  iii-fast bench                                everything, most of an hour; leave the machine alone meanwhile
  iii-fast bench --only state --rounds 3        a part
  iii-fast bench --engine ws://127.0.0.1:49134  an engine of any make that runs already, against this one
  iii-fast bench --render FILE.json             the page of saved results, without measuring

Every answer is checked. Servers run on the first core, the load generator on the second. Tables go to standard
output, and with pictures and everything measured to benches/results. How to read them: benches/README.md.
Exit status: 0; 1 when an answer was wrong or missing, or a target was missed; 2 when it broke off."""


def catalogue() -> str:
    """A line for each benchmark and group."""
    lines = [f"  {name:18} {(run.__doc__ or '').splitlines()[0]}" for name, run in SUITE.items()]
    lines += [f"  {name:18} All of {', '.join(members)}." for name, members in GROUPS.items()]
    return "\n".join(["benchmarks (NAME):", *lines])


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="iii-fast bench", description=ABOUT, epilog=catalogue(), formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny inputs: shows that it works, measures nothing")
    names = [*SUITE, *GROUPS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="some of those below")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds per workload ({FULL.rounds})")
    parser.add_argument("--seconds", type=float, help=f"length of each measurement ({FULL.seconds:.0f})")
    parser.add_argument("--soak-seconds", type=float, help=f"length of each soak ({FULL.soak_seconds:.0f})")
    parser.add_argument(
        "--join",
        type=Path,
        metavar="FILE.json",
        help="add what is measured to that file and its page: a run in pieces",
    )
    parser.add_argument("--data", type=Path, default=DATA, help="where files that are measured lie (%(default)s)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="older build to compare with")
    parser.add_argument(
        "--engine",
        metavar="ws://HOST:PORT",
        help="a running engine of any make to measure; alone it stands for `--only running`.\n"
        "What is stored stays there, in scopes whose names begin with bench-",
    )
    parser.add_argument("--render", type=Path, metavar="FILE.json", help="make the page of saved results again")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="with --render: the curve, also written there")
    return parser


def selected(names: Sequence[str], against: Path | None, engine: str | None) -> list[str]:
    """The benchmarks to run, in the order of the suite; those that need an older or a running engine only with one."""
    wanted = {one for name in names for one in GROUPS.get(name, [name])}
    absent = {OLDER} if against is None else set()
    absent |= {RUNNING} if engine is None else set()
    return [name for name in SUITE if name in wanted - absent]


def rendered(file: Path, picture: Path | None) -> int:
    """Makes the page of saved results again."""
    try:
        run = Run.load(file)
    except BenchError as error:
        print(f"benches: {error}", file=sys.stderr)
        return 2
    written = report.render(run, file.with_suffix(""))
    if picture is not None and plots.curve(run.results, picture) is not None:
        written.append(picture)
    print("written:", *written)
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmarks that were asked for."""
    parser = arguments()
    options = parser.parse_args(words)
    if options.render is not None:
        return rendered(options.render, options.picture)
    only: list[str] = options.only or ([RUNNING] if options.engine else list(SUITE))
    if only == [OLDER] and options.against is None:
        parser.error(f"{OLDER} needs --against CHECKOUT")
    if only == [RUNNING] and options.engine is None:
        parser.error(f"{RUNNING} needs --engine ws://HOST:PORT")
    scale = QUICK if options.quick else FULL
    scale = replace(
        scale,
        rounds=options.rounds or scale.rounds,
        seconds=options.seconds or scale.seconds,
        soak_seconds=options.soak_seconds or scale.soak_seconds,
    )
    options.data.mkdir(parents=True, exist_ok=True)
    bench = Bench(scale, Cores.pinned(), options.data, options.against, options.engine)
    command = shlex.join(["iii-fast", "bench", *(sys.argv[1:] if words is None else words)])
    return measured(bench, selected(only, options.against, options.engine), command, only, options.join)


def written(run: Run, only: Sequence[str]) -> list[Path]:
    """Writes the files of a run of its own."""
    return report.write(run, part="" if set(only) == set(SUITE) else " ".join(only))


def measured(bench: Bench, names: Sequence[str], command: str, only: Sequence[str], join: Path | None) -> int:
    """Runs the benchmarks, prints and writes what they come to; returns the exit status."""
    broken, scale = False, bench.scale
    run = Run.of(bench.results, scale, bench.cores, report.machine(), command)
    try:
        if join is not None and not scale.tiny:
            report.check_joinable(run, join)
    except BenchError as error:
        print(f"benches: {error}", file=sys.stderr)
        return 2
    try:
        processes.load_binary()
        for name in names:
            SUITE[name](bench)
    except BenchError as error:
        print(f"benches: {error}", file=sys.stderr)
        broken = True
    results = bench.results
    print(report.targets_table(results.rows, judged=not scale.tiny), report.samples_table(results), sep="\n\n")
    for fault in results.faults:
        print(f"wrong: {fault}")
    for reason in results.missing:
        print(f"not measured: {reason}")
    if broken:
        return 2
    if not scale.tiny:
        try:
            files = written(run, only) if join is None else report.join(run, join)
        except BenchError as error:
            print(f"benches: {error}", file=sys.stderr)
            return 2
        print("written:", *files)
    missed = not scale.tiny and any(not row.reached for row in results.rows)
    return 1 if missed or results.faults else 0


if __name__ == "__main__":
    sys.exit(main())
