"""Routes: which trigger serves which request path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iii_fast.errors import WireError
from iii_fast.reference.http_routes import PATH_CHARACTERS_MAX, SEGMENTS_MAX, Pattern, Routes


def routes(*entries: tuple[str, str]) -> Routes[str]:
    made: Routes[str] = Routes()
    for method, path in entries:
        made.add(method, Pattern.parse(path), f"{method} {path}")
    return made


def found(table: Routes[str], method: str, path: str) -> tuple[str, dict[str, str]] | None:
    match = table.find(method, path)
    return None if match is None else (match.target, match.parameters)


@pytest.mark.parametrize("path", ["users/:id/status", "/users/:id/status", "/users/{id}/status"])
def test_the_leading_slash_is_optional_and_parameters_are_named(path: str) -> None:
    assert found(routes(("GET", path)), "GET", "/users/42/status") == (f"GET {path}", {"id": "42"})


def test_static_wins_over_parameter_per_method() -> None:
    table = routes(("GET", "users/:id"), ("POST", "users/me"), ("GET", "users/:id/x"), ("GET", "users/all/y"))
    assert found(table, "POST", "/users/me") == ("POST users/me", {})
    assert found(table, "GET", "/users/me") == ("GET users/:id", {"id": "me"}), "no static route for this method"
    assert found(table, "GET", "/users/all/x") == ("GET users/:id/x", {"id": "all"}), "steps back from a dead end"


def test_methods_may_name_parameters_differently() -> None:
    table = routes(("GET", "users/:id"), ("POST", "users/:userId"))
    assert found(table, "POST", "/users/1") == ("POST users/:userId", {"userId": "1"})
    with pytest.raises(WireError, match=r"conflicts.*id"):
        table.add("GET", Pattern.parse("/users/:other"), "x")
    assert found(table, "GET", "/users/1") == ("GET users/:id", {"id": "1"})


@pytest.mark.parametrize(
    ("path", "asked", "hit"),
    [
        ("a", "/a/", False),
        ("a/", "/a/", True),
        ("a/", "/a", False),
        ("", "/", True),
        ("/", "/", True),
        ("/", "//", False),
        (":x", "/", False),
        ("a/:x/b", "/a//b", False),
        ("caf%C3%A9", "/caf%c3%a9", True),
        ("café", "/caf%C3%A9", True),
        ("A", "/a", False),
    ],
)
def test_what_a_path_matches(path: str, asked: str, hit: bool) -> None:
    assert (found(routes(("GET", path)), "GET", asked) is not None) is hit


def test_parameters_are_decoded_after_the_path_is_split() -> None:
    table = routes(("GET", "files/:name"))
    assert found(table, "GET", "/files/a%2Fb%20c%C3%A9") == ("GET files/:name", {"name": "a/b cé"})


def test_the_last_owner_wins_and_the_one_before_comes_back() -> None:
    table: Routes[str] = Routes()
    pattern = Pattern.parse("a/:x")
    for owner in ("first", "second", "third"):
        table.add("GET", pattern, owner)
    assert found(table, "GET", "/a/1") == ("third", {"x": "1"})
    table.remove("GET", pattern, "second")
    assert found(table, "GET", "/a/1") == ("third", {"x": "1"})
    table.remove("GET", pattern, "third")
    assert found(table, "GET", "/a/1") == ("first", {"x": "1"})
    table.remove("GET", pattern, "first")
    assert found(table, "GET", "/a/1") is None
    assert table._root.empty


def test_head_falls_back_to_get_and_a_head_route_wins() -> None:
    table = routes(("GET", "a"))
    assert found(table, "HEAD", "/a") == ("GET a", {})
    table.add("HEAD", Pattern.parse("a"), "HEAD a")
    assert found(table, "HEAD", "/a") == ("HEAD a", {})
    assert found(routes(("POST", "a")), "HEAD", "/a") is None


def test_allow_lists_what_the_path_can_be_asked_with() -> None:
    table = routes(("GET", "users/:id"), ("POST", "users/me"), ("PUT", "other"))
    assert table.methods("/users/me") == ["GET", "HEAD", "OPTIONS", "POST"]
    assert table.methods("/nothing") == []


@pytest.mark.parametrize(
    "path",
    [
        "a/*rest/b",
        "*/b",
        "{*x}/b",
        ":",
        "a/:/b",
        "{}",
        ":x/:x",
        ":x/*x",
        "a b",
        "a?b",
        "a#b",
        "a\nb",
        "x" * (PATH_CHARACTERS_MAX + 1),
    ],
)
def test_paths_that_cannot_be_served_are_refused(path: str) -> None:
    with pytest.raises(WireError) as raised:
        Pattern.parse(path)
    assert raised.value.code == "trigger_registration_failed"


@pytest.mark.parametrize(
    ("path", "asked", "rest"),
    [
        ("files/*path", "/files/a/b%20c", {"path": "a/b c"}),
        ("files/{*path}", "/files/a", {"path": "a"}),
        ("*", "/a//b/", {"*": "a//b/"}),
        ("files/*path", "/files/", None),
        ("files/*path", "/files", None),
        ("files/*path", "/files//", {"path": "/"}),
        (":x/*y", "/1/2/3", {"x": "1", "y": "2/3"}),
    ],
)
def test_a_wildcard_takes_what_is_left(path: str, asked: str, rest: dict[str, str] | None) -> None:
    match = found(routes(("GET", path)), "GET", asked)
    assert (None if match is None else match[1]) == rest


def test_static_wins_over_parameter_over_wildcard() -> None:
    table = routes(("GET", "a/b"), ("GET", "a/:x"), ("GET", "a/*y"), ("GET", "*z"), ("POST", "a/*y"))
    for asked, served in [("/a/b", "a/b"), ("/a/c", "a/:x"), ("/a/b/c", "a/*y"), ("/b", "*z")]:
        match = found(table, "GET", asked)
        assert match is not None
        assert match[0] == f"GET {served}"
    assert found(table, "POST", "/a/b") == ("POST a/*y", {"y": "b"})


def test_segments_are_limited() -> None:
    assert len(Pattern.parse("/".join("a" * SEGMENTS_MAX)).segments) == SEGMENTS_MAX
    with pytest.raises(WireError, match="more than 64 segments"):
        Pattern.parse("/".join("a" * (SEGMENTS_MAX + 1)))
    assert found(routes(("GET", "a")), "GET", "/a" * 30_000) is None


SEGMENT = st.sampled_from(["a", "b", ":x"])
ROUTE = st.tuples(st.sampled_from(["GET", "POST"]), st.lists(SEGMENT, min_size=1, max_size=3))


@given(st.lists(ROUTE, max_size=8), st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3))
def test_finds_what_a_plain_search_finds(entries: list[tuple[str, list[str]]], asked: list[str]) -> None:
    table: Routes[int] = Routes()
    kept: list[tuple[str, list[str]]] = []
    for method, segments in entries:
        names = [f":{chr(112 + at)}" if one == ":x" else one for at, one in enumerate(segments)]
        table.add(method, Pattern.parse("/".join(names)), len(kept))
        kept.append((method, segments))

    def matches(segments: list[str]) -> bool:
        return len(segments) == len(asked) and all(a in (b, ":x") for a, b in zip(segments, asked, strict=True))

    candidates = [(i, s) for i, (m, s) in enumerate(kept) if m == "GET" and matches(s)]
    # The most static from the left; of equal ones the newest.
    expected = min(candidates, key=lambda one: ([s == ":x" for s in one[1]], -one[0]))[0] if candidates else None
    match = table.find("GET", "/" + "/".join(asked))
    assert (None if match is None else match.target) == expected
    for index, (method, segments) in enumerate(kept):
        names = [f":{chr(112 + at)}" if one == ":x" else one for at, one in enumerate(segments)]
        table.remove(method, Pattern.parse("/".join(names)), index)
    assert table._root.empty
