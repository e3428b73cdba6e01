"""Every benchmark runs, with tiny inputs and through the same code, so that none of them rots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benches import report
from benches.measure import QUICK, Bench
from benches.processes import ROOT, Cores
from benches.suite import SUITE


@pytest.mark.parametrize("name", SUITE)
def test_runs_and_every_answer_is_right(name: str, tmp_path: Path) -> None:
    bench = Bench(QUICK, Cores(), data=tmp_path, against=ROOT)
    SUITE[name](bench)
    results = bench.results
    assert results.faults == []
    assert results.rows or name == "large"
    assert all(sample["ops"] > 0 for samples in results.samples.values() for sample in samples)
    page, data = report.write(results, QUICK, bench.cores, report.machine(), part=name, folder=tmp_path)
    lines = page.read_text().splitlines()
    assert all(any(row.what in line for line in lines) for row in results.rows)
    assert len(json.loads(data.read_text())["rows"]) == len(results.rows)
