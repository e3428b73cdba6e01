"""Beginning a segment. Mirrors ``rust/journal/src/journal.rs``. Blocks: call it in a thread."""

from __future__ import annotations

from iii_fast.reference import segment
from iii_fast.reference.files import Files, Output


def begin(files: Files, first: int) -> Output:
    """Makes the segment that begins at ``first``, over one without commits. Raises ``StorageError``."""
    output = files.create(segment.name(first))
    try:
        output.append(segment.header(first))
        output.sync()
        files.sync_names()
    except BaseException:
        output.close()
        raise
    return output
