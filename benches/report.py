"""What a run is published as: a page for people (Markdown, SVG) and everything for programs (JSON).

The page is made from what the JSON has, so that saved results can be rendered again.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from benches import contenders, losses, plots
from benches.measure import Results, Row, Scale
from benches.processes import ROOT, BenchError, Cores

RESULTS: Final = ROOT / "benches" / "results"
LOAD: Final = "load average"


def _output(*command: str) -> str:
    """What a program says. ``unknown`` where it is not there or fails, as git beside an unpacked archive."""
    if shutil.which(command[0]) is None:
        return "unknown"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return "unknown" if done.returncode else done.stdout.strip()


def machine() -> dict[str, str]:
    """Where and with what is measured, and how busy the machine is now: ask before measuring."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    changed = "" if not _output("git", "status", "--porcelain", "--untracked-files=no") else " and changes"
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": str(len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))),
        LOAD: f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": importlib.metadata.version("trio"),
        "rust": _output("rustc", "--version").removeprefix("rustc ").partition(" ")[0],
        **{name: contenders.version(name) for name in contenders.PROGRAMS if contenders.program(name)},
        "commit": _output("git", "rev-parse", "--short=12", "HEAD") + changed,
    }


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is saved: what was measured, and everything that one must know to believe it."""

    results: Results
    facts: dict[str, str]
    rounds: int
    seconds: float
    cores: Cores
    command: str
    judged: bool

    @classmethod
    def of(cls, results: Results, scale: Scale, cores: Cores, facts: dict[str, str], command: str) -> Run:
        """One that was just made. With tiny inputs there is no verdict about targets."""
        return cls(results, facts, scale.rounds, scale.seconds, cores, command, judged=not scale.tiny)

    @classmethod
    def load(cls, path: Path) -> Run:
        """A saved one. Raises ``BenchError`` when the file is none."""
        try:
            saved = json.loads(path.read_text())
            samples = saved["samples"]
            results = Results(
                {(one["workload"], one["server"]): one["reports"] for one in samples},
                {(one["workload"], one["server"]): one["level"] for one in samples if one["level"]},
                saved["missing"],
                [Row(**row) for row in saved["rows"]],
                saved["faults"],
            )
            cores = Cores(**saved["cores"])
            return cls(
                results, saved["machine"], saved["rounds"], saved["seconds"], cores, saved["command"], saved["judged"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{path}: expected the JSON file of a run, of this version: {error!r}") from error

    def joined(self, later: Run) -> Run:
        """One run of two pieces; where both have measured the same the later one counts.

        Raises ``BenchError`` as ``check_kind``.
        """
        self.check_kind(later)
        new, old = later.results, self.results
        rows = {row.what: row for row in (*old.rows, *new.rows)}
        results = Results(
            old.samples | new.samples,
            old.levels | new.levels,
            list(dict.fromkeys([*old.missing, *new.missing])),
            list(rows.values()),
            [*old.faults, *new.faults],
        )
        facts = later.facts | {LOAD: f"{self.facts[LOAD]}, {later.facts[LOAD]}"}
        return replace(later, results=results, facts=facts, command=f"{self.command}; {later.command}")

    def check_kind(self, later: Run) -> None:
        """Raises ``BenchError`` unless both are made in the same way: machine, versions, commit, rounds and seconds."""
        for name, own, other in (
            *((name, self.facts.get(name), later.facts.get(name)) for name in {**self.facts, **later.facts}),
            ("rounds", self.rounds, later.rounds),
            ("seconds", self.seconds, later.seconds),
        ):
            if own != other and name != LOAD:
                raise BenchError(f"runs of different kinds cannot become one: {name} was {own} and is {other}")

    def text(self) -> str:
        """JSON for ``load``, a report on a line."""
        samples = [
            json.dumps(
                {
                    "workload": workload,
                    "server": server,
                    "level": self.results.levels.get((workload, server), ""),
                    "reports": reports,
                }
            )
            for (workload, server), reports in self.results.samples.items()
        ]
        rest = {
            "machine": self.facts,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "cores": asdict(self.cores),
            "command": self.command,
            "judged": self.judged,
            "rows": [asdict(row) for row in self.results.rows],
            "faults": self.results.faults,
            "missing": self.results.missing,
        }
        head = json.dumps(rest, indent=1).removesuffix("\n}")
        return head + ',\n "samples": [\n' + ",\n".join(samples) + "\n]}\n"


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.2f}"


def targets_table(rows: Iterable[Row], *, judged: bool) -> str:
    """One line per target or ratio. ``judged`` is false when the inputs were too small for a verdict."""
    lines = ["| what | level | measured | by CPU | must reach | |", "|---|---|---|---|---|---|"]
    for row in rows:
        target = verdict = ""
        if row.target is not None:
            verdict = ("reached" if row.reached else "**missed**") if judged else "not judged"
            bound = {">=": "at least", "<=": "at most"}[row.bound]
            target = f"{bound} {_amount(row.target)} {row.unit}"
        by_cpu = "" if row.by_cpu is None else f"{_amount(row.by_cpu)} {row.unit}"
        value = f"{_amount(row.value)} {row.unit}"
        lines.append(f"| {row.what} | {row.level} | {value} | {by_cpu} | {target} | {verdict} |")
    return "\n".join(lines)


def samples_table(results: Results) -> str:
    """One line per workload and server: medians over the rounds, and the range of the rate."""
    lines = [
        "| workload | server | level | ops/s | lowest - highest | CPU us/op | p50 us | p99 us | generator busy "
        "| wrong |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (workload, server), reports in results.samples.items():
        rates = results.of(workload, server, "ops_per_second")
        wrong = sum(int(report["errors"]) + int(report["unanswered"]) for report in reports)
        cpu, p50, p99 = (
            results.median(workload, server, member) for member in ("server_cpu_us_per_op", "p50_us", "p99_us")
        )
        busy = results.median(workload, server, "generator_busy")
        level = results.levels.get((workload, server), "")
        lines.append(
            f"| {workload} | {server} | {level} | {_amount(results.median(workload, server, 'ops_per_second'))} "
            f"| {_amount(min(rates))} - {_amount(max(rates))} | {cpu:.2f} | {p50:,.0f} | {p99:,.0f} "
            f"| {busy:.0%} | {wrong} |"
        )
    return "\n".join(lines)


LEVELS: Final = (
    "`level` is how far a write has come when it is answered. `memory`: the process. `never`, `interval`: the "
    "operating system, and with `interval` the disk within a second (Redis: `appendfsync everysec`, NATS: "
    "`sync_interval: 1s`). `always`: the disk (Redis: `appendfsync always`, NATS: `sync_interval: always`)."
)


def markdown(run: Run, pictures: dict[str, Path]) -> str:
    """The whole page. ``pictures``: files beside it by what they show."""
    pinned = f"servers on core {run.cores.server}, load generator on core {run.cores.load}"
    results = run.results
    parts = [
        "# Benchmark results",
        "\n".join(f"- {name}: {value}" for name, value in {**run.facts, "command": f"`{run.command}`"}.items()),
        f"{run.rounds} interleaved rounds of {run.seconds} s, medians; {pinned}; every answer checked. "
        "Ratios are medians of the ratios within a round. `by CPU`: processor time of the other by our own.",
        LEVELS,
        *(f"## {what}\n\n![{what}]({path.name})" for what, path in pictures.items()),
    ]
    for title, has_target in (("Targets", True), ("Other ratios", False)):
        rows = [row for row in results.rows if (row.target is not None) is has_target]
        parts += [f"## {title}", targets_table(rows, judged=run.judged)] if rows else []
    parts += ["## Where we lose", losses.text(results, judged=run.judged)]
    if results.missing:
        parts.append("## Not measured\n\n" + "\n".join(f"- {reason}" for reason in results.missing))
    parts += ["## Everything", samples_table(results)]
    if results.faults:
        parts.append("## Wrong answers\n\n" + "\n".join(f"- {fault}" for fault in results.faults))
    return "\n\n".join(parts) + "\n"


def render(run: Run, stem: Path) -> list[Path]:
    """Writes the page and its pictures beside the results. ``stem``: their path without ``.json``."""
    wanted = {
        "Throughput and latency": plots.curve(run.results, Path(f"{stem}-curve.svg")),
        "Throughput and latency of http": plots.curve(run.results, Path(f"{stem}-http.svg"), plots.HTTP),
        "Latencies": plots.latencies(run.results, Path(f"{stem}-latencies.svg")),
    }
    pictures = {what: path for what, path in wanted.items() if path is not None}
    page = Path(f"{stem}.md")
    page.write_text(markdown(run, pictures))
    return [page, *pictures.values()]


def check_joinable(run: Run, file: Path) -> None:
    """Raises ``BenchError`` when ``join`` will, before anything is measured in vain."""
    if file.is_file():
        Run.load(file).check_kind(run)


def join(run: Run, file: Path) -> list[Path]:
    """Writes all files of a run together with the pieces that ``file`` has, if it is there yet."""
    whole = Run.load(file).joined(run) if file.is_file() else run
    file.write_text(whole.text())
    return [file, *render(whole, file.with_suffix(""))]


def write(run: Run, *, part: str = "", folder: Path = RESULTS) -> list[Path]:
    """Writes all files, named after the day and the machine; a run of the same day replaces the one before.

    ``part`` keeps a run of some benchmarks from replacing a run of all. The first file is the one to be rendered again.
    """
    name = f"{run.facts['cpu']} {run.facts['cores']} cores {part}"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{datetime.date.today().isoformat()}-{slug}"
    data = Path(f"{stem}.json")
    data.write_text(run.text())
    return [data, *render(run, stem)]
