"""What the functions ``state::*`` answer, and the pieces of JSON text that several of them share.

Mirrors ``rust/core/src/state``.
"""

from __future__ import annotations

from dataclasses import dataclass

from iii_fast.reference import update
from iii_fast.reference.state_entries import Entry


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON text or no result, and the position of what was written, if anything was.

    ``durable``: the answer waits until that is on the disk, whatever level is configured.
    """

    result: str | None
    position: int | None = None
    durable: bool = False

    @property
    def wrote(self) -> bool:
        """Whether something was written."""
        return self.position is not None


def or_null(text: str | int | None) -> str:
    """JSON text or a number; ``null`` for ``None``."""
    return "null" if text is None else str(text)


def written_text(old: str | None, new: str | None, errors: list[str] | None = None) -> str:
    """What ``set`` and ``update`` answer."""
    errors_text = f',"errors":[{",".join(errors)}]' if errors else ""
    return f'{{"old_value":{or_null(old)},"new_value":{or_null(new)}{errors_text}}}'


def updated_text(old: str | None, updated: update.Updated) -> str:
    """What ``update`` answers."""
    return written_text(old, updated.value, updated.errors)


def entry_text(entry: Entry | None) -> str | None:
    """An entry with its version and expiry."""
    if entry is None:
        return None
    return f'{{"value":{entry.value},"version":{entry.version},"expires_at":{or_null(entry.expires_at)}}}'
