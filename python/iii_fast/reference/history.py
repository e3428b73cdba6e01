"""What the change feed can still tell: the latest commits, within a bound of bytes, and the JSON of their changes.

Mirrors ``rust/core/src/log/history.rs``. Rules: docs/state.md 15 and 16.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from iii_fast.contracts import Changes
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.codec_value import json_or_null
from iii_fast.reference.commit import DeleteOp, DeleteScopeOp, ExpireOp, Op, SetOp, encode_ops
from iii_fast.reference.record import HEAD_BYTES

_FORGOTTEN_MAX: Final = 1024  # then the list is cut; cutting it each time would cost a copy of it


@dataclass(frozen=True, slots=True)
class _Commit:
    position: int
    ops: Sequence[Op]
    size: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What a feed wants: changes of one scope (``None``: of all) and, in it, of keys that begin with ``prefix``."""

    scope: str | None = None
    prefix: str | None = None

    def wants(self, op: Op) -> bool:
        """A deleted scope takes along all its keys, whatever they begin with."""
        if self.scope is not None and op.scope != self.scope:
            return False
        return isinstance(op, DeleteScopeOp) or op.key.startswith(self.prefix or "")


class History:
    """Commits that follow each other; ``bytes_max`` bounds the bytes of their records. Empty until ``begin``."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._commits: list[_Commit] = []
        self._forgotten = 0  # that many at the beginning of the list are not remembered any more
        self._start: int | None = None

    def begin(self, position: int) -> None:
        """Commits after ``position`` will come. Does nothing the second time."""
        if self._start is None:
            self._start = position

    def add(self, position: int, ops: Sequence[Op]) -> None:
        """The next commit. The oldest ones go when there are too many bytes, this one too if it is too large alone."""
        if self._start is None:
            return
        size = HEAD_BYTES + len(encode_ops(ops))
        self._commits.append(_Commit(position, ops, size))
        self._bytes += size
        while self._bytes > self._bytes_max:
            oldest = self._commits[self._forgotten]
            self._forgotten += 1
            self._bytes -= oldest.size
            self._start = oldest.position
        if self._forgotten > max(_FORGOTTEN_MAX, len(self._commits) // 2):
            del self._commits[: self._forgotten]
            self._forgotten = 0

    def read(self, since: int, upto: int, wanted: Filter, count_max: int, bytes_max: int) -> Changes:
        """Changes after ``since`` and up to ``upto``: commit after commit, until there are enough of them.

        Raises ``WireError`` (``HISTORY_LOST``) when some are not remembered, or ``since`` has not come yet.
        """
        if self._start is None or not self._start <= since <= upto:
            raise WireError(
                Code.HISTORY_LOST,
                f"changes after position {since} are not known any more; "
                f"read the entries and watch from position {upto}",
            )
        items: list[bytes] = []
        size = 0
        first = bisect_right(self._commits, since, lo=self._forgotten, key=lambda commit: commit.position)
        for index in range(first, len(self._commits)):
            commit = self._commits[index]
            if commit.position > upto or len(items) >= count_max or size >= bytes_max:
                break
            texts = [change_text(commit.position, op).encode() for op in commit.ops if wanted.wants(op)]
            items += texts
            size += sum(map(len, texts))
            since = commit.position
        return Changes(items, since)


def change_text(position: int, op: Op) -> str:
    """One change as JSON."""
    match op:
        case SetOp(scope, key, value, created, expires_at):
            until = "" if expires_at is None else f',"expires_at":{expires_at}'
            text, problem = json_or_null(value, "value")
            rest = f',"value":{text}{problem}{until}'
            return _text(position, "created" if created else "updated", scope, key, rest)
        case DeleteOp(scope, key):
            return _text(position, "deleted", scope, key)
        case ExpireOp(scope, key):
            return _text(position, "expired", scope, key)
        case DeleteScopeOp(scope):
            return _text(position, "scope_deleted", scope)


def _text(position: int, kind: str, scope: str, key: str | None = None, rest: str = "") -> str:
    key_text = "" if key is None else f',"key":{json_text.string_text(key)}'
    return f'{{"position":{position},"type":"{kind}","scope":{json_text.string_text(scope)}{key_text}{rest}}}'
