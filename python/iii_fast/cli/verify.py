"""``iii-fast verify``: reads a data directory or a backup and checks every record of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from iii_fast.cli.arguments import command_parser
from iii_fast.cli.data_files import WHERE, add_data_dir, bytes_of, data_dir, with_bar
from iii_fast.cli.failure import CommandError, telling_failures
from iii_fast.storage_files import Report, StorageFiles, storage_files

EPILOG: Final = f"""\
Reads every file and checks every record, and changes nothing; an engine may be running. Status 0: an engine can start
from it. Status 1: file, offset and reason of everything that is damaged are told.

examples:
  iii-fast verify
  iii-fast verify /backups/monday

{WHERE}"""


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 1 when the files are damaged."""
    parser = command_parser("verify", description="Check the files of a data directory or a backup.", epilog=EPILOG)
    parser.add_argument("directory", nargs="?", metavar="DIR", help="default: the engine's directory")
    add_data_dir(parser)
    options = parser.parse_args(arguments)
    if options.directory is not None and options.data_dir is not None:
        parser.error("--data-dir is another way to name DIR: give one of them")
    directory = data_dir(options, os.environ) if options.directory is None else Path(options.directory)
    with telling_failures():
        found = intact(storage_files(), directory)
        if not found.files:
            raise CommandError(f"{directory} holds no state: name a data directory or a backup")
        print(f"{directory} is intact: {found}, {bytes_of(directory)} bytes")
    if found.torn_bytes:
        print(f"{found.torn_bytes} bytes at its end are not written whole: an engine cuts them off when it starts")


def intact(files: StorageFiles, directory: Path) -> Report:
    """Verifies a directory. Raises ``CommandError`` with all that is damaged, and what to do; ``StorageError``."""
    found = with_bar(lambda progress: files.verify(directory, progress))
    if found.damages:
        told = "\n".join(str(damage) for damage in found.damages)
        raise CommandError(
            f"{told}\nput a backup in its place with `iii-fast restore`, or keep what is intact with "
            "`iii-fast serve --salvage`"
        )
    return found
