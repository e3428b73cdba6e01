"""``iii-fast backup``, ``restore`` and ``verify``: what they do to files, with a scripted reader of them."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from iii_fast import _core
from iii_fast.cli import main
from iii_fast.errors import BackendMissingError
from iii_fast.storage_files import Damage, Progress, Report, storage_files

JOURNAL = "journal-00000000000000000001.log"
LATER = "journal-00000000000000000042.log"
SNAPSHOT = "snapshot-00000001-00000.snap"


TOLD = "5 entries in snapshots, 6 commits in the journal up to position 7"


class ScriptedFiles:
    """Counts files instead of reading records; those that say so are damaged."""

    def verify(self, directory: Path, progress: Progress) -> Report:
        paths = [path for path in sorted(directory.iterdir()) if path.name != "lock" and path.suffix != ".tmp"]
        size = sum(path.stat().st_size for path in paths)
        progress(size, size)
        found = [Damage(path, 4, "wrong checksum") for path in paths if "damaged" in path.read_text()]
        return Report(len(paths), 5, 6, 7, 3 if directory.name == "torn" else 0, tuple(found))

    def backup(self, source: Path, target: Path, progress: Progress) -> Report:
        target.mkdir(exist_ok=True)
        for path in source.iterdir():
            if path.name != "lock" and path.suffix != ".tmp":
                shutil.copy(path, target)
        return self.verify(target, progress)


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedFiles:
    files = ScriptedFiles()
    for command in ("backup", "restore", "verify"):
        monkeypatch.setattr(f"iii_fast.cli.{command}.storage_files", lambda: files)
    return files


def filled(directory: Path, **texts: str) -> Path:
    directory.mkdir()
    for name, text in {JOURNAL: "one", SNAPSHOT: "three", "lock": "", "x.tmp": "unfinished", **texts}.items():
        (directory / name).write_text(text)
    return directory


def held(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if path.name != "lock"}


def test_verify_tells_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("data", "torn"):
        data = filled(tmp_path / name)
        assert main(["verify", str(data)]) == 0
        out, err = capsys.readouterr()
        told, *more = out.splitlines()
        assert told == f"{data} is intact: {TOLD}, 2 files, 8 bytes"
        assert more == ["3 bytes at its end are not written whole: an engine cuts them off when it starts"] * (
            name == "torn"
        )
        assert err == ""


def test_verify_tells_all_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = filled(tmp_path / "data", **{LATER: "damaged", SNAPSHOT: "damaged too"})
    assert main(["verify", str(data)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[:2] == [
        f"{data / LATER}: damaged at byte 4: wrong checksum",
        f"{data / SNAPSHOT}: damaged at byte 4: wrong checksum",
    ]
    assert "`iii-fast restore`" in err


def test_the_engines_own_directory_is_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "data")
    monkeypatch.delenv("III_FAST_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["verify"]) == 0
    assert capsys.readouterr().out.startswith("data is intact")
    monkeypatch.setenv("III_FAST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir("/")
    assert main(["backup", str(tmp_path / "copy")]) == 0
    assert held(tmp_path / "copy") == {JOURNAL: "one", SNAPSHOT: "three"}


@pytest.mark.parametrize("there", [False, True])
def test_backup_while_an_engine_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool) -> None:
    data, copy = filled(tmp_path / "data"), tmp_path / "copy"
    if there:
        copy.mkdir()
    with (data / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["backup", str(copy), "--data-dir", str(data)]) == 0
    out, err = capsys.readouterr()
    assert out == f"backup of {data} is in {copy}: {TOLD}, 2 files, 8 bytes, checked\n"
    assert err == ""
    assert held(copy) == {JOURNAL: "one", SNAPSHOT: "three"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "data"]


def test_where_a_backup_cannot_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, full, file = filled(tmp_path / "data"), filled(tmp_path / "full"), tmp_path / "file"
    file.write_text("")
    for target, reason in (
        (full, "is there already and not empty: choose another place"),
        (file, "is there already and not empty: choose another place"),
        (data / "copy", f"is inside of {data}: choose a place outside"),
    ):
        assert main(["backup", str(target), "--data-dir", str(data)]) == 1
        assert reason in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "none")]) == 1
    assert f"{tmp_path / 'none'} is no directory: name the engine's with --data-dir" in capsys.readouterr().err
    assert held(full) == held(data)


@pytest.mark.parametrize("there", ["nothing", "directory", "lock"])
def test_restore_into_an_empty_place(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str) -> None:
    backup, data = filled(tmp_path / "backup", **{LATER: "two"}), tmp_path / "deep" / "data"
    if there != "nothing":
        data.mkdir(parents=True)
    if there == "lock":
        (data / "lock").write_text("")
    assert main(["restore", str(backup), "--data-dir", str(data)]) == 0
    out, err = capsys.readouterr()
    assert f"{backup} is restored to {data}: {TOLD}, 3 files, 11 bytes\n" in out
    assert err == ""
    assert held(data) == {JOURNAL: "one", LATER: "two", SNAPSHOT: "three"}
    assert held(backup) == {JOURNAL: "one", LATER: "two", SNAPSHOT: "three", "x.tmp": "unfinished"}


def test_restore_does_not_touch_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, data = filled(tmp_path / "backup"), filled(tmp_path / "data", **{JOURNAL: "mine"})
    before = held(data)
    assert main(["restore", str(backup), "--data-dir", str(data)]) == 1
    assert capsys.readouterr().err == f"{data} holds files: move them away, or let --force move them aside\n"
    assert held(data) == before


def test_restore_by_force_moves_it_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = filled(tmp_path / "backup")
    data = filled(tmp_path / "data", **{JOURNAL: "mine", LATER: "mine too"})
    (data / "salvaged-1").mkdir()
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 0
    (aside,) = tmp_path.glob("data.before-restore-*")
    assert capsys.readouterr().err == f"what was in {data} is in {aside}\n"
    assert held(data) == {JOURNAL: "one", SNAPSHOT: "three"}
    (aside / "salvaged-1").rmdir()
    assert held(aside) == {JOURNAL: "mine", LATER: "mine too", SNAPSHOT: "three", "x.tmp": "unfinished"}


def test_a_running_engine_is_not_robbed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, data = filled(tmp_path / "backup"), filled(tmp_path / "data", **{JOURNAL: "mine"})
    before = held(data)
    with (data / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 1
    assert capsys.readouterr().err == f"{data} is in use by an engine or another command: stop it first\n"
    assert held(data) == before


def test_a_damaged_backup_is_not_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, data = filled(tmp_path / "backup", **{LATER: "damaged"}), filled(tmp_path / "data", **{JOURNAL: "mine"})
    before = held(data)
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 1
    assert f"{backup / LATER}: damaged at byte 4" in capsys.readouterr().err
    assert held(data) == before


def test_what_cannot_be_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = filled(tmp_path / "data")
    assert main(["restore", str(data), "--data-dir", str(data), "--force"]) == 1
    assert "is the engine's directory itself" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "none"), "--data-dir", str(data), "--force"]) == 1
    assert "is no directory: name one that `iii-fast backup` made" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["restore", str(tmp_path / "empty"), "--data-dir", str(data), "--force"]) == 1
    assert "holds no state: name a directory that `iii-fast backup` made" in capsys.readouterr().err
    assert held(data)[JOURNAL] == "one"


def test_a_restore_whose_copy_fails_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, data = filled(tmp_path / "backup"), filled(tmp_path / "data", **{JOURNAL: "mine"})
    before = held(data)

    def full(source: Path, target: Path, copied: object) -> None:
        if source.name == SNAPSHOT:
            raise OSError(28, "No space left on device", str(target))
        shutil.copy(source, target)

    monkeypatch.setattr("iii_fast.cli.restore.copy_file", full)
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 1
    assert capsys.readouterr().err.endswith(": No space left on device\n")
    assert held(data) == before


def test_a_restore_cut_short_leaves_no_shorter_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files appear in such an order that what is there so far never looks complete and is not."""
    middle = "journal-00000000000000000007.log"
    backup, data = filled(tmp_path / "backup", **{LATER: "two", middle: "m"}), tmp_path / "data"
    seen: list[list[str]] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        result = rename(self, target)
        seen.append(sorted(path.name for path in data.iterdir() if path.name != "lock" and path.suffix != ".tmp"))
        return result

    monkeypatch.setattr(Path, "rename", watched)
    assert main(["restore", str(backup), "--data-dir", str(data)]) == 0
    assert seen == [[LATER], [middle, LATER], [JOURNAL, middle, LATER], [JOURNAL, middle, LATER, SNAPSHOT]]


# the seam


def test_without_the_extension_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match="pip install"):
        storage_files()


def test_an_extension_of_other_sources_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_core, "verify_directory", raising=False)
    with pytest.raises(BackendMissingError, match="build it from the same sources"):
        storage_files()
