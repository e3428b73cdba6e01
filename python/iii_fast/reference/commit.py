"""Operations of a commit, and the bytes they have in a journal. Mirrors ``rust/core/src/log/record.rs``.

Rules: docs/storage.md, Format. Knows no files and no map.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import google_crc32c

HEAD_BYTES: Final = 20
"""Bytes of a record before its body."""
COMMIT: Final = 1
"""Kind of a commit's record."""
VERSION: Final = 1
"""The only version of every kind so far."""

CREATED: Final = 1
EXPIRES: Final = 2


@dataclass(frozen=True, slots=True)
class SetOp:
    """The entry has this value now. ``created``: it was not there; ``expires_at``: Unix ms from which it is gone."""

    scope: str
    key: str
    value: str
    created: bool
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteOp:
    """The entry is gone."""

    scope: str
    key: str


@dataclass(frozen=True, slots=True)
class ExpireOp:
    """The entry is gone because its time had come."""

    scope: str
    key: str


@dataclass(frozen=True, slots=True)
class DeleteScopeOp:
    """All entries of the scope are gone."""

    scope: str


Op: TypeAlias = SetOp | DeleteOp | ExpireOp | DeleteScopeOp


def encode_commit(position: int, ops: Sequence[Op]) -> bytes:
    """The record of a commit."""
    return encode_record(COMMIT, position, encode_ops(ops))


def encode_record(kind: int, position: int, body: bytes) -> bytes:
    """A record of any kind: bytes of the body, checksum, kind, version, position, body."""
    checked = struct.pack("<BBHQ", kind, VERSION, 0, position) + body
    return struct.pack("<II", len(body), google_crc32c.value(checked)) + checked


def encode_ops(ops: Sequence[Op]) -> bytes:
    """The body of a commit."""
    return b"".join(map(_encode_op, ops))


def _encode_op(op: Op) -> bytes:
    match op:
        case SetOp(scope, key, value, created, expires_at):
            flags = (CREATED if created else 0) | (0 if expires_at is None else EXPIRES)
            until = b"" if expires_at is None else struct.pack("<Q", expires_at)
            return bytes((1, flags)) + sized(scope) + sized(key) + until + sized(value)
        case DeleteOp(scope, key):
            return b"\x02" + sized(scope) + sized(key)
        case ExpireOp(scope, key):
            return b"\x03" + sized(scope) + sized(key)
        case DeleteScopeOp(scope):
            return b"\x04" + sized(scope)


def sized(text: str) -> bytes:
    """A name or value: its length in UTF-8 as varint, and its bytes."""
    raw = text.encode()
    return varint(len(raw)) + raw


def varint(number: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
