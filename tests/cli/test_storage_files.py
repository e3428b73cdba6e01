"""``iii-fast backup``, ``restore`` and ``verify``: what they do to files, with a scripted reader of them."""

from __future__ import annotations

import fcntl
import shutil
import signal
from pathlib import Path

import pytest

from iii_fast import _core
from iii_fast.cli import main
from iii_fast.errors import BackendMissingError
from iii_fast.storage_files import Damage, Progress, Report, storage_files
from tests.durability import golden

JOURNAL = "journal-00000000000000000001.log"
LATER = "journal-00000000000000000042.log"
SNAPSHOT = "snapshot-00000001-00000.snap"


TOLD = "5 entries in snapshots, 6 commits in the journal up to position 7"


class ScriptedFiles:
    """Counts files instead of reading records; those that say so are damaged."""

    def verify(self, directory: Path, progress: Progress) -> Report:
        paths = [path for path in sorted(directory.iterdir()) if path.suffix in (".log", ".snap")]
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
    return {path.name: path.read_text() for path in directory.iterdir() if path.name != "lock" and path.is_file()}


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


CONFIG = "workers: [{name: state, config: {adapter: {name: kv, config: {file_path: %s}}}}]\n"


def test_a_configuration_file_names_the_directory_as_for_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("III_FAST_DATA_DIR", "III_CONFIG_PATH", "III_FAST_IN_MEMORY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("found", "named", "variable"):
        filled(tmp_path / name)
        (tmp_path / f"{name}.yaml").write_text(CONFIG % name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found.yaml").rename(tmp_path / "config.yaml")

    def told(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    assert told("verify").startswith("found is intact")
    assert told("verify", "-c", "named.yaml").startswith("named is intact")
    assert told("backup", "copy", "-c", "named.yaml").startswith("backup of named is in")
    assert "is restored to found/deep: " in told("restore", "copy", "--data-dir", "found/deep")
    monkeypatch.setenv("III_CONFIG_PATH", "variable.yaml")
    assert told("verify").startswith("variable is intact")
    monkeypatch.setenv("III_FAST_DATA_DIR", "found")
    assert told("verify", "-c", "named.yaml").startswith("found is intact")
    assert told("verify", "--data-dir", "named").startswith("named is intact")
    (tmp_path / "config.yaml").write_text("workers: nonsense")
    monkeypatch.delenv("III_FAST_DATA_DIR")
    assert told("verify", "--data-dir", "found", "-c", "config.yaml").startswith("found is intact")
    assert main(["verify", "-c", "config.yaml"]) == 1
    assert "config.yaml:1" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["verify"], ["backup", "copy"], ["restore", "copy", "--force"]])
def test_a_directory_that_nobody_named_is_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """An empty --data-dir is a variable of a script that is not set, and no default."""
    monkeypatch.delenv("III_FAST_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    filled(tmp_path / "data")
    before = held(tmp_path / "data")
    assert main([*command, "--data-dir", ""]) == 1
    assert "--data-dir is empty, expected a directory" in capsys.readouterr().err
    monkeypatch.setenv("III_FAST_IN_MEMORY", "true")
    assert main(command) == 1
    assert "keep state in no directory: name one with --data-dir" in capsys.readouterr().err
    assert held(tmp_path / "data") == before


def test_a_directory_without_state_is_not_called_intact_nor_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "lock").write_text("")
    assert main(["verify", str(tmp_path / "empty")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'empty'} holds no state: name a data directory or a backup\n"
    assert main(["backup", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "empty")]) == 1
    assert f"{tmp_path / 'empty'} holds no state: name the engine's directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_backup_goes_where_a_link_leads_and_not_onto_a_mount(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = filled(tmp_path / "data")
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "disk")
    assert main(["backup", str(tmp_path / "link"), "--data-dir", str(data)]) == 1
    assert f"{tmp_path / 'disk'} is a mount point" in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "link" / "copy"), "--data-dir", str(data)]) == 0
    assert held(tmp_path / "disk" / "copy") == {JOURNAL: "one", SNAPSHOT: "three"}


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


def test_restore_by_force_on_a_mount_point_moves_it_aside_within(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, data = filled(tmp_path / "backup"), filled(tmp_path / "data", **{JOURNAL: "mine"})
    rename = Path.rename

    def within(self: Path, target: Path) -> Path:
        if self.is_relative_to(data) and not target.is_relative_to(data):
            raise OSError(18, "Invalid cross-device link", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", within)
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 0
    (aside,) = data.glob("before-restore-*")
    assert capsys.readouterr().err == f"what was in {data} is in {aside}\n"
    assert sorted(path.name for path in data.iterdir()) == [aside.name, JOURNAL, "lock", SNAPSHOT]
    assert held(aside)[JOURNAL] == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


def test_restored_state_is_for_its_owner_only(tmp_path: Path) -> None:
    backup, data = filled(tmp_path / "backup"), tmp_path / "data"
    assert main(["restore", str(backup), "--data-dir", str(data)]) == 0
    assert data.stat().st_mode & 0o777 == 0o700
    data.chmod(0o750)
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 0
    (aside,) = tmp_path.glob("data.before-restore-*")
    assert aside.stat().st_mode & 0o777 == 0o700


def test_what_root_restores_belongs_to_the_owner_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, data = filled(tmp_path / "backup"), filled(tmp_path / "data")
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.chown", lambda path, user, group: given.append((Path(path).suffix, user, group)))
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 0
    owner = data.stat()
    assert {(user, group) for _, user, group in given} == {(owner.st_uid, owner.st_gid)}
    assert len(given) == 4, "two files, the lock, and the directory of what was there"


def test_a_new_file_system_is_empty(tmp_path: Path) -> None:
    backup, data = filled(tmp_path / "backup"), tmp_path / "data"
    (data / "lost+found").mkdir(parents=True)
    assert main(["restore", str(backup), "--data-dir", str(data)]) == 0
    assert (data / "lost+found").is_dir()


def test_an_engine_refuses_what_a_forced_restore_left_when_it_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no instant is there a directory that looks new: the old state would seem to be gone."""
    backup, data = filled(tmp_path / "backup"), filled(tmp_path / "data")
    (data / "snapshot-00000007-00000.snap").write_text("newest")
    seen: list[set[str]] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        result = rename(self, target)
        seen.append({path.name for path in data.iterdir()})
        return result

    monkeypatch.setattr(Path, "rename", watched)
    assert main(["restore", str(backup), "--data-dir", str(data), "--force"]) == 0
    assert len(seen) == 7, "of the directory, four old files, two new ones"
    assert all("snapshot-00000008-00000.snap" in names for names in seen)
    assert held(data) == {JOURNAL: "one", SNAPSHOT: "three"}


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


def test_what_the_progress_raises_ends_the_work_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C comes this way: between two calls a signal is looked at."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / golden.SEGMENT_NAME).write_bytes(golden.SEGMENT)
    files = storage_files()
    told: list[tuple[int, int]] = []
    files.verify(tmp_path / "data", lambda done, total: told.append((done, total)))
    assert told[-1] == (len(golden.SEGMENT), len(golden.SEGMENT))

    def interrupted(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        files.verify(tmp_path / "data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.backup(tmp_path / "data", tmp_path / "deep" / "copy", interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_without_the_extension_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match="pip install"):
        storage_files()


def test_an_extension_of_other_sources_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_core, "verify_directory", raising=False)
    with pytest.raises(BackendMissingError, match="build it from the same sources"):
        storage_files()
