"""Saved results become a page without measuring, and the page tells where others are better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from benches import __main__ as command
from benches import losses, plots, report
from benches.measure import FULL, Results, Row
from benches.processes import BenchError, Cores
from benches.report import Run
from benches.suite import GROUPS, SUITE


def sample(rate: float, p50_us: float, p99_us: float, cpu_us: float) -> dict[str, Any]:
    return {
        "ops": 100,
        "ops_per_second": rate,
        "p50_us": p50_us,
        "p99_us": p99_us,
        "server_cpu_us_per_op": cpu_us,
        "generator_busy": 0.5,
        "latencies": [[p50_us, 98], [p99_us, 2]],
        "errors": 0,
        "unanswered": 0,
    }


CURVE: Final = {
    ("curve 1x1", "native"): [sample(20e3, 40, 90, 9), sample(22e3, 40, 80, 9)],
    ("curve 1x1", "Redis"): [sample(24e3, 38, 120, 9.1), sample(26e3, 38, 120, 9.1)],
    ("curve 16x16", "native"): [sample(900e3, 200, 400, 1)],
    ("curve 16x16", "Redis"): [sample(600e3, 300, 700, 1.5)],
    ("curve 16x16", "echo"): [sample(1200e3, 100, 200, 0.5)],
}


def run_of(results: Results) -> Run:
    return Run.of(
        results,
        FULL,
        Cores(0, 1),
        {"cpu": "A CPU", "cores": "2", "load average": "0.1", "commit": "abc"},
        "iii-fast bench",
    )


def results_of(samples: dict[tuple[str, str], list[dict[str, Any]]], *rows: Row) -> Results:
    return Results(samples, dict.fromkeys(samples, "memory"), rows=list(rows))


def test_losses_are_said_with_their_size_and_wins_and_limits_are_not() -> None:
    lines = losses.losses(results_of(CURVE))
    assert lines == [
        "curve 1x1 (memory): Redis has 1.19 times as many operations per second and a 1.05 times lower median latency."
    ]


def test_a_missed_target_is_a_loss_unless_nothing_was_judged() -> None:
    missed = results_of({}, Row("state, native / echo", 0.4, "x", ">=", 0.7))
    assert "0.40 x, target missed" in losses.text(missed, judged=True)
    assert "missed" not in losses.text(missed, judged=False).replace("no target was missed", "")
    assert "nowhere" in losses.text(results_of({key: CURVE[key] for key in list(CURVE)[2:]}), judged=True)


def test_saved_results_are_rendered_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, page, *pictures = report.write(run_of(results_of(CURVE)), folder=tmp_path)
    before = {path: path.read_bytes() for path in (page, *pictures)}
    for path in before:
        path.unlink()
    picture = tmp_path / "story.svg"
    assert command.main(["--render", str(data), "--picture", str(picture)]) == 0
    assert str(page) in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before
    assert picture.read_bytes() == before[next(path for path in pictures if "curve" in path.name)]


def test_pieces_of_a_run_become_one_page(tmp_path: Path) -> None:
    file = tmp_path / "whole.json"
    one, two = list(CURVE)[:2], list(CURVE)[2:]
    report.join(run_of(results_of({key: CURVE[key] for key in one}, Row("a", 1, "x"), Row("b", 1, "x"))), file)
    report.join(run_of(results_of({key: CURVE[key] for key in two}, Row("b", 2, "x"))), file)
    whole = Run.load(file)
    assert whole.results.samples == CURVE
    assert [(row.what, row.value) for row in whole.results.rows] == [("a", 1), ("b", 2)]
    assert whole.command == "iii-fast bench; iii-fast bench"
    page = file.with_suffix(".md").read_text()
    assert "curve 1x1" in page
    assert "curve 16x16" in page


def test_pieces_of_different_kinds_stay_apart(tmp_path: Path) -> None:
    file = tmp_path / "whole.json"
    run = run_of(results_of(CURVE))
    report.join(run, file)
    before = file.read_bytes()
    for other in (replace(run, rounds=run.rounds + 1), replace(run, facts={**run.facts, "commit": "def"})):
        for refuse in (report.check_joinable, report.join):
            with pytest.raises(BenchError, match=r"rounds was 5 and is 6|commit was abc and is def"):
                refuse(other, file)
    report.check_joinable(run, file)
    report.check_joinable(run, tmp_path / "none.json")
    assert file.read_bytes() == before


def test_help_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in [*SUITE, *GROUPS])


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("{}", "[]", "no json"):
        file = tmp_path / "x.json"
        file.write_text(content)
        assert command.main(["--render", str(file)]) == 2
        assert str(file) in capsys.readouterr().err


def test_pictures_have_every_server_in_words(tmp_path: Path) -> None:
    others = {(workload.removeprefix("curve "), server): reports for (workload, server), reports in CURVE.items()}
    for draw, samples in ((plots.curve, CURVE), (plots.latencies, others)):
        path = draw(results_of(samples), tmp_path / "x.svg")
        assert path is not None
        texts = "".join(ElementTree.parse(path).getroot().itertext())
        assert all(label in texts for label in ("iii-fast", "Redis", "bare echo"))
        assert draw(Results(), tmp_path / "y.svg") is None


def test_points_of_the_curve_are_medians_over_the_rounds() -> None:
    points = plots.curve_points(results_of(CURVE))
    assert points["native"] == [(21e3, 40, 85, "1x1"), (900e3, 200, 400, "16x16")]
