"""``iii-fast restore``: puts a backup in the place of a data directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from iii_fast.cli.arguments import command_parser
from iii_fast.cli.data_files import (
    FILE,
    LOCK,
    WHERE,
    add_data_dir,
    bytes_of,
    copy_file,
    data_dir,
    give_to_owner,
    locked,
    now_ms,
    sync_directory,
    with_bar,
)
from iii_fast.cli.failure import CommandError, telling_failures
from iii_fast.cli.verify import intact
from iii_fast.storage_files import Progress, Report, StorageFiles, storage_files

EPILOG: Final = f"""\
The engine must be stopped. The backup is checked first, then copied into the directory, synced, and checked again. A
directory that holds files is refused; with --force they are moved to DIR.before-restore-<Unix ms> (or, when that is
not possible, as for a mount point, to before-restore-<Unix ms> in it), never deleted. Run as root, what is restored
belongs to the directory's owner.

examples:
  iii-fast restore /backups/monday
  iii-fast restore /backups/monday --data-dir /var/lib/iii-fast --force

{WHERE}"""

NO_STATE: Final = (LOCK, "lost+found")
"""Names in a directory that is as good as empty; the second one is in every new file system."""


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 1 when the backup is not in place afterwards."""
    parser = command_parser("restore", description="Put a backup in the place of an engine's state.", epilog=EPILOG)
    parser.add_argument("backup", metavar="BACKUP", help="a directory that `iii-fast backup` made")
    add_data_dir(parser)
    parser.add_argument("--force", action="store_true", help="move aside what is in the directory")
    options = parser.parse_args(arguments)
    source, target = Path(options.backup), data_dir(options, os.environ)
    with telling_failures():
        found = restore(storage_files(), source, target, force=options.force)
        print(f"{source} is restored to {target}: {found}, {bytes_of(target)} bytes")


def restore(files: StorageFiles, source: Path, target: Path, *, force: bool) -> Report:
    """Puts ``source`` in the place of ``target``. Until all of it is copied, ``target`` stays as it was.

    Raises ``CommandError``, ``StorageError`` and ``OSError``.
    """
    if not source.is_dir():
        raise CommandError(f"{source} is no directory: name one that `iii-fast backup` made")
    if not intact(files, source).files:
        raise CommandError(f"{source} holds no state: name a directory that `iii-fast backup` made")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)  # as the engine makes it: state may be anything
    if target.samefile(source):
        raise CommandError(f"{source} is the engine's directory itself: name a backup")
    with locked(target):
        give_to_owner(target, target / LOCK)
        former = sorted(path for path in target.iterdir() if path.name not in NO_STATE)
        if former and not force:
            raise CommandError(f"{target} holds files: move them away, or let --force move them aside")
        copies = _copied(source, target)
        # In a thread, which Ctrl-C does not end: what is begun here is finished.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_exchange, target, former, copies).result()
        return intact(files, target)


def _exchange(target: Path, former: list[Path], copies: list[tuple[Path, str]]) -> None:
    """Moves ``former`` away and gives the copies their names. Cut short, an engine refuses the directory."""
    barrier = target / _barrier_name([path.name for path in former] + [name for _, name in copies])
    if former:
        # Between the old files and the new ones there are none, which looks like a new directory.
        barrier.write_text("a restore was cut short: restore again, with --force\n")
        sync_directory(target)
        _move_aside(target, former)
    for copy, name in sorted(copies, key=_turn):
        copy.rename(target / name)
        sync_directory(target)
    if former:
        barrier.unlink()
        sync_directory(target)


def _barrier_name(names: list[str]) -> str:
    """The name of a snapshot that is newer than all others, so that an engine looks at it."""
    generations = [int(name[9:17]) for name in names if FILE.fullmatch(name) and name.startswith("snapshot-")]
    return f"snapshot-{max(generations, default=0) + 1:08}-00000.snap"


def _copied(source: Path, target: Path) -> list[tuple[Path, str]]:
    """Copies the files of state under names that an engine removes at its start; with the names they are to have."""
    found = sorted(path for path in source.iterdir() if FILE.fullmatch(path.name))
    stamp = now_ms()
    copies = [(target / f"restore-{stamp}-{path.name}.tmp", path.name) for path in found]

    def work(progress: Progress) -> None:
        total, done = sum(path.stat().st_size for path in found), 0

        def copied(more: int) -> None:
            nonlocal done
            done += more
            progress(done, total)

        for path, (copy, _) in zip(found, copies, strict=True):
            copy_file(path, copy, copied)
            give_to_owner(target, copy)
        sync_directory(target)

    try:
        with_bar(work)
    except BaseException:
        for copy, _ in copies:
            copy.unlink(missing_ok=True)
        raise
    return copies


def _turn(copied: tuple[Path, str]) -> tuple[bool, int]:
    """Segments from the newest to the oldest, then snapshots: cut short, an engine sees that files are missing.

    The other way round a journal without its end would look like a shorter one.
    """
    name = copied[1]
    is_segment = name.startswith("journal-")
    return not is_segment, -int(name[8:28]) if is_segment else 0


def _move_aside(target: Path, former: list[Path]) -> None:
    absolute, stamp = target.resolve(), now_ms()
    aside = absolute / f"before-restore-{stamp}"
    aside.mkdir(mode=0o700)
    give_to_owner(target, aside)
    beside = absolute.with_name(f"{absolute.name}.before-restore-{stamp}")
    with suppress(OSError):  # not out of a mount point, nor to where nothing can be made
        aside = aside.rename(beside)
    print(f"what was in {target} is in {aside}", file=sys.stderr)
    for path in former:
        path.rename(aside / path.name)
    sync_directory(aside)
    sync_directory(aside.parent)
