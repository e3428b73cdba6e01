"""Saved results as pictures: how latencies are distributed, and throughput against latency. SVG, with text as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benches.measure import Results

matplotlib.use("svg")
STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "iii-fast",
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLOURS: Final = {
    "native": "#d1495b",
    "reference": "#8d6a9f",
    "echo": "#9aa0a6",
    "bare relay": "#9aa0a6",
    "Redis": "#2a6f97",
    "NATS KV": "#2a9d8f",
    "uvicorn": "#b08900",
    "granian": "#2a6f97",
    "running engine": "#e07a1f",
}
LABELS: Final = {"native": "iii-fast", "reference": "iii-fast, reference", "echo": "bare echo (the limit)"}
OTHERS: Final = ("#3d5a80", "#6a994e", "#bc6c25", "#5f0f40")


@dataclass(frozen=True, slots=True)
class Curve:
    """Which workloads are points of it, by name, with the shape of their load, and what it shows."""

    point: re.Pattern[str]
    title: str


STATE: Final = Curve(
    re.compile(r"curve (\d+x\d+)$"), "90 % gets, 10 % sets of 100 bytes in memory; connections x in flight"
)
HTTP: Final = Curve(re.compile(r"http GET, (\d+)$"), "http GET with one parameter; connections")
BINS_PER_DECADE: Final = 12
PANELS_IN_A_ROW: Final = 3

UNSAID: Final = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""Left out of pictures, so that the same results make the same file."""


def _colour(name: str, others: Sequence[str]) -> str:
    unknown = [one for one in others if one not in COLOURS]
    return COLOURS.get(name) or OTHERS[unknown.index(name) % len(OTHERS)]


def _save(figure: Figure, path: Path) -> Path:
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, format="svg", metadata=UNSAID, bbox_inches="tight", facecolor="white")
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return path


def _figure(columns: int, rows: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(columns * rows)]


def curve_points(results: Results, of: Curve = STATE) -> dict[str, list[tuple[float, float, float, str]]]:
    """By server: operations per second, median latency in us, 99th percentile in us, and the shape of the load."""
    points: dict[str, list[tuple[float, float, float, str]]] = {}
    for workload, server in results.samples:
        found = of.point.match(workload)
        if found:
            numbers = (results.median(workload, server, one) for one in ("ops_per_second", "p50_us", "p99_us"))
            rate, p50, p99 = numbers
            points.setdefault(server, []).append((rate, p50, p99, found[1]))
    return points


def curve(results: Results, path: Path, of: Curve = STATE) -> Path | None:
    """Throughput against latency; the line is the median, the shade reaches up to the 99th percentile."""
    points = curve_points(results, of)
    if not points:
        return None
    figure, (axes,) = _figure(1, 1, 7.6, 4.6)
    for name, line in points.items():
        colour, style = _colour(name, list(points)), "--" if name == "echo" else "-"
        rates = [rate for rate, *_ in line]
        p50 = [one for _, one, *_ in line]
        axes.plot(rates, p50, style, color=colour, marker="o", markersize=4, label=LABELS.get(name, name))
        axes.fill_between(rates, p50, [p99 for _, _, p99, _ in line], color=colour, alpha=0.08, linewidth=0)
        last = line[-1]
        axes.annotate(f"{last[0] / 1e3:,.0f}k/s", last[:2], textcoords="offset points", xytext=(6, -3), fontsize=8)
    for rate, p50_us, _, shape in points.get("native", []):
        axes.annotate(shape, (rate, p50_us), textcoords="offset points", xytext=(-4, 6), fontsize=7, ha="right")
    axes.set(xscale="log", yscale="log", xlabel="operations per second", ylabel="latency, us (line p50, shade to p99)")
    axes.set_title(of.title, fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="best")
    return _save(figure, path)


def _merged(reports: Iterable[dict[str, Any]]) -> dict[float, int]:
    whole: dict[float, int] = {}
    for report in reports:
        for us, count in report.get("latencies", []):
            whole[us] = whole.get(us, 0) + count
    return whole


def _bins(histogram: dict[float, int]) -> tuple[list[float], list[float]]:
    """Latency in us and share of all answers, in bins of equal width on a logarithmic axis."""
    from math import floor, log10

    shares: dict[int, int] = {}
    for us, count in histogram.items():
        number = floor(log10(max(us, 0.1)) * BINS_PER_DECADE)
        shares[number] = shares.get(number, 0) + count
    numbers = range(min(shares) - 1, max(shares) + 2)
    total = sum(shares.values())
    middle = [10 ** ((number + 0.5) / BINS_PER_DECADE) for number in numbers]
    return middle, [100 * shares.get(number, 0) / total for number in numbers]


def latencies(results: Results, path: Path) -> Path | None:
    """A histogram of latencies per workload, with all its servers; those of a curve have their own picture."""
    workloads: dict[str, list[str]] = {}
    for (workload, server), reports in results.samples.items():
        if any(report.get("latencies") for report in reports) and not STATE.point.match(workload):
            workloads.setdefault(workload, []).append(server)
    if not workloads:
        return None
    rows = -(-len(workloads) // PANELS_IN_A_ROW)
    columns = min(len(workloads), PANELS_IN_A_ROW)
    figure, panels = _figure(columns, rows, 4.0, 2.5)
    for axes, (workload, servers) in zip(panels, workloads.items(), strict=False):
        for name in servers:
            middle, shares = _bins(_merged(results.samples[workload, name]))
            colour = _colour(name, servers)
            axes.step(middle, shares, where="mid", color=colour, linewidth=1.2, label=LABELS.get(name, name))
        axes.set(xscale="log", ylim=(0, None))
        axes.minorticks_off()
        axes.set_title(workload, fontsize=9)
        axes.legend(frameon=False, fontsize=7)
    for axes in panels[len(workloads) :]:
        axes.set_axis_off()
    figure.supxlabel("latency, us", fontsize=9)
    figure.supylabel("answers, %", fontsize=9)
    return _save(figure, path)
