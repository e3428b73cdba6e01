"""How far an export or import has come, in a small file beside the big one: ``FILE.progress``.

It is there as long as the work is not finished. Written atomically: a crash leaves the former one.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from iii_fast.cli.failure import CommandError

VERSION = 1


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """``bytes`` of the file hold ``entries``; all scopes before ``scope`` are done, of it what is before ``cursor``.

    ``only`` are the scopes that were asked for, ``None`` for all. ``after_key``: the last key of ``scope`` written.
    """

    format: str
    only: list[str] | None
    bytes: int = 0
    entries: int = 0
    scopes: int = 0
    scope: str | None = None
    cursor: str | None = None
    after_key: str | None = None


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """The engine has acknowledged the first ``records`` records, up to ``offset``; ``sha256`` is of these bytes.

    ``lines`` is how many lines they take (``jsonl``).
    """

    format: str
    offset: int = 0
    records: int = 0
    lines: int = 0
    sha256: str = ""


P = TypeVar("P", ExportProgress, ImportProgress)


def path_of(path: Path) -> Path:
    """Where the progress of ``path`` is kept."""
    return path.with_name(path.name + ".progress")


def save(path: Path, progress: ExportProgress | ImportProgress) -> None:
    """Writes the progress of ``path``. Raises ``OSError``."""
    target = path_of(path)
    unfinished = target.with_name(target.name + ".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"version": VERSION, **asdict(progress)}, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(target)


def load(path: Path, kind: type[P]) -> P | None:
    """Reads the progress of ``path``; ``None`` when there is none. Raises ``CommandError`` when it is unusable."""
    target = path_of(path)
    try:
        read: Any = json.loads(target.read_bytes())
        names = {one.name for one in fields(kind)}
        if not isinstance(read, dict) or read.pop("version", None) != VERSION or set(read) != names:
            raise ValueError("it is of another kind or version")
        return kind(**read)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CommandError(f"{target} cannot be read ({error}): remove it and start again without --resume") from None


def is_of(path: Path, kind: type[P]) -> bool:
    """Whether there is a progress of ``path`` of that kind."""
    try:
        return load(path, kind) is not None
    except CommandError:
        return False


def hold(file: BinaryIO, path: Path) -> None:
    """Keeps other exports and imports away from ``path`` until ``file`` is closed: their progress would be mixed up.

    Raises ``CommandError`` when one is there.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise CommandError(f"{path} is in use by another export or import") from None
    except OSError:  # a file system without locks, or one that locks only what can be written
        pass


def remove(path: Path) -> None:
    """The work is finished. Raises ``OSError``."""
    path_of(path).unlink(missing_ok=True)
