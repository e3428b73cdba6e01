"""Every benchmark runs, with tiny inputs and through the same code, so that none of them rots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benches import contenders, processes, report
from benches.measure import QUICK, Bench
from benches.processes import ROOT, Cores
from benches.report import Run
from benches.suite import RUNNING, SUITE


@contextmanager
def bench_of(name: str, data: Path) -> Iterator[Bench]:
    """With an engine that runs, where one is compared with."""
    if name == RUNNING:
        with processes.engine("reference", Cores()) as server:
            yield Bench(QUICK, Cores(), data, engine=server.url)
    else:
        yield Bench(QUICK, Cores(), data, against=ROOT)


@pytest.mark.deadline(120)
@pytest.mark.parametrize("name", SUITE)
def test_runs_and_every_answer_is_right(name: str, tmp_path: Path) -> None:
    with bench_of(name, tmp_path) as bench:
        SUITE[name](bench)
    results = bench.results
    assert results.faults == []
    assert results.missing == []
    assert results.rows or name == "large"
    assert all(sample["ops"] > 0 for samples in results.samples.values() for sample in samples)
    run = Run.of(results, QUICK, bench.cores, report.machine(), f"iii-fast bench --only {name}")
    data, page, *pictures = report.write(run, part=name, folder=tmp_path)
    lines = page.read_text().splitlines()
    assert all(any(row.what in line for line in lines) for row in results.rows)
    assert all(f"({picture.name})" in page.read_text() for picture in pictures)
    assert Run.load(data) == run


def test_who_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "program", lambda name: None)
    bench = Bench(QUICK, Cores(), tmp_path)
    SUITE["stores"](bench)
    assert {server for _, server in bench.results.samples} == {"native"}
    assert len(bench.results.missing) == 2
    page = report.markdown(Run.of(bench.results, QUICK, bench.cores, {}, "iii-fast bench"), {})
    assert "## Not measured" in page
    assert all(reason in page for reason in bench.results.missing)
