"""The routes of the ``http`` trigger type: a trie by path segment. Touches nothing.

A route is a method and a path; of several triggers on one route the newest serves, and when it leaves the one before it
serves again. Static segments win over parameters, per method.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

from iii_fast.triggers.config_reader import refused

T = TypeVar("T")

METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
"""What is served; a route may have another method, and is never found."""
PATH_CHARACTERS_MAX: Final = 2_048
SEGMENTS_MAX: Final = 64
PARAMETER: Final = None
"""Stands for a parameter segment in a pattern; a static segment is its text, percent-decoded."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed path: its segments, and the names of its parameters in order."""

    segments: tuple[str | None, ...]
    names: tuple[str, ...]

    @staticmethod
    def parse(path: str) -> Pattern:
        """Reads ``users/:id`` or ``/users/{id}``; the leading slash is optional, a trailing one counts.

        Raises ``WireError`` (``trigger_registration_failed``) for paths that cannot be served.
        """
        if len(path) > PATH_CHARACTERS_MAX:
            raise refused(f"api_path is longer than {PATH_CHARACTERS_MAX} characters")
        if any(character <= " " or character in "?#\x7f" for character in path):
            raise refused(f"api_path '{path}' has a space, a control character, `?` or `#` in it")
        texts = path.removeprefix("/").split("/")
        if len(texts) > SEGMENTS_MAX:
            raise refused(f"api_path '{path}' has more than {SEGMENTS_MAX} segments")
        segments: list[str | None] = []
        names: list[str] = []
        for text in texts:
            name = _parameter_name(text, path)
            segments.append(unquote(text) if name is None else PARAMETER)
            if name is not None:
                names.append(name)
        if len(set(names)) != len(names):
            raise refused(f"api_path '{path}' names a parameter twice")
        return Pattern(tuple(segments), tuple(names))


def _parameter_name(segment: str, path: str) -> str | None:
    if segment.startswith("*"):
        raise refused(f"api_path '{path}': wildcard segments such as `{segment}` are not supported")
    if segment.startswith("{") and segment.endswith("}"):
        name = segment[1:-1]
    elif segment.startswith(":"):
        name = segment[1:]
    else:
        return None
    if not name or name.startswith("*"):
        raise refused(f"api_path '{path}': `{segment}` is no parameter name")
    return name


@dataclass(slots=True)
class _Node(Generic[T]):
    static: dict[str, _Node[T]] = field(default_factory=dict)
    parameter: _Node[T] | None = None
    methods: dict[str, list[tuple[Pattern, T]]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.static and self.parameter is None and not self.methods


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
            if segment is PARAMETER:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.static.setdefault(segment, _Node())
        owners = node.methods.setdefault(method, [])
        if owners and owners[-1][0].names != pattern.names:
            names = ", ".join(owners[-1][0].names)
            raise refused(f"api_path conflicts with a route of the same shape with the parameter names {names}")
        owners.append((pattern, target))

    def remove(self, method: str, pattern: Pattern, target: T) -> None:
        """Takes ``target`` from its route; the owner before it serves again."""
        nodes = [self._root]
        for segment in pattern.segments:
            child = nodes[-1].parameter if segment is PARAMETER else nodes[-1].static[segment]
            assert child is not None
            nodes.append(child)
        owners = nodes[-1].methods[method]
        owners.remove((pattern, target))
        if not owners:
            del nodes[-1].methods[method]
        self._prune(nodes, pattern)

    def _prune(self, nodes: list[_Node[T]], pattern: Pattern) -> None:
        for parent, segment in zip(reversed(nodes[:-1]), reversed(pattern.segments), strict=True):
            if segment is PARAMETER:
                if parent.parameter is None or not parent.parameter.empty:
                    return
                parent.parameter = None
            elif parent.static[segment].empty:
                del parent.static[segment]
            else:
                return

    def find(self, method: str, path: str) -> Match[T] | None:
        """The route that serves a request path (as it came); ``HEAD`` falls back to ``GET``."""
        segments = _decoded(path)
        for candidate in ("HEAD", "GET") if method == "HEAD" else (method,):
            for node, values in _matching(self._root, segments, 0):
                if owners := node.methods.get(candidate):
                    pattern, target = owners[-1]
                    return Match(target, dict(zip(pattern.names, values, strict=True)))
        return None

    def methods(self, path: str) -> list[str]:
        """What a path is served with, for ``Allow``; empty when nothing is there."""
        found = {method for node, _ in _matching(self._root, _decoded(path), 0) for method in node.methods}
        if found:
            found.add("OPTIONS")
        if "GET" in found:
            found.add("HEAD")
        return sorted(found & METHODS)


def _decoded(path: str) -> list[str]:
    return [unquote(segment) for segment in path.removeprefix("/").split("/")]


def _matching(node: _Node[T], segments: list[str], at: int) -> Iterator[tuple[_Node[T], list[str]]]:
    """Every node that a path reaches, the most static first, with the values of the parameters on the way."""
    if at == len(segments):
        yield node, []
        return
    segment = segments[at]
    if (child := node.static.get(segment)) is not None:
        yield from _matching(child, segments, at + 1)
    if segment and node.parameter is not None:
        for found, values in _matching(node.parameter, segments, at + 1):
            yield found, [segment, *values]
