"""Beginning a segment. Mirrors ``rust/journal/src/journal.rs``. Blocks: call it in a thread."""

from __future__ import annotations

from dataclasses import dataclass

from iii_fast.reference import segment
from iii_fast.reference.files import Files, Output


@dataclass(frozen=True, slots=True)
class Current:
    """The segment that is written. ``number`` is in its header, its marks and its close."""

    output: Output
    number: int


def begin(files: Files, first: int) -> Current:
    """Makes the segment that begins at ``first``, over one without commits. Raises ``StorageError``."""
    number = files.random()
    output = files.create(segment.name(first))
    try:
        output.append(segment.header(first, number))
        output.sync()
        files.sync_names()
    except BaseException:
        output.close()
        raise
    return Current(output, number)
