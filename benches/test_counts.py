"""The guard over instructions fails when it should, and only then."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import pytest

from benches import counts
from benches.counts import Verdict, verdicts

NAME = "framing"


@pytest.mark.parametrize(
    ("instructions", "baseline", "good"),
    [(1_050, 1_000, True), (1_051, 1_000, False), (500, 1_000, True), (1_000, None, False)],
)
def test_five_percent_more_are_too_many(instructions: int, baseline: int | None, good: bool) -> None:
    assert Verdict(NAME, instructions, baseline).good is good


def test_new_work_without_a_baseline_is_noticed() -> None:
    assert [one.good for one in verdicts({"a": 10, "b": 10}, {"a": 10})] == [True, False]


def test_the_baseline_in_the_repository_has_every_piece_of_work() -> None:
    text = (Path(counts.__file__).parent / "core" / "src" / "lib.rs").read_text()
    names = {name for line in text.splitlines() for name in line.split('"')[1::2] if " => Box::new(" in line}
    saved = json.loads(counts.BASELINE.read_text())
    assert len(names) >= 7
    assert all(set(one["instructions"]) == names for one in saved.values())


@pytest.mark.deadline(300)
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts the instructions, and is not installed")
def test_a_real_count_passes_its_own_baseline_and_fails_a_smaller_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "counts.json"
    only = ["--baseline", str(file), "--only", NAME]
    assert counts.main(only) == 2, "there is no baseline"
    assert counts.main([*only, "--renew"]) == 0
    assert counts.main(only) == 0
    saved = json.loads(file.read_text())
    saved[platform.machine()]["instructions"][NAME] = int(saved[platform.machine()]["instructions"][NAME] / 1.06)
    file.write_text(json.dumps(saved))
    capsys.readouterr()
    assert counts.main(only) == 1
    assert "TOO MANY" in capsys.readouterr().out
