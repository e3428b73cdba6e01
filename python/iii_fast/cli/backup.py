"""``iii-fast backup``: copies a data directory, also while an engine works in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from iii_fast.cli.arguments import command_parser
from iii_fast.cli.data_files import FILE, WHERE, add_data_dir, bytes_of, data_dir, with_bar
from iii_fast.cli.failure import CommandError, telling_failures
from iii_fast.storage_files import Report, StorageFiles, storage_files

EPILOG: Final = f"""\
The copy holds everything that was acknowledged when the command began. It is written beside DEST, checked record by
record, synced, and only then named DEST: a DEST that is there is complete. It needs no engine and disturbs none.

examples:
  iii-fast backup /backups/monday
  iii-fast backup /backups/monday --data-dir /var/lib/iii-fast
  iii-fast restore /backups/monday         puts it back

{WHERE}"""


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 1 when there is no backup afterwards."""
    parser = command_parser("backup", description="Copy the state of an engine, running or not.", epilog=EPILOG)
    parser.add_argument("target", metavar="DEST", help="a directory that does not exist yet, or is empty")
    add_data_dir(parser)
    options = parser.parse_args(arguments)
    # Behind links: the copy is renamed, and a name can only be given to what is no link.
    source, target = data_dir(options, os.environ), Path(os.path.realpath(options.target))
    with telling_failures():
        found = back_up(storage_files(), source, target)
        print(f"backup of {source} is in {target}: {found}, {bytes_of(target)} bytes, checked")


def back_up(files: StorageFiles, source: Path, target: Path) -> Report:
    """Copies ``source`` to ``target``, or leaves nothing. Raises ``CommandError``, ``StorageError``, ``OSError``."""
    if not source.is_dir():
        raise CommandError(f"{source} is no directory: name the engine's with --data-dir")
    if not any(FILE.fullmatch(path.name) for path in source.iterdir()):
        raise CommandError(f"{source} holds no state: name the engine's directory with --data-dir")
    if target.is_relative_to(source.resolve()):
        raise CommandError(f"{target} is inside of {source}: choose a place outside")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already and not empty: choose another place")
    if os.path.ismount(target):
        raise CommandError(f"{target} is a mount point, which no copy can be renamed to: name a directory in it")
    return with_bar(lambda progress: files.backup(source, target, progress))
