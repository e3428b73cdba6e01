"""Reads one mapping of a configuration key by key: types, bounds, and what is left over at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from iii_fast.config.report import Place, Report, fail, suggestion
from iii_fast.config.tree import Listing, Member, Node, Scalar, Table

T = TypeVar("T", bound=str)


class Section:
    """A mapping that is being read. An absent key and an empty value both mean the default.

    Every reader raises ``ConfigError`` naming file, line, key, value and expectation. ``finish`` warns about keys
    that nobody asked for; use ``with Section.of(...)`` to have it called.
    """

    def __init__(self, name: str, table: Table, report: Report) -> None:
        self.name = name
        self.report = report
        self.place = table.place
        self._members = table.members
        self._known: list[str] = []

    @classmethod
    @contextmanager
    def of(cls, name: str, table: Table, report: Report) -> Iterator[Section]:
        """Opens a section and reports its unknown keys when the block ends well."""
        section = cls(name, table, report)
        yield section
        section.finish()

    def path(self, key: str) -> str:
        """What messages call a key; those of the top level, a section without a name, stand alone."""
        return f"{self.name}.{key}" if self.name else key

    def has(self, key: str) -> bool:
        """Whether the key is given with a value."""
        return self._take(key) is not None

    def given(self, key: str) -> bool:
        """Whether the key stands there at all, even without a value."""
        return key in self._members

    def place_of(self, key: str) -> Place:
        """Where the key stands, or the section when it is absent."""
        member = self._members.get(key)
        return member.place if member else self.place

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """An integer of ``low..high``."""
        return self._integer(key, low, high, default)

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """An integer of ``low..high``, or ``None`` when the key is absent."""
        return self._integer(key, low, high, None) if self.has(key) else None

    def _integer(self, key: str, low: int, high: int, default: int | None) -> int:
        member = self._take(key)
        if member is None and default is not None:
            return default
        if member is not None and isinstance(member.value, Scalar):
            value = member.value.value()
            if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
                return value
        self.bad(key, f"an integer from {low} to {high}")

    def boolean(self, key: str, default: bool) -> bool:
        """``true`` or ``false``."""
        member = self._take(key)
        if member is None:
            return default
        if isinstance(member.value, Scalar):
            value = member.value.value()
            if isinstance(value, bool):
                return value
        self.bad(key, "true or false")

    def string(self, key: str, default: str) -> str:
        """Text that is not empty."""
        return self.optional_string(key) or default

    def optional_string(self, key: str) -> str | None:
        """Text that is not empty, or ``None`` when the key is absent."""
        member = self._take(key)
        if member is None:
            return None
        text = member.value.string() if isinstance(member.value, Scalar) else None
        if not text:
            self.bad(key, "text")
        return text

    def choice(self, key: str, default: T, allowed: Sequence[T]) -> T:
        """One of ``allowed``."""
        text = self.optional_string(key)
        if text is None:
            return default
        for one in allowed:
            if one == text:
                return one
        self.bad(key, one_of(allowed))

    def table(self, key: str) -> Table | None:
        """The mapping below the key, or ``None`` when absent."""
        member = self._take(key)
        if member is None:
            return None
        if not isinstance(member.value, Table):
            self.bad(key, "a mapping")
        return member.value

    def listing(self, key: str) -> tuple[Node, ...]:
        """The items of the list below the key; none when absent."""
        member = self._take(key)
        if member is None:
            return ()
        if not isinstance(member.value, Listing):
            self.bad(key, "a list")
        return member.value.items

    def unsupported(self, key: str, consequence: str) -> None:
        """Warns when a key is given that the protocol's other engines know and this one does not support yet."""
        if self.has(key):
            self.report.warn(self.place_of(key), f"{self.path(key)} is not supported yet: {consequence}")

    def refused(self, key: str, reason: str) -> None:
        """Ends start-up when a key is given that protects something and is not supported yet."""
        if self.has(key):
            fail(self.place_of(key), f"{self.path(key)} is not supported yet, and {reason}")

    def accepted(self, *keys: str) -> None:
        """Marks keys as known that need nothing from this engine."""
        self._known.extend(keys)

    def finish(self) -> None:
        """Warns about every key that no reader asked for."""
        for key, member in self._members.items():
            if key not in self._known:
                hint = suggestion(key, self._known) or f"known: {', '.join(sorted(set(self._known)))}"
                where = f" in {self.name}" if self.name else ""
                self.report.warn(member.place, f"unknown key `{key}`{where} is ignored ({hint})")

    def bad(self, key: str, expectation: str) -> NoReturn:
        """Raises ``ConfigError`` for the value of ``key``."""
        member = self._members.get(key)
        found = str(member.value) if member else "missing"
        place = member.value.place if member else self.place
        fail(place, f"{self.path(key)} is {found}, expected {expectation}")

    def _take(self, key: str) -> Member | None:
        if key not in self._known:
            self._known.append(key)
        member = self._members.get(key)
        return None if member is None or is_null(member.value) else member


def is_null(node: Node) -> bool:
    """Whether the value is YAML's null, that is: not given."""
    return isinstance(node, Scalar) and node.value() is None


def one_of(allowed: Sequence[str]) -> str:
    """``a``, ``a or b``, ``one of a, b, c``."""
    if len(allowed) <= 2:
        return " or ".join(allowed)
    return f"one of {', '.join(allowed)}"
