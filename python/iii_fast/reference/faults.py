"""What is done about files that are not as they should be: refuse to start, or take down what is dropped and go on.

Mirrors the errors of ``rust/journal``. Rules: docs/storage.md, Recovery.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from iii_fast.errors import StorageError
from iii_fast.reference.record import BrokenError


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file that are dropped, or (without a file) what is missing."""

    file: str
    offset: int
    reason: str
    data: bytes


@dataclass(slots=True)
class Faults:
    """``dropped`` stays empty unless it is ``salvage``."""

    directory: Path
    salvage: bool
    dropped: list[Piece] = field(default_factory=list)

    def damage(self, name: str, error: BrokenError, data: bytes) -> None:
        """``data``, from where the error is on, is of no use. Raises ``StorageError`` unless salvaging.

        What another version of the engine wrote is not dropped either way.
        """
        file = self.directory / name
        if error.other_version:
            raise StorageError(
                f"{file}: another version of the engine wrote this file (byte {error.offset}: {error}); use that one"
            ) from error
        if not self.salvage:
            raise StorageError(
                f"{file}: damaged at byte {error.offset}: {error}; look closer with `iii-fast verify "
                f"{self.directory}`, put a backup in place with `iii-fast restore`, or keep what is intact with "
                "`iii-fast serve --salvage`"
            ) from error
        self.dropped.append(Piece(name, error.offset, str(error), data))

    def missing(self, what: str) -> None:
        """Files that were there are not. Raises ``StorageError`` unless salvaging."""
        if not self.salvage:
            raise StorageError(
                f"{self.directory}: files are missing: {what}; put them back, put a backup in place with "
                "`iii-fast restore`, or keep what is there with `iii-fast serve --salvage`"
            )
        self.dropped.append(Piece("", 0, what, b""))
