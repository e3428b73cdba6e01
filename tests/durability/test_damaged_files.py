"""Files that are not as they were written: every backend refuses with the same text, or starts with the same."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import trio

from iii_fast._backend import create_backend
from iii_fast.contracts import Limits, Recovered, Storage
from iii_fast.errors import StorageError
from iii_fast.reference.record import COMMIT, encode_record, varint
from iii_fast.reference.segment import encode_close, encode_mark
from tests.durability import golden
from tests.support.echo_server import NoControl
from tests.support.engine_process import DURABLE

KEEP: Final = (
    "; look closer with `iii-fast verify DIR`, put a backup in place with `iii-fast restore`, or keep what is intact "
    "with `iii-fast serve --salvage`"
)
FIND: Final = (
    "; put them back, put a backup in place with `iii-fast restore`, or keep what is there with "
    "`iii-fast serve --salvage`"
)
FIRST: Final = golden.SEGMENT_NAME
BEFORE_COMMIT_2: Final = len(golden.SEGMENT_HEADER + golden.MARK_0)
BEFORE_COMMIT_4: Final = len(golden.UP_TO_4) - len(golden.COMMIT_4)
"""Offsets in the first segment."""


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]


def torn(key: bytes, value: bytes) -> bytes:
    """A segment whose last record, which sets an entry, did not come to its end."""
    body = b"\x01\x01\x01s" + varint(len(key)) + key + varint(len(value)) + value
    return golden.UP_TO_4 + encode_record(COMMIT, 5, body)[:-1]


def mark_as_text(position: int) -> bytes:
    """The bytes of a mark that can be a key."""
    for number in itertools.count():
        mark = encode_mark(position, position, number)
        with contextlib.suppress(UnicodeDecodeError):
            mark.decode()
            return mark
    raise AssertionError


async def opened(backend_name: str, directory: Path, *, salvage: bool = False) -> Recovered:
    """What a backend finds; it ends in order afterwards. Raises ``StorageError``."""
    backend = create_backend(backend_name, Limits(), storage=Storage(directory, salvage=salvage))
    recovered = await backend.open()
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.serve, NoControl())
        nursery.cancel_scope.cancel()
    return recovered


def put(directory: Path, files: Mapping[str, bytes]) -> Path:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


@pytest.mark.parametrize("backend", sorted(DURABLE))
@pytest.mark.parametrize(
    ("files", "text"),
    [
        pytest.param(
            {FIRST: changed(golden.UP_TO_4, BEFORE_COMMIT_2 + 30)},
            f"DIR/{FIRST}: damaged at byte {BEFORE_COMMIT_2}: the checksum is wrong{KEEP}",
            id="a commit that a mark says to be synced",
        ),
        pytest.param(
            {FIRST: changed(golden.SEGMENT, BEFORE_COMMIT_4 + 24)},
            f"DIR/{FIRST}: damaged at byte {BEFORE_COMMIT_4}: the checksum is wrong{KEEP}",
            id="a commit before a clean end",
        ),
        pytest.param(
            {FIRST: golden.SEGMENT_HEADER + golden.MARK_0 + golden.COMMIT_3},
            f"DIR/{FIRST}: damaged at byte {BEFORE_COMMIT_2}: the record ends at position 3 and should begin at "
            f"position 1{KEEP}",
            id="a commit that does not follow",
        ),
        pytest.param(
            {FIRST: golden.SEGMENT + golden.MARK_0},
            f"DIR/{FIRST}: damaged at byte {len(golden.SEGMENT)}: something follows the last record{KEEP}",
            id="something behind the end",
        ),
        pytest.param(
            {FIRST: changed(golden.UP_TO_4, 20)},
            f"DIR/{FIRST}: damaged at byte 0: the header is not that of such a file, or its checksum is wrong{KEEP}",
            id="the header of a segment",
        ),
        pytest.param(
            {FIRST: torn(b"k", b"\xc1\xc4\x25" + encode_mark(9, 9, golden.SEGMENT_NUMBER) + b".")},
            f"DIR/{FIRST}: damaged at byte {len(golden.UP_TO_4)}: the record is cut short{KEEP}",
            id="a mark with the segment's own number",
        ),
        pytest.param(
            {FIRST: golden.VERSION_2},
            f"DIR/{FIRST}: another version of the engine wrote this file (byte 0: version 2 of the format; this engine "
            "knows version 3); use that one",
            id="a segment of another version",
        ),
        pytest.param(
            {**golden.WITH_SNAPSHOT, golden.SNAPSHOT_NAME: golden.SNAPSHOT_VERSION_2},
            f"DIR/{golden.SNAPSHOT_NAME}: another version of the engine wrote this file (byte 0: version 2 of the "
            "format; this engine knows version 3); use that one",
            id="a snapshot of another version",
        ),
        pytest.param(
            {**golden.WITH_SNAPSHOT, golden.SNAPSHOT_NAME: changed(golden.SNAPSHOT, 80)},
            f"DIR/{golden.SNAPSHOT_NAME}: damaged at byte 48: the checksum is wrong{KEEP}",
            id="entries of a snapshot",
        ),
        pytest.param(
            {**golden.WITH_SNAPSHOT, golden.SNAPSHOT_NAME: golden.SNAPSHOT[: -len(golden.END)]},
            f"DIR/{golden.SNAPSHOT_NAME}: damaged at byte {len(golden.SNAPSHOT) - len(golden.END)}: the file ends "
            f"before its last record{KEEP}",
            id="the end of a snapshot",
        ),
        pytest.param(
            {golden.BEHIND_NAME: golden.BEHIND},
            f"DIR: files are missing: {FIRST}, with which the journal begins, is not there{FIND}",
            id="no snapshot",
        ),
        pytest.param(
            {golden.SNAPSHOT_NAME: golden.SNAPSHOT},
            f"DIR: files are missing: {golden.BEHIND_NAME}, which the snapshot needs, is not there{FIND}",
            id="no journal behind the snapshot",
        ),
        pytest.param(
            {FIRST: golden.UP_TO_4, golden.BEHIND_NAME: golden.BEHIND},
            f"DIR: files are missing: the journal ends at position 4 before {golden.BEHIND_NAME}{FIND}",
            id="no journal between",
        ),
    ],
)
async def test_a_start_is_refused(tmp_path: Path, backend: str, files: Mapping[str, bytes], text: str) -> None:
    directory = put(tmp_path / "data", files)
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            await opened(backend, directory)
        assert str(caught.value).replace(str(directory), "DIR") == text
    assert {name: (directory / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("backend", sorted(DURABLE))
@pytest.mark.parametrize(
    ("files", "entries", "position", "torn_bytes"),
    [
        pytest.param({}, 0, 0, 0, id="nothing"),
        pytest.param(golden.JOURNAL_ONLY, 3, 4, 0, id="a kill"),
        pytest.param({FIRST: golden.SEGMENT}, 0, 7, 0, id="a clean end"),
        pytest.param({FIRST: golden.UP_TO_4[:-1]}, 2, 3, len(golden.COMMIT_4) - 1, id="a commit that is cut"),
        pytest.param({FIRST: changed(golden.UP_TO_4, BEFORE_COMMIT_4 + 8)}, 2, 3, len(golden.COMMIT_4), id="torn"),
        pytest.param({FIRST: golden.UP_TO_4[:60]}, 0, 0, 20, id="a mark that is cut"),
        pytest.param({FIRST: golden.SEGMENT_HEADER[:20]}, 0, 0, 20, id="a header that is cut"),
        *(
            pytest.param({FIRST: torn(key, value)}, 3, 4, len(torn(key, value)) - len(golden.UP_TO_4), id=what)
            for what, key, value in [
                ("a value with another segment's mark", b"k", b"\xc1\xc4\x25" + golden.MARK_300 + b"."),
                ("a value with another segment's close", b"k", b"\xc1\xc4\x1d" + encode_close(9, 0) + b"."),
                ("a key that looks like a mark", mark_as_text(9), b"1"),
            ]
        ),
        pytest.param(
            {**golden.WITH_SNAPSHOT, FIRST: b"not needed", "snapshot-00000001-00000.snap": b"nor this"},
            3,
            301,
            0,
            id="files that are not needed",
        ),
    ],
)
async def test_a_start_finds_what_is_there(
    tmp_path: Path, backend: str, files: Mapping[str, bytes], entries: int, position: int, torn_bytes: int
) -> None:
    directory = put(tmp_path / "data", files)
    found = await opened(backend, directory)
    assert (found.entries, found.position, found.torn_bytes, found.dropped_bytes) == (entries, position, torn_bytes, 0)
    again = await opened(backend, directory)
    assert (again.entries, again.position, again.torn_bytes, again.dropped_bytes) == (entries, position, 0, 0)


@pytest.mark.parametrize("backend", sorted(DURABLE))
async def test_salvage_keeps_what_is_intact_and_the_files(tmp_path: Path, backend: str) -> None:
    files = {FIRST: changed(golden.UP_TO_4, BEFORE_COMMIT_2 + 30)}
    directory = put(tmp_path / "data", files)
    found = await opened(backend, directory, salvage=True)
    assert (found.entries, found.position, found.dropped_bytes) == (2, 5, len(golden.COMMIT_2))
    [aside] = await trio.to_thread.run_sync(lambda: [path for path in directory.iterdir() if path.is_dir()])
    assert found.salvaged == aside
    at, size = BEFORE_COMMIT_2, len(golden.COMMIT_2)
    line = f'{{"file":"{FIRST}","offset":{at},"bytes":{size},"reason":"the checksum is wrong"}}\n'
    dropped = files[FIRST][at : at + size]
    assert await trio.Path(aside / "dropped.bin").read_bytes() == line.encode() + dropped + b"\n"
    assert await trio.Path(aside / FIRST).read_bytes() == files[FIRST]
    again = await opened(backend, directory)
    assert (again.entries, again.position, again.dropped_bytes, again.salvaged) == (2, 5, 0, None)


@pytest.mark.parametrize("backend", sorted(DURABLE))
async def test_salvage_without_a_file_gives_up_no_bytes_and_says_so(tmp_path: Path, backend: str) -> None:
    directory = put(tmp_path / "data", {golden.SNAPSHOT_NAME: golden.SNAPSHOT})
    found = await opened(backend, directory, salvage=True)
    assert (found.entries, found.dropped_bytes) == (2, 0)
    assert found.salvaged is not None
    assert await trio.Path(found.salvaged / golden.SNAPSHOT_NAME).read_bytes() == golden.SNAPSHOT
