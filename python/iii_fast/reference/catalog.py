"""What lies in the directory, what of it a start needs, and what is not needed any more.

Mirrors ``rust/journal/src/catalog.rs`` and ``layout.rs``. Knows names and sizes. Rules: docs/storage.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iii_fast.reference import part, segment
from iii_fast.reference.part import PartId


@dataclass(slots=True)
class Segment:
    """A segment that is there."""

    first: int
    bytes: int

    @property
    def name(self) -> str:
        """Its file."""
        return segment.name(self.first)


@dataclass(slots=True)
class Catalog:
    """The files by their first positions, and the parts of snapshots with their bytes."""

    segments: list[Segment] = field(default_factory=list)
    parts: dict[PartId, int] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Catalog:
        """What files with these names and sizes are. Others are none of ours."""
        catalog = cls()
        for name, size in sorted(sizes.items()):
            if (first := segment.parse_name(name)) is not None:
                catalog.segments.append(Segment(first, size))
            elif (found := part.parse_name(name)) is not None:
                catalog.parts[found] = size
            elif name.endswith(".tmp"):
                catalog.unfinished.append(name)
        return catalog

    @property
    def generation(self) -> int:
        """The last one that was begun, 0 for none."""
        return max((found.generation for found in self.parts), default=0)

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.bytes for one in self.segments) + sum(self.parts.values())

    def names(self) -> list[str]:
        """All files."""
        return [found.name for found in self.parts] + [one.name for one in self.segments]

    # --- a start ---------------------------------------------------------------------------------------------------

    def first_needed(self, start: int | None) -> tuple[int, str | None]:
        """The index of the segment that begins right behind a snapshot's ``start``, and what is missing, if anything.

        One is begun there with every snapshot, before the snapshot is there.
        """
        if not self.segments and not self.parts:
            return 0, None
        wanted = 1 if start is None else start + 1
        for index, one in enumerate(self.segments):
            if one.first == wanted:
                return index, None
        name = segment.name(wanted)
        if start is not None:
            return 0, f"{name}, which the snapshot needs, is not there"
        if self.parts:
            return 0, f"no snapshot has all its parts, and {name} is not there"
        return 0, f"{name}, with which the journal begins, is not there"

    # --- a running engine ------------------------------------------------------------------------------------------

    def bytes_behind(self, start: int) -> int:
        """Bytes of segments that have, or will have, something behind ``start``."""
        following = [one.first for one in self.segments[1:]]
        needed = (one.bytes for one, after in zip(self.segments, following, strict=False) if after > start + 1)
        return sum(needed) + self.segments[-1].bytes

    def others(self, generation: int) -> list[PartId]:
        """The parts of other generations."""
        return [found for found in self.parts if found.generation != generation]

    def unneeded(self, start: int, history_bytes: int) -> list[Segment]:
        """The segments that neither the snapshot at ``start`` nor a history of ``history_bytes`` needs."""
        count = 0
        while len(self.segments) > count + 1 and self.segments[count + 1].first <= start + 1:
            if sum(one.bytes for one in self.segments[count + 1 :]) < history_bytes:
                break
            count += 1
        return self.segments[:count]
