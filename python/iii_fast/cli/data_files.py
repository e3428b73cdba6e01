"""The data directory of offline commands: where it is, whose it is, and moves of files that survive a power loss."""

from __future__ import annotations

import fcntl
import os
import re
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from iii_fast.cli.progress_bar import progress_bar
from iii_fast.config import VARIABLES, Overrides, Settings, load_config
from iii_fast.errors import ConfigError, StorageError
from iii_fast.storage_files import Progress

LOCK: Final = "lock"
WHERE: Final = f"""\
The engine's directory is found as `iii-fast serve` finds it: --data-dir, {VARIABLES["data_dir"]}, the file_path in the
configuration file (-c FILE, III_CONFIG_PATH, config.yaml, iii-config.yaml), ./data.
"""
"""For help texts."""

FILE: Final = re.compile(r"journal-\d{20}\.log|snapshot-\d{8}-\d{5}\.snap")
"""Names of the files that hold state."""

COPY_BYTES: Final = 1 << 20
T = TypeVar("T")


def add_data_dir(parser: ArgumentParser) -> None:
    """``--data-dir`` and ``-c``."""
    parser.add_argument("--data-dir", metavar="DIR", help="the engine's directory (default: see below)")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration file, which may name the directory")


def data_dir(options: Namespace, environ: Mapping[str, str]) -> Path:
    """The directory of an engine that is started with the same options, variables and files. Raises ``ConfigError``."""
    flags = Overrides.from_texts({} if options.data_dir is None else {"data_dir": ("--data-dir", options.data_dir)})
    names = {key: VARIABLES[key] for key in ("data_dir", "in_memory")}
    variables = Overrides.from_texts({key: (name, environ[name]) for key, name in names.items() if name in environ})
    overrides = flags.over(variables)
    # A directory that is named needs no file: a broken one is not in the way of a restore then.
    settings = Settings() if overrides.data_dir else load_config(options.config, environ=environ).settings
    directory = overrides.apply(settings).storage.directory
    if directory is None:
        raise ConfigError("this engine is told to keep state in no directory: name one with --data-dir")
    return directory


def with_bar(work: Callable[[Progress], T]) -> T:
    """Runs ``work``, which tells its progress in bytes, under a progress bar."""
    with progress_bar("B") as bar:

        def told(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return work(told)


def bytes_of(directory: Path) -> int:
    """The bytes of the files that hold state. Raises ``OSError``."""
    return sum(path.stat().st_size for path in directory.iterdir() if FILE.fullmatch(path.name))


def now_ms() -> int:
    """Unix time in ms, for names."""
    return time.time_ns() // 1_000_000


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the directory's lock, as an engine does. Raises ``StorageError`` when somebody else has it, ``OSError``."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StorageError(f"{directory} is in use by an engine or another command: stop it first") from None
    finally:
        os.close(descriptor)


def give_to_owner(directory: Path, path: Path) -> None:
    """What root made belongs to the owner of ``directory`` then: an engine need not be root. Raises ``OSError``."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sync_directory(directory: Path) -> None:
    """Makes names in a directory permanent. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path, copied: Callable[[int], None]) -> None:
    """Copies one file to a new one and syncs it; ``copied`` is told the bytes of each piece. Raises ``OSError``."""
    try:
        with source.open("rb") as reading, target.open("xb") as writing:
            while data := reading.read(COPY_BYTES):
                writing.write(data)
                copied(len(data))
            writing.flush()
            os.fsync(writing.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(target)) from None
