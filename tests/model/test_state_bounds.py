"""State on both backends at its bounds: many items, long pages, many entries that expire together."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from iii_fast.contracts import Limits
from tests.model.harness import NativePlane, ReferencePlane
from tests.model.lockstep import Lockstep
from tests.model.state_payloads import EQUALS
from tests.model.texts import INTERESTING_NUMBERS

LOOKED_MAX = 10_000


def planes_with(limits: Limits | None = None) -> Lockstep:
    """One session, at 1000 ms."""
    planes = Lockstep.of(NativePlane, ReferencePlane, limits or Limits())
    planes.connect()
    planes.do("time", lambda plane, *_: plane.set_time(1000))
    return planes


def send(planes: Lockstep, function: str, data: str) -> Any:
    """What came back, from the JSON text of the input."""
    message = f'{{"type":"invokefunction","invocation_id":"i","function_id":"state::{function}","data":{data}}}'
    said = planes.receive(0, message)
    planes.history.clear()  # long, and the messages speak for themselves
    return json.loads(said.sent[0][0])


def call(planes: Lockstep, function: str, data: dict[str, Any]) -> Any:
    """The result, ``None`` when there is none, or code and text of the error."""
    said = send(planes, function, json.dumps(data))
    return said.get("result") if "error" not in said else (said["error"]["code"], said["error"]["message"])


def fill(planes: Lockstep, first: int, count: int, **more: object) -> None:
    """Sets so many keys, ``k0`` and so on, in scope ``s``."""
    for begin in range(first, first + count, 1000):
        numbers = range(begin, min(begin + 1000, first + count))
        entries = [{"key": f"k{number}", "value": number, **more} for number in numbers]
        assert call(planes, "set_many", {"scope": "s", "entries": entries})["written"] == len(entries)


def test_a_page_looks_at_so_many_entries() -> None:
    planes = planes_with()
    fill(planes, 0, LOOKED_MAX - 1)
    call(planes, "set", {"scope": "s", "key": "x", "value": 1})
    page = call(planes, "list_entries", {"scope": "s", "prefix": "x"})
    assert (page["entries"], page["done"]) == ([["x", 1]], True)
    call(planes, "set", {"scope": "s", "key": "xx", "value": 2})
    page = call(planes, "list_entries", {"scope": "s", "prefix": "x"})
    assert (page["entries"], page["done"], page["total"]) == ([["x", 1]], False, LOOKED_MAX + 1)
    page = call(planes, "list_entries", {"scope": "s", "prefix": "x", "cursor": page["next_cursor"]})
    assert (page["entries"], page["done"]) == ([["xx", 2]], True)
    page = call(planes, "list_entries", {"scope": "s", "prefix": "none"})
    assert (page["entries"], page["done"]) == ([], False)


def test_pages_under_changes() -> None:
    planes = planes_with()
    fill(planes, 0, 300)
    cursor, seen = None, []
    for turn in range(40):
        page = call(planes, "list_entries", {"scope": "s", "limit": 20, "cursor": cursor})
        seen += [key for key, _ in page["entries"]]
        if page["done"]:
            break
        cursor = page["next_cursor"]
        call(planes, "delete", {"scope": "s", "key": seen[-1]})
        call(planes, "set", {"scope": "s", "key": seen[-2], "value": "again"})
        call(planes, "set", {"scope": "s", "key": f"new{turn}", "value": turn})
    stayed = [f"k{number}" for number in range(300)]
    assert [key for key in seen if key in set(stayed)] == stayed
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("removal", ["set_time", "advance"])
def test_many_entries_that_expire_together(removal: str) -> None:
    planes = planes_with()
    planes.do("watch", lambda plane, *_: plane.watch("s"))
    planes.do("feed", lambda plane, *_: plane.begin_feed())
    fill(planes, 0, 300, expires_at=1020)
    fill(planes, 300, 300, expires_at=1010)
    fill(planes, 600, 3)
    for now in (1009, 1010, 1020):
        planes.do(str(now), lambda plane, *_, now=now: getattr(plane, removal)(now))
        call(planes, "list_keys", {"scope": "s"})
        call(planes, "list_entries", {"scope": "s", "limit": 3})
        call(planes, "set", {"scope": "s", "key": "k7", "value": 0, "expires_at": 1020})
    assert call(planes, "list", {"scope": "s"}) == [600, 601, 602]
    assert call(planes, "delete_scope", {"scope": "s"})["deleted"] == 3
    planes.do("changes", lambda plane, *_: plane.read_changes(0, None, None, 10_000, 10**9))


@pytest.mark.parametrize(
    ("function", "array"), [("get_many", "keys"), ("delete_many", "keys"), ("set_many", "entries")]
)
@pytest.mark.parametrize("count", [0, 1, 1000, 1001])
def test_the_number_of_items(function: str, array: str, count: int) -> None:
    planes = planes_with()
    result = call(planes, function, {"scope": "s", array: [{"key": "k", "value": 1}] * count})
    assert isinstance(result, dict) == (1 <= count <= 1000)


@pytest.mark.parametrize(
    ("checks", "ops"), [(0, 0), (0, 1), (0, 1000), (0, 1001), (999, 1), (1, 999), (1000, 1), (1001, 1)]
)
def test_the_number_of_checks_and_operations(checks: int, ops: int) -> None:
    planes = planes_with()
    check = {"scope": "s", "key": "k", "absent": True}
    op = {"type": "set", "scope": "s", "key": "k", "value": 1}
    result = call(planes, "transact", {"checks": [check] * checks, "ops": [op] * ops})
    assert isinstance(result, dict) == (ops >= 1 and checks + ops <= 1000)


def test_the_bytes_of_a_page() -> None:
    planes = planes_with()
    for key in ("a", 'b"', "é\n"):
        call(planes, "set", {"scope": "s", "key": key, "value": ["é"]})
    pages = [call(planes, "list_entries", {"scope": "s", "max_bytes": bytes_max}) for bytes_max in range(1, 60)]
    assert {len(page["entries"]) for page in pages if isinstance(page, dict)} == {1, 2, 3}
    assert isinstance(pages[0], tuple)


@pytest.mark.parametrize("limit", ["key_bytes_max", "value_bytes_max", "scope_bytes_max", "total_bytes_max"])
@pytest.mark.parametrize("bytes_max", range(0, 24, 3))
def test_quotas(limit: str, bytes_max: int) -> None:
    planes = planes_with(Limits(**{limit: bytes_max}))
    place = {"scope": "scöpe", "key": "k"}
    for value in (1, "23456", None):
        for expires_at in (None, 1000, 1001):
            call(planes, "set", {**place, "value": value, "expires_at": expires_at})
            call(planes, "compare-and-set", {**place, "value": [value], "expected": value})
            call(planes, "update", {**place, "ops": [{"type": "append", "path": "", "value": value}]})
            op = {"type": "set", "value": value, "expires_at": expires_at}
            call(planes, "transact", {"ops": [{**op, "scope": "t", "key": "k"}, {**op, **place, "key": "longer key"}]})
            call(
                planes, "set_many", {"scope": "t", "entries": [{"key": "k", "value": value}, {"key": "l", "value": 1}]}
            )
            call(planes, "delete", {**place})
    planes.do("time", lambda plane, *_: plane.set_time(1001))
    call(planes, "set", {**place, "value": "x"})
    call(planes, "delete_scope", {"scope": "t"})
    call(planes, "set", {**place, "value": "xyz"})


@pytest.mark.parametrize("function", ["get", "get_many", "list_entries", "compare-and-set", "set_many", "transact"])
def test_the_size_of_a_result(function: str) -> None:
    planes = planes_with()
    call(planes, "set", {"scope": "s", "key": "k", "value": {"é": 1}})
    data = {"scope": "s", "key": "k", "value": {"é": 2}, "meta": True, "keys": [{"key": "k"}], "expected": {"é": 2}}
    entries = [{"key": "k", "value": {"é": 2}}]
    data |= {"entries": entries, "ops": [{"type": "set", "scope": "s", **entries[0]}]}
    texts = set()
    for size in range(80, 260):
        planes.do("size", lambda plane, at, _, size=size: plane.set_peer_message_max(at(0), size))
        result = call(planes, function, data)
        texts.add(result[0] if isinstance(result, tuple) else "")
    assert texts == {"", "payload_too_large"}


META = {"scope": "s", "key": "k", "meta": True}


def test_an_update_keeps_or_changes_the_expiry() -> None:
    planes = planes_with()
    place = {"scope": "s", "key": "k"}
    increment = {**place, "ops": [{"type": "increment", "path": "", "by": 1}]}
    expiries = []
    for before, more in [
        (1500, {}),
        (1500, {"ttl_ms": 7}),
        (1500, {"expires_at": 1600}),
        (None, {}),
        (None, {"ttl_ms": 7}),
    ]:
        call(planes, "set", {**place, "value": 1, "expires_at": before})
        call(planes, "update", {**increment, **more})
        expiries.append(call(planes, "get", META)["expires_at"])
        call(planes, "transact", {"ops": [{"type": "update", **increment}]})
        expiries.append(call(planes, "get", META)["expires_at"])
        call(planes, "update", {**place, "ops": [{"type": "remove", "path": "a"}], "expires_at": 1700})
        expiries.append(call(planes, "get", META)["expires_at"])
    assert expiries == [1500] * 3 + [1007] * 3 + [1600] * 3 + [None] * 3 + [1007] * 3


@pytest.mark.parametrize("function", ["set_many", "transact", "delete_scope"])
def test_what_is_due_goes_first_and_in_the_order_of_its_time(function: str) -> None:
    planes = planes_with()
    planes.do("watch", lambda plane, *_: plane.watch("s"))
    planes.do("feed", lambda plane, *_: plane.begin_feed())
    for key, expires_at in [("a", 1030), ("b", 1010), ("c", 1020), ("d", 1010), ("e", 1015)]:
        call(planes, "set", {"scope": "s", "key": key, "value": key, "expires_at": expires_at})
    call(planes, "set", {"scope": "s", "key": "f", "value": 1})
    planes.do("time", lambda plane, *_: plane.set_time(1030))
    entries = [{"scope": "s", "key": key, "value": 1} for key in "acbda"]
    if function == "set_many":
        assert call(planes, "set_many", {"entries": entries})["version"] == 6 + 4 + 5
    elif function == "transact":
        reads = [{"type": "delete", "scope": "s", "key": "e"}]  # of nothing: what is due there stays
        result = call(planes, "transact", {"ops": [*reads, *({"type": "set", **entry} for entry in entries)]})
        assert result["version"] == 6 + 4 + 5
    else:
        assert call(planes, "delete_scope", {"scope": "s"}) == {"deleted": 1, "version": 6 + 5 + 1}
    call(planes, "list_keys", {"scope": "s"})
    planes.do("changes", lambda plane, *_: plane.read_changes(0, None, None, 1000, 10**6))


def test_what_has_expired_counts_until_it_is_removed() -> None:
    planes = planes_with(Limits(scope_bytes_max=10))
    place = {"scope": "s", "key": "k"}
    call(planes, "set", {**place, "value": "12345", "expires_at": 1010})
    planes.do("time", lambda plane, *_: plane.set_time(1010))
    refused = []
    for key, value in [("l", 1), ("l", ""), ("k", 12), ("k", 1), ("k", "123456"), ("l", "")]:
        refused.append(isinstance(call(planes, "set", {**place, "key": key, "value": value}), tuple))
    assert refused == [False, True, True, True, True, True]
    planes.do("time", lambda plane, *_: plane.advance(1011))
    assert call(planes, "set", {**place, "value": "12345"}) == {"old_value": None, "new_value": "12345"}


@pytest.mark.parametrize("version", range(1, 6))
def test_every_version_but_the_entry_s_is_another(version: int) -> None:
    check = {"scope": "s", "key": "k", "version": version}
    op = {"type": "set", "scope": "s", "key": "k", "value": "new"}
    for function, data, said in [
        ("compare-and-set", {**check, "value": "new"}, "swapped"),
        ("transact", {"checks": [check], "ops": [op]}, "committed"),
    ]:
        planes = planes_with()
        for value in range(3):
            call(planes, "set", {"scope": "s", "key": "k", "value": value})
        assert call(planes, function, data)[said] == (version == 3)
        assert call(planes, "get", META)["version"] == (4 if version == 3 else 3)


def test_what_a_page_has_if_nothing_is_said() -> None:
    planes = planes_with()
    fill(planes, 0, 101)
    assert len(call(planes, "list_entries", {"scope": "s"})["entries"]) == 100
    for extra in range(3):
        for key, count in (("a", 499_990), ("b", 499_992 + extra)):
            call(planes, "set", {"scope": "t", "key": key, "value": "x" * count})
        assert len(call(planes, "list_entries", {"scope": "t"})["entries"]) == (2 if extra < 2 else 1)


NUMBERS = [*INTERESTING_NUMBERS, "100", "10e1", "1E+00000000000000000000000000000000000002", "0.1e3", "-100", "0e99"]
NUMBERS += [f"{'1' * 30}e{'9' * 40}", f"{'1' * 30}0e{'9' * 39}8", f"0.{'0' * 50}1e50", "1e-1", "0.10", "120", "12.0e1"]


def test_equality_of_every_two_values() -> None:
    planes = planes_with()
    texts = [
        *EQUALS,
        *NUMBERS,
        '"1"',
        '"\\u0031"',
        '"\\ud83d\\ude00"',
        '"😀"',
        "[[1,[2]]]",
        "[[1.0,[20e-1]]]",
        "[[1],[2]]",
    ]
    equal = 0
    for stored, expected in itertools.product(texts, repeat=2):
        place = '"scope":"s","key":"k"'
        send(planes, "set", f'{{{place},"value":{stored}}}')
        said = send(planes, "compare-and-set", f'{{{place},"value":0,"expected":{expected}}}')
        equal += said["result"]["swapped"]
        assert said["result"]["swapped"] or stored != expected
    assert len(texts) < equal < 3 * len(texts)
