"""Writing a snapshot: all entries as they were at one instant, so that a start need not replay what ever happened.

Mirrors ``rust/journal/src/snapshot.rs``. Blocks: call it in a thread. Rules: docs/storage.md, Writing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iii_fast.reference.files import Files, Output
from iii_fast.reference.part import PartEntry, PartHeader, PartId, encode_entries
from iii_fast.reference.state_entries import Entries


def capture(entries: Entries) -> list[PartEntry]:
    """What there is now. Does not block, and must not be called in a thread."""
    return [PartEntry(name, key, entry) for name, scope in entries.scopes().items() for key, entry in scope.after()]


def header(generation: int, start: int) -> PartHeader:
    """This backend writes everything into one part."""
    return PartHeader(PartId(generation, 0), 1, start)


def unfinished_name(header: PartHeader) -> str:
    """The file until it is whole."""
    return f"{header.id.name}.tmp"


def write(
    files: Files, header: PartHeader, entries: Sequence[PartEntry], is_over: Callable[[], bool] = lambda: False
) -> int | None:
    """Writes a part under its unfinished name, and brings it to the disk.

    Returns its bytes, or ``None``, having left nothing, when ``is_over`` before the end. Raises ``StorageError``.
    """
    output = files.create(unfinished_name(header))
    try:
        size = _fill(output, header, entries, is_over)
    except BaseException:
        files.remove(unfinished_name(header))
        raise
    finally:
        output.close()
    if size is None:
        files.remove(unfinished_name(header))
    return size


def _fill(output: Output, header: PartHeader, entries: Sequence[PartEntry], is_over: Callable[[], bool]) -> int | None:
    start = header.encode()
    output.append(start)
    size = len(start)
    for record in encode_entries(header.start, entries):
        if is_over():
            return None
        output.append(record)
        size += len(record)
    output.sync()
    return size


def finish(files: Files, header: PartHeader) -> None:
    """Gives a part its name, in the place of a former one."""
    files.rename(unfinished_name(header), header.id.name)
    files.sync_names()
