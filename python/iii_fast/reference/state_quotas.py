"""How many bytes state may have (docs/state.md, 14). Knows no entries: it is given numbers and texts.

Mirrors ``rust/core/src/state``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iii_fast.contracts import Limits
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.codec_value import size

COMMIT_BYTES_MAX: Final = 256 << 20
"""Bytes of the scopes, keys and values that one call sets."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Bytes of a key or scope's name, of a value, of a scope, of everything; ``None`` is no bound."""

    key_bytes_max: int | None = None
    value_bytes_max: int | None = None
    scope_bytes_max: int | None = None
    total_bytes_max: int | None = None

    @classmethod
    def of(cls, limits: Limits) -> Quotas:
        """Those of an installation."""
        return cls(limits.key_bytes_max, limits.value_bytes_max, limits.scope_bytes_max, limits.total_bytes_max)

    def check_names(self, scope: str, key: str) -> None:
        """Of a key that is to be set. Raises ``WireError`` (``KEY_TOO_LARGE``)."""
        for what, text in (("scope", scope), ("key", key)):
            _check_size(Code.KEY_TOO_LARGE, what, json_text.byte_len(text), "max_key_bytes", self.key_bytes_max)

    def check_value(self, value: str) -> None:
        """Of a value that is to be set. Raises ``WireError`` (``VALUE_TOO_LARGE``)."""
        _check_size(Code.VALUE_TOO_LARGE, "value", size(value), "max_value_bytes", self.value_bytes_max)

    def check_scope(self, scope: str, before: int, after: int) -> None:
        """Keys and values of one scope. Raises ``WireError`` (``SCOPE_FULL``)."""
        limit = self.scope_bytes_max
        if limit is not None and after > max(limit, before):
            name = json_text.string_text(scope)
            text = f"scope {name} would have {after} bytes, the configured max_scope_bytes limit is {limit}"
            raise WireError(Code.SCOPE_FULL, text)

    def check_total(self, before: int, after: int) -> None:
        """Everything. Raises ``WireError`` (``STATE_FULL``)."""
        limit = self.total_bytes_max
        if limit is not None and after > max(limit, before):
            text = f"state would have {after} bytes, the configured max_total_bytes limit is {limit}"
            raise WireError(Code.STATE_FULL, text)


def check_commit(size: int) -> None:
    """``size``: bytes that one call has set so far. Raises ``WireError`` (``payload_too_large``)."""
    if size > COMMIT_BYTES_MAX:
        text = f"scopes, keys and values of one write have {size} bytes or more, the limit is {COMMIT_BYTES_MAX}"
        raise WireError(Code.PAYLOAD_TOO_LARGE, text)


def _check_size(code: Code, what: str, size: int, setting: str, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise WireError(code, f"{what} of {size} bytes exceeds the configured {setting} limit of {limit}")
