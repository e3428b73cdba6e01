"""``iii-fast export`` and ``import`` of files that others have in hand, or that are none."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.cli.fake_state import FakeState, fake_state
from tests.cli.outcome import Outcome, run


def filled(count: int) -> FakeState:
    state = FakeState()
    for key in range(count):
        state.put("s", f"k{key}", str(key))
    return state


async def command(capsys: pytest.CaptureFixture[str], state: FakeState, *arguments: str) -> Outcome:
    async with fake_state(state) as engine:
        return await run(capsys, *arguments, *engine)


async def test_half_an_export_is_not_imported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state, copy, path = filled(30), FakeState(), tmp_path / "out"
    state.page_entries = 10
    state.fail[("state::list_entries", 3)] = None
    assert (await command(capsys, state, "export", str(path))).status == 1
    outcome = await command(capsys, copy, "import", str(path))
    assert outcome.status == 1
    assert f"{path} is not complete: its export was interrupted" in outcome.err
    assert copy.texts() == {}
    assert (await command(capsys, state, "export", str(path), "--resume")).status == 0
    assert (await command(capsys, copy, "import", str(path))).status == 0
    assert copy.texts() == state.texts()


@pytest.mark.parametrize("arguments", [["export", "--resume"], ["import"], ["import", "--resume"]])
async def test_a_file_has_one_command_at_a_time(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    state, path = filled(30), tmp_path / "out"
    state.page_entries = 10
    state.fail[("state::list_entries", 3)] = None
    await command(capsys, state, "export", str(path))
    if arguments[0] == "import":
        path.with_name("out.progress").unlink()
    before = path.read_bytes()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        outcome = await command(capsys, state, *arguments, str(path))
        assert (outcome.status, path.read_bytes()) == (1, before)
        assert f"{path} is in use by another export or import" in outcome.err
    assert (await command(capsys, state, *arguments, str(path))).status == 0


async def test_what_is_no_file_is_not_to_be_removed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        outcome = await command(capsys, filled(1), "export", str(path))
        assert (outcome.status, outcome.err) == (1, f"{path} is no file: name one, or send stdout there\n")


async def test_a_full_disk_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "out"
    (tmp_path / "out.progress.tmp").mkdir()  # so that progress cannot be saved, whoever runs this
    outcome = await command(capsys, filled(1), "export", str(path))
    assert (outcome.status, outcome.err) == (1, f"{path} cannot be written: Is a directory\n")


async def test_an_import_needs_no_place_to_write(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file on a disk that is read only: it is imported, and cannot be gone on with."""
    monkeypatch.setattr("iii_fast.cli.import_.CHECKPOINT_S", -1.0)
    state, copy, path = filled(3_000), FakeState(), tmp_path / "out"
    assert (await command(capsys, state, "export", str(path))).status == 0
    (tmp_path / "out.progress.tmp").mkdir()
    outcome = await command(capsys, copy, "import", str(path))
    told, *rest = outcome.err.splitlines()
    assert told == f"{path}.progress cannot be written (Is a directory): no --resume after an interruption"
    assert (outcome.status, rest) == (0, ["imported 3000 entries"])
    assert copy.texts() == state.texts()
    copy.fail[("state::set_many", copy.calls["state::set_many"] + 2)] = None
    outcome = await command(capsys, copy, "import", str(path))
    assert outcome.status == 1
    assert "not complete: " in outcome.err
    assert "go on with" not in outcome.err
