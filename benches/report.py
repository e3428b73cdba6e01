"""What a run is published as: a table for people (Markdown) and everything for programs (JSON)."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from benches.measure import Results, Scale
from benches.processes import ROOT, Cores

RESULTS: Final = ROOT / "benches" / "results"


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> dict[str, str]:
    """Where and with what is measured, and how busy the machine is now: ask before measuring."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    changed = "" if not _output("git", "status", "--porcelain", "--untracked-files=no") else " and changes"
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": str(len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))),
        "load average": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": importlib.metadata.version("trio"),
        "rust": _output("rustc", "--version").split()[1],
        "commit": _output("git", "rev-parse", "--short=12", "HEAD") + changed,
    }


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.2f}"


def targets_table(results: Results, *, judged: bool) -> str:
    """One line per target. ``judged`` is false when the inputs were too small for a verdict."""
    lines = ["| what | measured | by CPU | must reach | |", "|---|---|---|---|---|"]
    for row in results.rows:
        target = verdict = ""
        if row.target is not None:
            verdict = ("reached" if row.reached else "**missed**") if judged else "not judged"
            bound = {">=": "at least", "<=": "at most"}[row.bound]
            target = f"{bound} {_amount(row.target)} {row.unit}"
        by_cpu = "" if row.by_cpu is None else f"{_amount(row.by_cpu)} {row.unit}"
        lines.append(f"| {row.what} | {_amount(row.value)} {row.unit} | {by_cpu} | {target} | {verdict} |")
    return "\n".join(lines)


def samples_table(results: Results) -> str:
    """One line per workload and server: medians over the rounds, and the range of the rate."""
    lines = [
        "| workload | server | ops/s | lowest - highest | CPU us/op | p50 us | p99 us | generator busy | wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (workload, server), reports in results.samples.items():
        rates = results.of(workload, server, "ops_per_second")
        wrong = sum(int(report["errors"]) + int(report["unanswered"]) for report in reports)
        cpu, p50, p99 = (
            results.median(workload, server, member) for member in ("server_cpu_us_per_op", "p50_us", "p99_us")
        )
        busy = results.median(workload, server, "generator_busy")
        lines.append(
            f"| {workload} | {server} | {_amount(results.median(workload, server, 'ops_per_second'))} "
            f"| {_amount(min(rates))} - {_amount(max(rates))} | {cpu:.2f} | {p50:,.0f} | {p99:,.0f} "
            f"| {busy:.0%} | {wrong} |"
        )
    return "\n".join(lines)


def markdown(results: Results, scale: Scale, cores: Cores, facts: dict[str, str], *, judged: bool) -> str:
    """The whole page."""
    pinned = f"servers on core {cores.server}, load generator on core {cores.load}"
    parts = [
        "# Benchmark results",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        f"{scale.rounds} interleaved rounds of {scale.seconds} s, medians; {pinned}; every answer checked. "
        "Ratios are medians of the ratios within a round.",
        targets_table(results, judged=judged),
        samples_table(results),
    ]
    if results.faults:
        parts.append("## Wrong answers\n\n" + "\n".join(f"- {fault}" for fault in results.faults))
    return "\n\n".join(parts) + "\n"


def document(results: Results, scale: Scale, cores: Cores, facts: dict[str, str]) -> dict[str, Any]:
    """The same and every single report, for programs."""
    return {
        "machine": facts,
        "rounds": scale.rounds,
        "seconds": scale.seconds,
        "cores": {"server": cores.server, "load": cores.load},
        "rows": [
            {
                "what": row.what,
                "value": row.value,
                "unit": row.unit,
                "bound": row.bound,
                "target": row.target,
                "by_cpu": row.by_cpu,
                "reached": row.reached,
            }
            for row in results.rows
        ],
        "samples": [
            {"workload": workload, "server": server, "reports": reports}
            for (workload, server), reports in results.samples.items()
        ],
        "faults": results.faults,
    }


def write(
    results: Results, scale: Scale, cores: Cores, facts: dict[str, str], *, part: str = "", folder: Path = RESULTS
) -> list[Path]:
    """Writes both files, named after the day and the machine; a run of the same day replaces the one before.

    ``part`` keeps a run of some benchmarks from replacing a run of all.
    """
    name = f"{facts['cpu']} {facts['cores']} cores {part}"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{datetime.date.today().isoformat()}-{slug}"
    page, data = stem.with_suffix(".md"), stem.with_suffix(".json")
    page.write_text(markdown(results, scale, cores, facts, judged=not scale.tiny))
    data.write_text(json.dumps(document(results, scale, cores, facts), indent=1) + "\n")
    return [page, data]
