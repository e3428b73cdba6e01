"""The bytes of segments and snapshots, compared with files that were written by hand (docs/storage.md, Format)."""

from __future__ import annotations

import pytest

from iii_fast.reference import segment
from iii_fast.reference.commit import (
    DeleteOp,
    DeleteScopeOp,
    ExpireOp,
    Op,
    SetOp,
    decode_ops,
    encode_commit,
    encode_ops,
)
from iii_fast.reference.part import PartEntry, PartHeader, PartId, PartReader, encode_entries, parse_name, read_header
from iii_fast.reference.record import CLOSE, COMMIT, Body, BrokenError, encode_record, read_record, varint
from iii_fast.reference.segment import Commit, SegmentReader
from iii_fast.reference.state_entries import Entry
from tests.durability import golden
from tests.reference.stored import recovered

COMMITS = [
    Commit(2, [SetOp("s", "k", "1", True, golden.FAR), SetOp("s", "é", '"x"', True)]),
    Commit(3, [SetOp("s", "k", "2", False)]),
    Commit(4, [SetOp("t", "", "0", True)]),
    Commit(5, [DeleteOp("s", "é")]),
    Commit(6, [ExpireOp("s", "k")]),
    Commit(7, [DeleteScopeOp("t")]),
]
PARTS = [
    PartEntry("s", "k", Entry("1", 300, 1, golden.FAR)),
    PartEntry("", "é", Entry("null", 6, 128)),
]
NUMBER = golden.SEGMENT_NUMBER
HEADER = PartHeader(PartId(2, 0), 1, 300)


# Segments


def test_a_segment_is_written_as_by_hand() -> None:
    records = [encode_commit(commit.position, commit.ops) for commit in COMMITS]
    first, second = b"".join(records[:2]), b"".join(records[2:])
    written = segment.header(1, NUMBER) + segment.encode_mark(0, 0, NUMBER) + first
    written += segment.encode_mark(3, 3, NUMBER) + second + segment.encode_close(7, NUMBER)
    assert written == golden.SEGMENT
    assert segment.name(1) == golden.SEGMENT_NAME


def test_a_segment_that_was_written_by_hand_is_read() -> None:
    reader = SegmentReader(golden.SEGMENT, 1)
    reader.check_header()
    assert [reader.next() for _ in COMMITS] == COMMITS
    assert reader.next() is None
    assert (reader.offset, reader.last, reader.closed) == (len(golden.SEGMENT), 7, True)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        (golden.SEGMENT_NAME, 1),
        ("journal-18446744073709551615.log", 2**64 - 1),
        ("journal-00000000000000000000.log", None),
        ("journal-1.log", None),
        ("journal-0000000000000000000٣.log", None),
        ("journal-00000000000000000001.log.tmp", None),
    ],
)
def test_names_of_segments(name: str, first: int | None) -> None:
    assert segment.parse_name(name) == first


# Snapshots


def test_a_snapshot_is_written_as_by_hand() -> None:
    assert HEADER.encode() + b"".join(encode_entries(300, PARTS)) == golden.SNAPSHOT
    assert HEADER.id.name == golden.SNAPSHOT_NAME
    assert parse_name(golden.SNAPSHOT_NAME) == HEADER.id
    assert parse_name("snapshot-2-0.snap") is None


def test_a_snapshot_that_was_written_by_hand_is_read() -> None:
    assert read_header(golden.SNAPSHOT, PartId(2, 0)) == HEADER
    reader = PartReader(golden.SNAPSHOT, 300)
    assert reader.next() == PARTS
    assert reader.next() is None
    assert reader.offset == len(golden.SNAPSHOT)


def test_a_large_snapshot_has_several_records() -> None:
    entries = [PartEntry("s", f"k{n}", Entry('"' + "x" * 1000 + '"', n, n)) for n in range(1, 200)]
    records = list(encode_entries(200, entries))
    assert len(records) == 5
    data = PartHeader(PartId(1, 0), 1, 200).encode() + b"".join(records)
    reader = PartReader(data, 200)
    assert [entry for _ in range(4) for entry in reader.next() or []] == entries
    assert reader.next() is None


# Directories


def test_a_directory_without_a_snapshot() -> None:
    content, found = recovered(golden.JOURNAL_ONLY)
    assert content == {
        ("s", "k"): Entry("2", 3, 1),
        ("s", "é"): Entry('"x"', 2, 2),
        ("t", ""): Entry("0", 4, 4),
    }
    assert (found.start, found.position, found.torn, found.dropped) == (0, 4, None, [])


def test_a_directory_with_a_snapshot() -> None:
    content, found = recovered(golden.WITH_SNAPSHOT)
    assert content == {
        ("", "é"): Entry("null", 6, 128),
        ("s", "k"): Entry("1", 300, 1, golden.FAR),
        ("t", "k"): Entry("2", 301, 301),
    }
    assert (found.start, found.position) == (300, 301)


