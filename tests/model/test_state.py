"""State: whole programs of ``state::*`` calls on both backends, every reply and every event compared."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iii_fast.contracts import Limits
from tests.model.examples import look
from tests.model.harness import NativePlane, ReferencePlane
from tests.model.lockstep import Lockstep
from tests.model.texts import arrays, broken_values, mostly, names, nested, numbers, objects, programs, strings, values

pytestmark = pytest.mark.deadline(3600)

SCOPES = ["s", "s", "s", "t", "", "é"]
KEYS = ["k", "k", "k", "l", "", "\n"]
PATHS = ["a", "a", "a", "b", "b", "c", "", "", "a.b", "\n"]
ODD_PATHS = ["__proto__", "prototype", "x" * 256, "x" * 257, "é" * 128, "é" * 129]
FUNCTIONS = ["get", "set", "set", "delete", "list", "list_groups", "update"]

anything = mostly(values, broken_values)

paths = mostly(names(PATHS), names(ODD_PATHS))
nested_paths = mostly(
    st.lists(paths, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    st.one_of(
        st.integers(31, 34).map(lambda depth: "[" + ",".join(['"a"'] * depth) + "]"),
        st.sampled_from(["[]", "null", '["a",1]', "[null]"]),
    ),
)
many_keys = st.integers(1023, 1026).map(lambda count: "{" + ",".join(f'"k{index}":1' for index in range(count)) + "}")
merge_values = mostly(
    st.lists(st.tuples(names(["a", "b", "c", "\n"]), values), max_size=3).flatmap(objects),
    st.one_of(
        st.integers(14, 18).map(lambda depth: '{"a":' + nested(depth - 1) + "}"),
        many_keys,
        st.just('{"a":1,"__proto__":2}'),
        values,
    ),
    one_in=4,
)


def members(*fields: tuple[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    """Objects of all ``fields``, mostly: some lose, repeat or swap members, or get unknown ones."""
    usual = st.tuples(*(value.map(lambda text, name=name: (f'"{name}"', text)) for name, value in fields))
    stray = st.tuples(names([*(name for name, _ in fields), "data", "x", "type"]), anything)
    odd = st.tuples(usual, st.lists(stray, max_size=2), st.randoms(use_true_random=False)).map(_shuffled)
    return mostly(usual.flatmap(objects), odd.flatmap(objects))


def _shuffled(parts: tuple[tuple[tuple[str, str], ...], list[tuple[str, str]], Random]) -> Sequence[tuple[str, str]]:
    usual, strays, random = parts
    repeated = random.sample(usual, random.randint(0, min(1, len(usual))))
    all_members = [*usual, *repeated, *strays]
    random.shuffle(all_members)
    return all_members[: random.randint(0, len(all_members))]


def op(kind: str, *fields: tuple[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    """One operation."""
    return members(("type", st.just(f'"{kind}"')), *fields)


field_and_by = members(("field", paths), ("by", numbers))
short_operations = st.one_of(
    members(("set", values)),
    members(("merge", merge_values)),
    members(("increment", field_and_by)),
    members(("decrement", mostly(field_and_by, values))),
    members(("remove", mostly(paths, values))),
    members(("append", values)),
)
"""As iii 0.10 wrote them."""

operations = st.one_of(
    short_operations,
    op("set", ("path", paths), ("value", values)),
    op("set", ("path", paths)),
    op("remove", ("path", paths)),
    op("increment", ("path", paths), ("by", numbers)),
    op("decrement", ("path", paths), ("by", numbers)),
    op("append", ("path", paths), ("value", values)),
    op("append", ("path", nested_paths), ("value", strings)),
    op("append", ("value", values)),
    op("merge", ("path", nested_paths), ("value", merge_values)),
    op("merge", ("value", merge_values)),
    op("merge", ("path", paths), ("value", merge_values)),
    op("bogus"),
    values,
)

scope_and_key = (("scope", names(SCOPES)), ("key", names(KEYS)))
payloads = {
    "get": members(*scope_and_key),
    "set": mostly(members(*scope_and_key, ("value", anything)), members(*scope_and_key, ("data", values)), one_in=3),
    "delete": members(*scope_and_key),
    "list": members(("scope", names(SCOPES))),
    "list_groups": st.one_of(members(), values),
    "update": members(*scope_and_key, ("ops", arrays(operations, 5))),
}
calls = st.sampled_from(FUNCTIONS).flatmap(
    lambda function: st.tuples(st.just(function), mostly(payloads[function], anything, one_in=12))
)


def invocation(function: str, data: str) -> str:
    return f'{{"type":"invokefunction","invocation_id":"i","function_id":"state::{function}","data":{data}}}'


def run(program: Sequence[tuple[str, str]], limits: Limits) -> None:
    planes = Lockstep.of(NativePlane, ReferencePlane, limits)
    planes.do("watch all", lambda plane, *_: plane.watch(None))
    planes.connect()
    for function, data in program:
        planes.receive(0, invocation(function, data))


@look
@given(programs(calls, 16))
def test_programs_of_state_calls(program: list[tuple[str, str]]) -> None:
    run(program, Limits())


@look
@given(programs(calls, 12), st.integers(0, 30))
def test_programs_under_a_value_limit(program: list[tuple[str, str]], value_bytes_max: int) -> None:
    run(program, Limits(value_bytes_max=value_bytes_max))


@look
@given(values, programs(arrays(operations, 4), 8))
def test_updates_of_a_stored_value(stored: str, updates: list[str]) -> None:
    place = '"scope":"s","key":"k"'
    run(
        [("set", f'{{{place},"value":{stored}}}'), *(("update", f'{{{place},"ops":{ops}}}') for ops in updates)],
        Limits(),
    )
