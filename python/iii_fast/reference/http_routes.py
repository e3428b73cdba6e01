"""Which trigger serves which path: a trie by path segment. Mirrors ``rust/core/src/http/pattern.rs`` and ``routes.rs``.

A route is a method and a path; of several triggers on one route the newest serves, and when it leaves the one before it
serves again. Static segments win over parameters, parameters over wildcards, per method.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

from iii_fast.errors import WireError
from iii_fast.protocol import HTTP_METHODS, Code

T = TypeVar("T")

PATH_CHARACTERS_MAX: Final = 2_048
SEGMENTS_MAX: Final = 64
PARAMETER: Final = 0
WILDCARD: Final = 1
"""Stand for such segments in a pattern; a static segment is its text, percent-decoded."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed path: its segments, and the names of its parameters and wildcard in order."""

    segments: tuple[str | int, ...]
    names: tuple[str, ...]

    @staticmethod
    def parse(path: str) -> Pattern:
        """Reads ``users/:id``, ``/users/{id}``, ``files/*path``; a leading slash is optional, a trailing one counts.

        Raises ``WireError`` (``trigger_registration_failed``) for paths that cannot be served.
        """
        if len(path) > PATH_CHARACTERS_MAX:
            raise refused(f"api_path is longer than {PATH_CHARACTERS_MAX} characters")
        if any(character <= " " or character in "?#\x7f" for character in path):
            raise refused(f"api_path '{path}' has a space, a control character, `?` or `#` in it")
        texts = path.removeprefix("/").split("/")
        if len(texts) > SEGMENTS_MAX:
            raise refused(f"api_path '{path}' has more than {SEGMENTS_MAX} segments")
        segments: list[str | int] = []
        names: list[str] = []
        for at, text in enumerate(texts):
            segment, name = _read_segment(text, path, is_last=at + 1 == len(texts))
            segments.append(segment)
            if name is not None:
                names.append(name)
        if len(set(names)) != len(names):
            raise refused(f"api_path '{path}' names a parameter twice")
        return Pattern(tuple(segments), tuple(names))


def refused(message: str) -> WireError:
    """The error of a path that cannot be served."""
    return WireError(Code.TRIGGER_REGISTRATION_FAILED, message)


def _read_segment(text: str, path: str, *, is_last: bool) -> tuple[str | int, str | None]:
    """A segment of a pattern, and its name if it has one."""
    name = None
    if text.startswith("{") and text.endswith("}") and len(text) > 1:
        name = text[1:-1]
    elif text.startswith(":"):
        name = text[1:]
    if (name if name is not None else text).startswith("*"):
        if not is_last:
            raise refused(f"api_path '{path}': the wildcard `{text}` is not the last segment")
        return WILDCARD, (name if name is not None else text)[1:] or "*"
    if name is None:
        return unquote(text), None
    if not name:
        raise refused(f"api_path '{path}': `{text}` is no parameter name")
    return PARAMETER, name


@dataclass(slots=True)
class _Node(Generic[T]):
    children: dict[str | int, _Node[T]] = field(default_factory=dict)
    methods: dict[str, list[tuple[Pattern, T]]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.children and not self.methods


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """A route that serves a path, and its percent-decoded path parameters."""

    target: T
    parameters: dict[str, str]


class Routes(Generic[T]):
    """All routes; a target is whatever the caller wants back."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, pattern: Pattern, target: T) -> None:
        """Makes ``target`` serve a route. Raises ``WireError`` when the same shape has other parameter names."""
        node = self._root
        for segment in pattern.segments:
            node = node.children.setdefault(segment, _Node())
        owners = node.methods.setdefault(method, [])
        if owners and owners[-1][0].names != pattern.names:
            names = ", ".join(owners[-1][0].names)
            raise refused(f"api_path conflicts with a route of the same shape with the parameter names {names}")
        owners.append((pattern, target))

    def remove(self, method: str, pattern: Pattern, target: T) -> None:
        """Takes ``target`` from its route; the owner before it serves again."""
        nodes = [self._root]
        for segment in pattern.segments:
            nodes.append(nodes[-1].children[segment])
        owners = nodes[-1].methods[method]
        owners.remove((pattern, target))
        if not owners:
            del nodes[-1].methods[method]
        for parent, segment in zip(reversed(nodes[:-1]), reversed(pattern.segments), strict=True):
            if parent.children[segment].empty:
                del parent.children[segment]

    def find(self, method: str, path: str) -> Match[T] | None:
        """The route that serves a request path (as it came); ``HEAD`` falls back to ``GET``."""
        if method not in HTTP_METHODS:
            return None
        segments = path.removeprefix("/").split("/")
        for candidate in ("HEAD", "GET") if method == "HEAD" else (method,):
            for node, values in _matching(self._root, segments, 0):
                if owners := node.methods.get(candidate):
                    pattern, target = owners[-1]
                    return Match(target, dict(zip(pattern.names, values, strict=True)))
        return None

    def methods(self, path: str) -> list[str]:
        """What a path is served with, for ``Allow``; empty when nothing is there."""
        segments = path.removeprefix("/").split("/")
        found = {method for node, _ in _matching(self._root, segments, 0) for method in node.methods}
        if found:
            found.add("OPTIONS")
        if "GET" in found:
            found.add("HEAD")
        return sorted(found.intersection(HTTP_METHODS))


def _matching(node: _Node[T], segments: list[str], at: int) -> Iterator[tuple[_Node[T], list[str]]]:
    """Every node that a path reaches, the most static first, with the values of parameters and wildcard on the way."""
    if at == len(segments):
        yield node, []
        return
    value = unquote(segments[at])
    if (child := node.children.get(value)) is not None:
        yield from _matching(child, segments, at + 1)
    if segments[at] and (child := node.children.get(PARAMETER)) is not None:
        for found, values in _matching(child, segments, at + 1):
            yield found, [value, *values]
    if (rest := "/".join(segments[at:])) and (child := node.children.get(WILDCARD)) is not None:
        yield child, [unquote(rest)]
