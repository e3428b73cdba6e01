"""What reading a configuration has to say: places in files, warnings that collect, errors that end it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from iii_fast.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class Report:
    """Collects warnings about one file."""

    _found: list[tuple[int, str]] = field(default_factory=list)

    def warn(self, place: Place, text: str) -> None:
        """Notes one warning."""
        self._found.append((place.line, f"{place}: {text}"))

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings in the order of their lines."""
        return tuple(text for _, text in sorted(self._found, key=lambda found: found[0]))


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """``did you mean `x`?`` for the closest of ``known``, or ``None`` when none is close."""
    close = difflib.get_close_matches(name.lower(), sorted(set(known)), n=1)
    return f"did you mean `{close[0]}`?" if close else None


def fail(place: Place, text: str) -> NoReturn:
    """Raises ``ConfigError`` with the place in front."""
    raise ConfigError(f"{place}: {text}")
