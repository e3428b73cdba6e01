"""The bytes of a commit's record, compared with the format of docs/storage.md written out by hand."""

from __future__ import annotations

import struct

import google_crc32c
import pytest

from iii_fast.reference.commit import (
    DeleteOp,
    DeleteScopeOp,
    ExpireOp,
    Op,
    SetOp,
    encode_commit,
    encode_ops,
)
from iii_fast.reference.record import HEAD_BYTES, varint


def test_the_checksum_is_crc_32c() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283
    assert google_crc32c.implementation == "c"


@pytest.mark.parametrize(
    ("op", "body"),
    [
        (SetOp("s", "k", '{"a":1}', True), b'\x01\x01\x01s\x01k\x07{"a":1}'),
        (SetOp("s", "k", "1", False), b"\x01\x00\x01s\x01k\x011"),
        (SetOp("s", "k", "1", True, 2), b"\x01\x03\x01s\x01k\x02\0\0\0\0\0\0\0\x011"),
        (SetOp("", "é", "1", False, 2**53 - 1), b"\x01\x02\x00\x02\xc3\xa9\xff\xff\xff\xff\xff\xff\x1f\0\x011"),
        (SetOp("s", "k", "x" * 300, False), b"\x01\x00\x01s\x01k\xac\x02" + b"x" * 300),
        (DeleteOp("s", "k"), b"\x02\x01s\x01k"),
        (ExpireOp("s", ""), b"\x03\x01s\x00"),
        (DeleteScopeOp("s"), b"\x04\x01s"),
    ],
)
def test_operations(op: Op, body: bytes) -> None:
    assert encode_ops([op]) == body


def test_a_record() -> None:
    ops = [DeleteOp("s", "k"), DeleteScopeOp("t")]
    body = b"\x02\x01s\x01k\x04\x01t"
    checked = b"\x01\x03\0\0" + (7).to_bytes(8, "little") + body
    record = encode_commit(7, ops)
    assert record == struct.pack("<II", len(body), google_crc32c.value(checked)) + checked
    assert len(record) == HEAD_BYTES + len(body)


@pytest.mark.parametrize(
    ("number", "raw"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16383, b"\xff\x7f"),
        (16384, b"\x80\x80\x01"),
        (2**64 - 1, b"\xff" * 9 + b"\x01"),
    ],
)
def test_varint(number: int, raw: bytes) -> None:
    assert varint(number) == raw
