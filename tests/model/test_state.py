"""State: whole programs of ``state::*`` calls on both backends, every reply and every event compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iii_fast.contracts import Limits
from tests.model.examples import look
from tests.model.harness import NativePlane, ReferencePlane, quote
from tests.model.lockstep import Lockstep
from tests.model.messages import packed_state_calls
from tests.model.state_payloads import KEYS, ODD, SCOPES, calls, operations
from tests.model.texts import arrays, programs, values

pytestmark = pytest.mark.deadline(3600)

BEGIN_MS = 1_000
"""When programs begin: the strategies for ``expires_at`` are about the time around it."""

Step: TypeAlias = tuple[str, str] | tuple[str, bytes] | tuple[str, int]
"""A function and its input, one and the message in msgpack, or what happens to the clock and by how many ms."""

clock_steps = st.tuples(st.sampled_from(["set_time", "advance"]), st.integers(0, 25))
steps: st.SearchStrategy[Step] = st.integers(0, 5).flatmap(lambda number: clock_steps if number == 0 else calls)


def invocation(function: str, data: str) -> str:
    return f'{{"type":"invokefunction","invocation_id":"i","function_id":"state::{function}","data":{data}}}'


def run(program: Sequence[Step], limits: Limits | None = None, *, msgpack: bool = False) -> Lockstep:
    planes = Lockstep.of(NativePlane, ReferencePlane, limits or Limits())
    planes.do("watch all", lambda plane, *_: plane.watch(None))
    planes.do("feed", lambda plane, *_: plane.begin_feed())
    planes.do("time begins", lambda plane, *_: plane.set_time(BEGIN_MS))
    planes.connect()
    now = BEGIN_MS
    for step, argument in program:
        if isinstance(argument, str):
            planes.receive(0, invocation(step, argument), msgpack=msgpack)
        elif isinstance(argument, bytes):
            planes.receive(0, argument)
        else:
            now += argument
            planes.do(f"{step} {now}", lambda plane, *_, step=step, now=now: getattr(plane, step)(now))
    look_at_everything(planes)
    return planes


def look_at_everything(planes: Lockstep) -> None:
    """Compares what has come of a program, in all ways to read it."""
    for since in (0, 1, 5):
        planes.do(f"changes since {since}", lambda plane, *_, since=since: plane.read_changes(since, None, None, 9, 90))
    planes.do("changes of s", lambda plane, *_: plane.read_changes(0, "s", "k", 100, 10**6))
    for scope in dict.fromkeys(SCOPES):
        for function in ("list_keys", "list"):
            planes.receive(0, invocation(function, f'{{"scope":{quote(scope)}}}'))
        keys = ",".join(f'{{"key":{quote(key)}}}' for key in dict.fromkeys(KEYS))
        planes.receive(0, invocation("get_many", f'{{"scope":{quote(scope)},"meta":true,"keys":[{keys}]}}'))
        turn_pages(planes, scope)


def turn_pages(planes: Lockstep, scope: str) -> None:
    """Reads a scope in pages of two."""
    cursor = "null"
    while True:
        said = planes.receive(0, invocation("list_entries", f'{{"scope":{quote(scope)},"limit":2,"cursor":{cursor}}}'))
        answer = json.loads(said.sent[0][0])
        if "error" in answer:  # a value in it that JSON does not have
            return
        page = answer["result"]
        if page["done"]:
            return
        cursor = quote(page["next_cursor"])


@look
@given(programs(steps, 16))
def test_programs_of_state_calls(program: list[Step]) -> None:
    run(program)


@look
@given(programs(steps, 16))
def test_programs_of_state_calls_in_msgpack(program: list[Step]) -> None:
    run(program, msgpack=True)


@look
@given(programs(st.one_of(steps, packed_state_calls(), packed_state_calls()), 16))
def test_programs_of_state_calls_in_both_codecs(program: list[Step]) -> None:
    planes = run(program)
    for scope in dict.fromkeys(SCOPES):
        for function in ("list", "list_entries"):
            planes.receive(0, invocation(function, f'{{"scope":{quote(scope)}}}'), msgpack=True)


@look
@given(
    programs(packed_state_calls(), 16),
    st.sampled_from([None, 1, 4, 9]),
    st.sampled_from([None, 5, 10, 20, 40]),
    st.sampled_from([None, 5, 10, 30, 60]),
)
def test_programs_in_msgpack_under_quotas(
    program: list[Step], value_max: int | None, scope_max: int | None, total_max: int | None
) -> None:
    run(program, Limits(value_bytes_max=value_max, scope_bytes_max=scope_max, total_bytes_max=total_max))


@look
@given(programs(steps, 12), st.integers(0, 30))
def test_programs_under_a_value_limit(program: list[Step], value_bytes_max: int) -> None:
    run(program, Limits(value_bytes_max=value_bytes_max))


@look
@given(
    programs(steps, 16),
    st.sampled_from([None, 0, 1, 2]),
    st.sampled_from([None, 4, 8, 20]),
    st.sampled_from([None, 5, 10, 20, 40]),
    st.sampled_from([None, 5, 10, 30, 60]),
)
def test_programs_under_quotas(
    program: list[Step], key_max: int | None, value_max: int | None, scope_max: int | None, total_max: int | None
) -> None:
    limits = Limits(
        key_bytes_max=key_max, value_bytes_max=value_max, scope_bytes_max=scope_max, total_bytes_max=total_max
    )
    run(program, limits)


@look
@given(st.sampled_from(sorted(ODD)).flatmap(lambda name: st.tuples(st.just(name), ODD[name])), programs(steps, 8))
def test_every_input_of_every_function(call: tuple[str, str], before: list[Step]) -> None:
    run([*before, call])


@look
@given(values, programs(arrays(operations, 4), 8))
def test_updates_of_a_stored_value(stored: str, updates: list[str]) -> None:
    place = '"scope":"s","key":"k"'
    run([("set", f'{{{place},"value":{stored}}}'), *(("update", f'{{{place},"ops":{ops}}}') for ops in updates)])
