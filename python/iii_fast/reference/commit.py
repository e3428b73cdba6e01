"""Operations of a commit, and the bytes they have in a journal. Mirrors ``rust/core/src/log``.

Rules: docs/storage.md, Format. Knows no files and no map.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from iii_fast.reference.record import COMMIT, Body, encode_record, malformed, sized, sized_value

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


def encode_ops(ops: Sequence[Op]) -> bytes:
    """The body of a commit."""
    return b"".join(map(_encode_op, ops))


def _encode_op(op: Op) -> bytes:
    match op:
        case SetOp(scope, key, value, created, expires_at):
            flags = (CREATED if created else 0) | (0 if expires_at is None else EXPIRES)
            until = b"" if expires_at is None else struct.pack("<Q", expires_at)
            return bytes((1, flags)) + sized(scope) + sized(key) + until + sized_value(value)
        case DeleteOp(scope, key):
            return b"\x02" + sized(scope) + sized(key)
        case ExpireOp(scope, key):
            return b"\x03" + sized(scope) + sized(key)
        case DeleteScopeOp(scope):
            return b"\x04" + sized(scope)


def decode_ops(body: bytes) -> list[Op]:
    """The operations of a commit, at least one. Raises ``BrokenError``."""
    rest = Body(body)
    ops = []
    while rest:
        ops.append(_decode_op(rest))
    if not ops:
        raise malformed()
    return ops


def _decode_op(rest: Body) -> Op:
    match rest.byte():
        case 1:
            flags = rest.flags(CREATED | EXPIRES)
            scope, key = rest.text(), rest.text()
            expires_at = rest.u64() if flags & EXPIRES else None
            return SetOp(scope, key, rest.value(), bool(flags & CREATED), expires_at)
        case 2:
            return DeleteOp(rest.text(), rest.text())
        case 3:
            return ExpireOp(rest.text(), rest.text())
        case 4:
            return DeleteScopeOp(rest.text())
        case _:
            raise malformed()
