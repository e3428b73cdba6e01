"""The command ``iii-fast bench``: it finds the suite, and says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iii_fast.cli import bench

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, place: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "python")} | ({} if path is None else {"PATH": path})
    command = [sys.executable, "-m", "iii_fast", "bench", *arguments]
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)


def test_it_runs_the_suite_of_its_checkout_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "benches").mkdir()
    (tmp_path / "benches" / "__main__.py").write_text("raise SystemExit('not this one')")
    done = run("--help", place=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--engine ws://HOST:PORT" in done.stdout


def test_without_cargo_it_says_so(tmp_path: Path) -> None:
    done = run("--quick", "--only", "state", "--data", str(tmp_path), place=tmp_path, path=str(tmp_path))
    assert done.returncode == 2
    assert "cargo is not on the path" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_checkout_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as leaving:
        bench.main([])
    assert leaving.value.code == 1
    assert "source checkout" in capsys.readouterr().err


def test_a_running_engine_needs_an_address(tmp_path: Path) -> None:
    done = run("--only", "running", place=tmp_path)
    assert done.returncode == 2
    assert "--engine ws://HOST:PORT" in done.stderr
