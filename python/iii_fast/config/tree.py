"""A YAML document as a small tree that remembers lines, with ``${VAR}`` and ``${VAR:default}`` expanded.

Variables expand in scalars only, after YAML has found them: a comment never counts, and a value cannot change the
structure. What is in a placeholder's braces is no YAML, so it needs no quotes in flow style. Nothing is constructed
from tags, so reading a file runs no code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from iii_fast.config.report import Place, fail

_PLACEHOLDER = re.compile(r"\$\{([^}:]*)(?::([^}]*))?\}")
_UNQUOTED = re.compile(r"\$\{\w*(?::[^}\r\n]*)?\}")
_VEIL: Final = {code: 0x10_0000 + code for code in range(0x20, 0x7F)}
"""ASCII to characters of private use, which mean nothing to YAML."""
_UNVEIL: Final = {veiled: code for code, veiled in _VEIL.items()}
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

Plain: TypeAlias = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. ``quoted`` text stays text; text that came out of a variable may serve as either."""

    place: Place
    text: str
    quoted: bool
    expanded: bool

    def value(self) -> Plain:
        """The value as YAML types it (core schema; fractions stay text). A quoted lone placeholder is typed too."""
        if self.quoted and not self.expanded:
            return self.text
        if self.text in _NULLS and not self.quoted:
            return None
        if self.text in _BOOLEANS:
            return _BOOLEANS[self.text]
        return int(self.text) if _INTEGER.fullmatch(self.text) else self.text

    def string(self) -> str | None:
        """The text, when the value is text or may serve as text because it came out of a variable."""
        return self.text if self.expanded or isinstance(self.value(), str) else None

    def __str__(self) -> str:
        value = self.value()
        if isinstance(value, str):
            return f'"{value}"'
        return "empty" if value is None else self.text


@dataclass(frozen=True, slots=True)
class Member:
    """One key with its value; ``place`` is the key's."""

    place: Place
    value: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A YAML mapping; keys are text and unique."""

    place: Place
    members: Mapping[str, Member]

    def __str__(self) -> str:
        return "a mapping"


@dataclass(frozen=True, slots=True)
class Listing:
    """A YAML sequence."""

    place: Place
    items: tuple[Node, ...]

    def __str__(self) -> str:
        return "a list"


Node: TypeAlias = Scalar | Table | Listing


def parse(text: str, file: str, environ: Mapping[str, str]) -> Node | None:
    """Reads one YAML document; ``None`` when it is empty.

    Raises ``ConfigError`` with file and line for broken YAML, a key given twice, a key that is not text, an anchor
    that contains itself, and a variable that is not set and has no default.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "cannot be read"
        fail(Place(file, mark.line + 1 if mark else 1), f"not valid YAML: {problem}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fail(Place(file, line), f"not valid YAML: {error.reason}")
    return None if root is None else _Builder(text, file, environ).build(root)


class _Loader(yaml.SafeLoader):
    """Takes a placeholder for plain text, whatever is in its braces."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        # As long as the original, so that it can take its place without moving a line or an index.
        self._veiled = _UNQUOTED.sub(lambda match: match.group().translate(_VEIL), self.buffer)

    def scan_plain(self) -> Any:
        """Reads an unquoted scalar with the placeholders veiled; all other scanning sees the original."""
        self.buffer, original = self._veiled, self.buffer
        try:
            token = super().scan_plain()
        finally:
            self.buffer = original
        token.value = token.value.translate(_UNVEIL)
        return token


class _Builder:
    """Turns composed YAML nodes into ours. Each node is built once, however many aliases point to it."""

    def __init__(self, source: str, file: str, environ: Mapping[str, str]) -> None:
        self._source = source
        self._file = file
        self._environ = environ
        self._built: dict[int, Node] = {}
        self._open: set[int] = set()

    def build(self, node: yaml.Node) -> Node:
        known = self._built.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            fail(self._place(node), "an anchor contains itself")
        self._open.add(id(node))
        built = self._build(node)
        self._open.discard(id(node))
        self._built[id(node)] = built
        return built

    def _build(self, node: yaml.Node) -> Node:
        if isinstance(node, yaml.MappingNode):
            return self._table(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        return Listing(self._place(node), tuple(self.build(item) for item in node.value))

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1)

    def _table(self, node: yaml.MappingNode) -> Table:
        members: dict[str, Member] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            key = self.build(key_node)
            if not isinstance(key, Scalar):
                fail(place, f"a key is {key}, expected text")
            if key.text in members:
                fail(place, f"key `{key.text}` is given twice, first on line {members[key.text].place.line}")
            members[key.text] = Member(place, self.build(value_node))
        return Table(self._place(node), members)

    def _scalar(self, node: yaml.ScalarNode) -> Scalar:
        quoted = node.style is not None

        def expand(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            value = self._environ.get(name, default)
            if value is None:
                fail(
                    self._place_of(match.group(0), node),
                    f"variable {name or '(without a name)'} is not set and has no default; "
                    f"set it, or write ${{{name}:default}}",
                )
            return value

        text, count = _PLACEHOLDER.subn(expand, node.value)
        lone = _PLACEHOLDER.fullmatch(node.value) is not None
        return Scalar(self._place(node), text, quoted, expanded=count > 0 and (lone or not quoted))

    def _place_of(self, placeholder: str, node: yaml.ScalarNode) -> Place:
        """The line of a placeholder inside a value of several lines."""
        at = self._source.find(placeholder, node.start_mark.index, node.end_mark.index)
        extra = self._source.count("\n", node.start_mark.index, at) if at >= 0 else 0
        return Place(self._file, node.start_mark.line + 1 + extra)
