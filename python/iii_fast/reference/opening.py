"""Opening a directory: takes it, loads what it holds, and begins a segment of its own. Mirrors ``rust/journal``.

Blocks: call it in a thread, before anything else uses the log or the entries. Rules: docs/storage.md, Recovery.
"""

from __future__ import annotations

import logging

from iii_fast.contracts import Recovered, Storage
from iii_fast.reference import salvage, segment, segment_writer
from iii_fast.reference.catalog import Catalog, Segment
from iii_fast.reference.files import Files
from iii_fast.reference.journal import Journal, Place
from iii_fast.reference.log import Log
from iii_fast.reference.recovery import recover
from iii_fast.reference.state_entries import Entries

logger = logging.getLogger(__name__)


def open_journal(
    files: Files, storage: Storage, log: Log, entries: Entries, waiting_bytes_max: int
) -> tuple[Journal, Recovered]:
    """Loads everything into ``entries``, which is empty, and attaches a journal to ``log``. Raises ``StorageError``."""
    files.lock()
    try:
        return _open(files, storage, log, entries, waiting_bytes_max)
    except BaseException:
        files.unlock()
        raise


def _open(
    files: Files, storage: Storage, log: Log, entries: Entries, waiting_bytes_max: int
) -> tuple[Journal, Recovered]:
    catalog = Catalog.of(files.sizes())
    for name in catalog.unfinished:
        files.remove(name)
    found = recover(files, catalog, entries, storage.history_bytes_max, salvage=storage.salvage)
    recovered = Recovered(
        entries=entries.count,
        position=found.position,
        bytes_read=found.bytes_read,
        torn_bytes=len(found.torn.data) if found.torn and not found.dropped else 0,
    )
    if found.dropped:
        for piece in found.dropped:
            logger.warning("Dropped %d bytes of %s: %s", len(piece.data), piece.file or "a missing file", piece.reason)
        catalog, aside = salvage.write(files, catalog, entries, found, storage.history_bytes_max)
        recovered = Recovered(
            entries.count,
            found.position,
            found.bytes_read,
            dropped_bytes=sum(len(piece.data) for piece in found.dropped),
            salvaged=files.directory / aside,
        )
    elif found.tail is not None:
        # It counts as on the disk from now on, so it has to be.
        files.truncate(found.tail.name, found.tail.bytes)
        catalog.segments[-1] = found.tail
    first = found.position + 1
    current = segment_writer.begin(files, first)
    catalog.segments = [one for one in catalog.segments if one.first != first]
    catalog.segments.append(Segment(first, segment.HEADER_BYTES))
    log.history = found.history
    journal = Journal(
        Place(files, catalog, found.start, found.position, current), storage, log, entries, waiting_bytes_max
    )
    log.attach(journal, found.position)
    return journal, recovered
