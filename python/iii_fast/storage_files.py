"""What can be done with the files of state without an engine (docs/storage.md): check them, copy them while one runs.

The seam between the offline commands and the extension, which reads the files. Everything here blocks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from iii_fast.errors import BackendMissingError

Progress: TypeAlias = Callable[[int, int], None]
"""Told now and then how many bytes are done, of how many."""

EXTENSION: Final = "iii_fast._core"


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written. ``file`` is the directory when files are missing."""

    file: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: damaged at byte {self.offset}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a directory holds: ``entries`` in snapshots, ``commits`` in the journal, up to ``position``.

    ``torn_bytes`` at the end have not been written whole: an engine cuts them off at its start.
    """

    files: int = 0
    entries: int = 0
    commits: int = 0
    position: int = 0
    torn_bytes: int = 0
    damages: tuple[Damage, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.entries} entries in snapshots, {self.commits} commits in the journal up to position "
            f"{self.position}, {self.files} files"
        )


class StorageFiles(Protocol):
    """Reads directories of state, also one that an engine is using. Raises ``StorageError``."""

    def verify(self, directory: Path, progress: Progress) -> Report:
        """Reads every file and checks every record. Changes nothing."""

    def backup(self, source: Path, target: Path, progress: Progress) -> Report:
        """Copies what an engine could start from to ``target``, which is not there yet or empty, and verifies it.

        The copy is synced, and has its name only when it is whole.
        """


class _Native:
    """The files as the extension reads them."""

    def __init__(self, extension: Any) -> None:
        self._extension = extension

    def verify(self, directory: Path, progress: Progress) -> Report:
        return _report(self._extension.verify_directory(directory, progress))

    def backup(self, source: Path, target: Path, progress: Progress) -> Report:
        return _report(self._extension.backup_directory(source, target, progress))


def storage_files() -> StorageFiles:
    """The extension's door to the files. Raises ``BackendMissingError`` when there is none."""
    if importlib.util.find_spec(EXTENSION) is None:
        raise BackendMissingError(
            f"The files of state are read by the extension {EXTENSION}, which is not built. Run `pip install .` (or "
            "`make build` in a checkout)."
        )
    from iii_fast import _core

    if not (hasattr(_core, "verify_directory") and hasattr(_core, "backup_directory")):
        raise BackendMissingError(
            f"The extension {EXTENSION} that is installed cannot read the files of state: build it from the same "
            "sources, with `pip install .` (or `make build` in a checkout)."
        )
    return _Native(_core)


def _report(found: dict[str, Any]) -> Report:
    return Report(
        files=found["files"],
        entries=found["entries"],
        commits=found["commits"],
        position=found["last"] or 0,
        torn_bytes=found["torn_bytes"],
        damages=tuple(Damage(Path(file), offset, reason) for file, offset, reason in found["damages"]),
    )
