"""``iii-fast backup``, ``restore`` and ``verify`` with the files of engines that run, or start from what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from tests.cli.outcome import Outcome, run
from tests.durability import golden
from tests.support.engine_process import BACKENDS, EngineProcess

EngineIn: TypeAlias = Callable[[Path], EngineProcess]


@pytest.fixture(params=BACKENDS)
def engine_in(request: pytest.FixtureRequest) -> EngineIn:
    """Starts an engine of each backend in a directory: their files are the same."""
    return lambda directory: EngineProcess(request.param, "--data-dir", str(directory))


def address(engine: EngineProcess) -> str:
    return f"{engine.worker[0]}:{engine.worker[1]}"


def write_lines(path: Path, scope: str, count: int) -> None:
    path.write_text("".join(f'{{"scope":"{scope}","key":"k{at}","value":{at}.50}}\n' for at in range(count)))


def export_of(engine: EngineProcess, capsys: pytest.CaptureFixture[str], scope: str) -> str:
    outcome = trio.run(run, capsys, "export", "--scope", scope, "--address", address(engine))
    assert outcome.status == 0, outcome.err
    return outcome.out


@pytest.mark.deadline(90)
def test_an_engine_starts_from_what_was_restored(
    engine_in: EngineIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, copy, place, lines = (tmp_path / name for name in ("data", "copy", "place", "lines"))

    def command(*arguments: object) -> Outcome:
        outcome = trio.run(run, capsys, *(str(one) for one in arguments))
        assert outcome.status == 0, outcome.err
        return outcome

    write_lines(lines, "s", 2_000)
    with engine_in(data) as engine:
        command("import", lines, "--address", address(engine))
        assert "disk" not in command("state", "set", "t", "k", "1", "--durable", "--address", address(engine)).err
        assert f"{data} is intact: " in command("verify", data).out
        told = command("backup", copy, "--data-dir", data).out
        assert told.startswith(f"backup of {data} is in {copy}: ")
        assert "up to position 2001, " in told
        command("state", "set", "s", "later", "1", "--address", address(engine))
    assert "up to position 2002, " in command("verify", data).out
    command("restore", copy, "--data-dir", place)
    with engine_in(place) as engine:
        assert export_of(engine, capsys, "s") == lines.read_text()
        command("state", "set", "s", "mine", "1", "--address", address(engine))
    command("restore", copy, "--data-dir", data, "--force")
    (aside,) = tmp_path.glob("data.before-restore-*")
    with engine_in(data) as engine:
        assert export_of(engine, capsys, "s") == lines.read_text()
    with engine_in(aside) as engine:
        assert '"later"' in export_of(engine, capsys, "s")


@pytest.mark.deadline(90)
async def test_a_backup_holds_what_was_acknowledged_before_it(
    engine_in: EngineIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    data, lines, more = (tmp_path / name for name in ("data", "lines", "more"))
    write_lines(lines, "s", 500)
    write_lines(more, "more", 20_000)
    engine = await trio.to_thread.run_sync(engine_in, data)
    try:
        assert (await run(capsys, "import", str(lines), "--address", address(engine))).status == 0
        writing = trio.Event()

        async def write() -> None:
            await run(capsys, "import", str(more), "--address", address(engine))
            writing.set()

        nursery.start_soon(write)
        copies = []
        while not writing.is_set():
            copies.append(tmp_path / f"copy-{len(copies)}")
            outcome = await run(capsys, "backup", str(copies[-1]), "--data-dir", str(data))
            assert outcome.status == 0, outcome.err
    finally:
        await trio.to_thread.run_sync(engine.__exit__, None, None, None)
    for copy in (copies[0], copies[-1]):
        restored = await trio.to_thread.run_sync(engine_in, copy)
        try:
            outcome = await run(capsys, "export", "--scope", "s", "--address", address(restored))
        finally:
            await trio.to_thread.run_sync(restored.__exit__, None, None, None)
        assert outcome.out.count("\n") == 500


def test_damage_is_told_and_goes_nowhere(
    engine_in: EngineIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, copy, place, lines = (tmp_path / name for name in ("data", "copy", "place", "lines"))
    write_lines(lines, "s", 2_000)
    with engine_in(data) as engine:
        assert trio.run(run, capsys, "import", str(lines), "--address", address(engine)).status == 0
    assert trio.run(run, capsys, "backup", str(copy), "--data-dir", str(data)).status == 0
    for directory in (data, copy):
        (segment,) = directory.glob("journal-*.log")
        raw = bytearray(segment.read_bytes())
        raw[len(raw) // 2] ^= 0x40
        segment.write_bytes(raw)
        outcome = trio.run(run, capsys, "verify", str(directory))
        assert outcome.status == 1
        assert outcome.err.startswith(f"{segment}: damaged at byte ")
    outcome = trio.run(run, capsys, "backup", str(tmp_path / "second"), "--data-dir", str(data))
    assert (outcome.status, "damaged at byte " in outcome.err) == (1, True)
    outcome = trio.run(run, capsys, "restore", str(copy), "--data-dir", str(place))
    assert (outcome.status, "damaged at byte " in outcome.err) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data", "lines"]


def test_a_backup_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    """Told as it was given, also where the terminal is strict about it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / golden.SEGMENT_NAME).write_bytes(golden.SEGMENT)
    command = [sys.executable, "-m", "iii_fast", "backup", "--data-dir", "data", b"copy-\xff"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, cwd=tmp_path, env=strict, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"/copy-\xff: " in done.stdout
    assert (tmp_path / os.fsdecode(b"copy-\xff") / golden.SEGMENT_NAME).read_bytes() == golden.SEGMENT


def test_an_engine_that_runs_keeps_its_directory(
    engine_in: EngineIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with engine_in(data) as engine:
        trio.run(run, capsys, "state", "set", "s", "k", "1", "--address", address(engine))
        assert trio.run(run, capsys, "backup", str(copy), "--data-dir", str(data)).status == 0
        outcome = trio.run(run, capsys, "restore", str(copy), "--data-dir", str(data), "--force")
        assert outcome.status == 1
        assert outcome.err == f"{data} is in use by an engine or another command: stop it first\n"
        assert export_of(engine, capsys, "s") == '{"scope":"s","key":"k","value":1}\n'
