"""Where the others are better: worked out from the results, so that nobody can forget to say it."""

from __future__ import annotations

from typing import Final

from benches.contenders import FOREIGN
from benches.measure import Results

OWN: Final = "native"
NOTICED: Final = 1.05
"""Less than this is noise."""

MEASURES: Final = {
    "ops_per_second": ("{ratio:.2f} times as many operations per second", 1),
    "p50_us": ("a {ratio:.2f} times lower median latency", -1),
    "p99_us": ("a {ratio:.2f} times lower 99th percentile of latency", -1),
    "server_cpu_us_per_op": ("{ratio:.2f} times less processor time per operation", -1),
}
"""Of each workload, with how a loss is put into words, and whether more of it is better (1) or less (-1)."""


def losses(results: Results) -> list[str]:
    """A line for each workload and contender that is better than our engine in anything."""
    lines = []
    for workload, other in results.samples:
        if other not in FOREIGN or (workload, OWN) not in results.samples:
            continue
        found = []
        for member, (words, sense) in MEASURES.items():
            ratio = (
                results.ratio(workload, other, OWN, member) ** sense if _both(results, workload, other, member) else 0
            )
            if ratio >= NOTICED:
                found.append(words.format(ratio=ratio))
        if found:
            level = results.levels.get((workload, other), "")
            lines.append(
                f"{workload}{f' ({level})' if level and level not in workload else ''}: {other} has {_listed(found)}."
            )
    return lines


def _both(results: Results, workload: str, other: str, member: str) -> bool:
    return all(value > 0 for name in (OWN, other) for value in results.of(workload, name, member))


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def text(results: Results, *, judged: bool) -> str:
    """The section of the page: what others do better, and which targets were missed."""
    lines = losses(results)
    if judged:
        lines += [f"{row.what}: {row.value:.2f} {row.unit}, target missed." for row in results.rows if not row.reached]
    if lines:
        return "\n".join(f"- {line}" for line in lines)
    if any(server in FOREIGN for _, server in results.samples):
        return "In this run nowhere: no contender was better by 5 % in anything, and no target was missed."
    return "Nobody else took part in this run, and no target was missed."