# What is not as it should be


@pytest.mark.parametrize(
    "ops",
    [
        [SetOp("s", "k", "1", True, 2), DeleteOp("s", "k")],
        [ExpireOp("", ""), DeleteScopeOp("é" * 200), SetOp("a", "b", "x" * 70000, False)],
    ],
)
def test_operations_come_back(ops: list[Op]) -> None:
    assert decode_ops(encode_ops(ops)) == ops


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x05\x01s",
        b"\x01\x04\x01s\x01k\x011",
        b"\x02\x01s\x02k",
        b"\x02\x01s",
        b"\x04\x01\xff",
        b"\x04\x81\x00s",
        b"\x04" + b"\xff" * 9 + b"\x02",
        b"\x04" + b"\x80" * 10 + b"\x01",
        b"\x01\x02\x01s\x01k\0\0\0",
    ],
)
def test_a_malformed_commit(body: bytes) -> None:
    with pytest.raises(BrokenError, match=r"^the body is malformed$"):
        decode_ops(body)


@pytest.mark.parametrize("number", [0, 127, 128, 16383, 16384, 2**32, 2**64 - 1])
def test_varints_come_back(number: int) -> None:
    assert Body(varint(number)).varint() == number


def broken(data: bytes, offset: int = 0) -> BrokenError:
    with pytest.raises(BrokenError) as caught:
        read_record(data, offset)
    return caught.value


def test_a_record_that_is_cut_or_changed_is_unfinished() -> None:
    record = encode_commit(1, [DeleteScopeOp("s")])
    assert read_record(b"xx" + record, 2).body == b"\x04\x01s"
    for cut in range(len(record)):
        error = broken(record[:cut])
        assert (str(error), error.unfinished, error.other_version) == ("the record is cut short", True, False)
    for at in range(len(record)):
        assert broken(record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]).unfinished


def test_what_another_version_wrote_is_no_damage() -> None:
    error = broken(encode_record(32, 1, b""))
    assert str(error) == "a record of kind 32, version 3, which this engine does not know"
    assert error.other_version
    assert not broken(encode_record(COMMIT, 1, b"") + b"x", 1).other_version
    header = golden.SEGMENT_HEADER[:8] + b"\x04" + golden.SEGMENT_HEADER[9:]
    with pytest.raises(BrokenError, match="checksum") as caught:
        SegmentReader(header, 1).check_header()
    assert not caught.value.other_version


def test_what_does_not_belong_into_a_segment() -> None:
    close = segment.encode_close(0, NUMBER)
    for rest, text in [
        (golden.END, "a record of kind 17 does not belong here"),
        (golden.MARK_3, "the record ends at position 3 and should begin at position 1"),
        (golden.COMMIT_3, "the record ends at position 3 and should begin at position 1"),
        (close + golden.MARK_0, "something follows the last record"),
        (segment.encode_mark(0, 1, NUMBER), "the body is malformed"),
        (segment.encode_mark(0, 0, NUMBER + 1), "the body is malformed"),
        (segment.encode_close(0, NUMBER + 1), "the body is malformed"),
        (encode_record(CLOSE, 0, b"x"), "the body is malformed"),
    ]:
        reader = SegmentReader(golden.SEGMENT_HEADER + rest, 1)
        reader.check_header()
        with pytest.raises(BrokenError) as caught:
            reader.next()
        assert (str(caught.value), caught.value.unfinished) == (text, False)


def test_what_does_not_belong_into_a_snapshot() -> None:
    for rest, text in [
        (b"", "the file ends before its last record"),
        (golden.MARK_0, "the record ends at position 0 and should begin at position 300"),
        (encode_record(CLOSE, 300, b""), "a record of kind 3 does not belong here"),
        (golden.END, "the file has 0 entries and says that it has 2"),
    ]:
        with pytest.raises(BrokenError) as caught:
            PartReader(golden.SNAPSHOT_HEADER + rest, 300).next()
        assert str(caught.value) == text
    reader = PartReader(golden.SNAPSHOT + b"x", 300)
    reader.next()
    with pytest.raises(BrokenError, match=r"^something follows the last record$"):
        reader.next()


def test_headers_belong_to_their_files() -> None:
    with pytest.raises(BrokenError, match=r"^the header and the name of the file do not belong together$"):
        SegmentReader(golden.SEGMENT, 2).check_header()
    with pytest.raises(BrokenError, match=r"^the header and the name of the file do not belong together$"):
        read_header(golden.SNAPSHOT, PartId(2, 1))
    with pytest.raises(BrokenError, match=r"^the header is cut short$"):
        SegmentReader(golden.SEGMENT_HEADER[:39], 1).check_header()
