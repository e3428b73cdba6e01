"""Starting with what is intact of damaged files: it becomes a snapshot of its own, beside a directory with the rest.

Mirrors ``rust/journal/src/salvage.rs``. Blocks: call it in a thread. Rules: docs/storage.md, Recovery.
"""

from __future__ import annotations

import time

from iii_fast.reference import codec_json as json_text
from iii_fast.reference import segment, segment_writer, snapshot
from iii_fast.reference.catalog import Catalog, Segment
from iii_fast.reference.faults import Piece
from iii_fast.reference.files import Files
from iii_fast.reference.history import History
from iii_fast.reference.recovery import Found
from iii_fast.reference.state_entries import Entries


def write(
    files: Files, catalog: Catalog, entries: Entries, found: Found, history_bytes_max: int
) -> tuple[Catalog, str]:
    """Writes the entries, sets aside what was there; returns what lies in the directory then, and the name of the
    directory in it with what was there. Corrects ``found``.

    At every instant the directory is either refused as it was before, or starts with everything that was kept.
    """
    aside = _make_aside(files)
    if found.torn is not None:
        found.dropped.append(found.torn)
        found.torn = None
    _write_dropped(files, aside, found.dropped)
    # Behind whatever the damaged files may have held, with a gap: nothing of them can be taken for what comes next.
    start = max([found.position, *(one.first for one in catalog.segments)]) + 1
    header = snapshot.header(catalog.generation + 1, start)
    size = snapshot.write(files, header, snapshot.capture(entries)) or 0
    segment_writer.begin(files, start + 1).output.close()
    snapshot.finish(files, header)
    for name in catalog.names():
        files.rename(name, f"{aside}/{name}")
    files.sync_names(aside)
    files.sync_names()
    found.position = found.start = start
    found.history = History(history_bytes_max)
    return Catalog([Segment(start + 1, segment.HEADER_BYTES)], {header.id: size}), aside


def _make_aside(files: Files) -> str:
    """Makes the directory for what is set aside, named after the time; a later one when there is one already."""
    now = time.time_ns() // 1_000_000
    while not files.make_directory(f"salvaged-{now}"):
        now += 1
    return f"salvaged-{now}"


def _write_dropped(files: Files, aside: str, dropped: list[Piece]) -> None:
    output = files.create(f"{aside}/dropped.bin")
    try:
        for piece in dropped:
            file, reason = json_text.string_text(piece.file), json_text.string_text(piece.reason)
            line = f'{{"file":{file},"offset":{piece.offset},"bytes":{len(piece.data)},"reason":{reason}}}\n'
            output.append(line.encode() + piece.data + b"\n")
        output.sync()
    finally:
        output.close()
    files.sync_names(aside)
    files.sync_names()
