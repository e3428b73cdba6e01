"""Both backends at every limit: what programs of chance meet too seldom, walked through one by one."""

from __future__ import annotations

import itertools

import pytest

from iii_fast.contracts import Limits
from tests.model.harness import NativePlane, ReferencePlane
from tests.model.lockstep import GIVEN_UUIDS, Lockstep, Said
from tests.model.texts import INTERESTING_NUMBERS, nested

ID = GIVEN_UUIDS[0]


def planes_with(limits: Limits | None = None) -> Lockstep:
    """A caller (0) and a worker (1) that provides ``f``."""
    planes = Lockstep.of(NativePlane, ReferencePlane, limits or Limits())
    planes.connect()
    planes.connect()
    planes.receive(1, '{"type":"registerfunction","id":"f"}')
    return planes


def call(planes: Lockstep, function_id: str, data: str, invocation_id: str = ID) -> Said:
    ids = f'"invocation_id":"{invocation_id}","function_id":"{function_id}"'
    return planes.receive(0, f'{{"type":"invokefunction",{ids},"data":{data}}}')


def size_limit(planes: Lockstep, session: int, message_bytes_max: int) -> None:
    planes.do(
        f"{session} takes {message_bytes_max}",
        lambda plane, at, _: plane.set_peer_message_max(at(session), message_bytes_max),
    )


@pytest.mark.parametrize("member", ["data", "unknown", "action", "metadata"])
def test_depth(member: str) -> None:
    planes = planes_with()
    said = []
    for depth in range(115, 124):
        ids = f'"invocation_id":"{ID}","function_id":"nope"'
        said.append(planes.receive(0, f'{{"type":"invokefunction",{ids},"{member}":{nested(depth)}}}').sent[0][0])
    assert ["nested levels" in message for message in said] == [False] * 5 + [True] * 4


@pytest.mark.parametrize(
    ("action", "answers"),
    [
        ('{"type":"void","x":NaN}', 0),
        ('{"x":NaN,"type":"void"}', 0),
        ('{"x":"\\ud800","type":"void"}', 0),
        ('{"type":NaN,"type":"void"}', 0),
        ('{"type":"void","type":NaN}', 1),
        ('{"type":"enqueue","queue":NaN}', 1),
        ("NaN", 1),
    ],
)
def test_void_calls_in_broken_json_are_not_answered(action: str, answers: int) -> None:
    planes = planes_with()
    said = planes.receive(0, f'{{"type":"invokefunction","invocation_id":"i","function_id":"f","action":{action}}}')
    assert len(said.sent[0]) == answers


def test_the_size_of_an_invocation() -> None:
    planes = planes_with()
    refused = []
    for limit in range(100, 200):
        size_limit(planes, 1, limit)
        sent = call(planes, "f", '"é\\u00e9"').sent
        refused.append(not sent[1])
        if sent[1]:
            assert len(sent[1][0].encode()) <= limit
            planes.receive(1, f'{{"type":"invocationresult","invocation_id":"{ID}"}}')
    assert refused == sorted(refused, reverse=True)
    assert set(refused) == {True, False}


@pytest.mark.parametrize(
    "outcome", ['"result":["é" ]', '"error":{"code":"é","message":""}', '"error":"é"', '"result":null']
)
def test_the_size_of_a_result(outcome: str) -> None:
    planes = planes_with()
    for limit in range(100, 200):
        size_limit(planes, 0, limit)
        call(planes, "f", "null")
        planes.receive(1, f'{{"type":"invocationresult","invocation_id":"{ID}",{outcome}}}')


ERRORS = ['"boom"', '{"code":"c","message":"m","stacktrace":"s"}', '{"code":"c","message":"m","stacktrace":1}']
ERRORS += ['{"code":1,"stacktrace":"s"}', '{"message":"\\u006d"}', "[NaN]", "null"]


@pytest.mark.parametrize("error", ERRORS)
def test_errors_for_the_control_plane(error: str) -> None:
    planes = planes_with()
    planes.do("invoke", lambda plane, *_: plane.invoke(1, "f", b"1", b"null"))
    _, invocation_id, _ = planes.delivered[0]
    said = planes.receive(1, f'{{"type":"invocationresult","invocation_id":"{invocation_id}","error":{error}}}')
    assert [call[:2] for call in said.calls] == [("settled", 1)]


def test_a_function_without_a_name_is_none() -> None:
    planes = planes_with()
    planes.receive(1, '{"type":"registerfunction","id":""}')
    call(planes, "", "null")


@pytest.mark.parametrize("function_id", ["set", "get", "update", "list", "list_groups", "delete"])
def test_the_size_of_a_state_result(function_id: str) -> None:
    planes = planes_with()
    for limit in range(80, 220):
        size_limit(planes, 0, limit)
        place = '"scope":"s","key":"k"'
        call(planes, "state::set", f'{{{place},"value":{{"é":1}}}}')
        call(
            planes,
            f"state::{function_id}",
            f'{{{place},"value":{{"é":2}},"ops":[{{"type":"set","path":"","value":0}}]}}',
        )


@pytest.mark.parametrize("function_id", ["set", "update"])
def test_the_size_of_a_value(function_id: str) -> None:
    for limit in range(12):
        planes = planes_with(Limits(value_bytes_max=limit))
        planes.do("watch", lambda plane, *_: plane.watch("s"))
        ops = ",".join(
            ['{"type":"set","path":"a","value":"é"}', '{"type":"remove","path":"a"}', '{"type":"append","value":0}']
        )
        call(planes, f"state::{function_id}", f'{{"scope":"s","key":"k","value":{{"é":1}},"ops":[{ops}]}}')
        call(planes, "state::list", '{"scope":"s"}')
        call(planes, "state::list_groups", "null")


@pytest.mark.parametrize("functions_max", range(5))
def test_the_number_of_functions(functions_max: int) -> None:
    planes = planes_with(Limits(functions_per_worker_max=functions_max))
    names = ["f", "g", "h"]
    for name in [*names, *names]:  # again: replaces, or is refused again
        planes.receive(1, f'{{"type":"registerfunction","id":"{name}"}}')
    reached = [bool(call(planes, name, "null", "odd").sent[1]) for name in names]
    assert reached == [number < functions_max for number in range(3)]
    planes.receive(1, '{"type":"unregisterfunction","id":"f"}')
    planes.receive(1, '{"type":"registerfunction","id":"i"}')
    assert bool(call(planes, "i", "null", "odd").sent[1]) == (functions_max > 0)


def test_the_size_of_a_registration() -> None:
    message = '{"type":"registerfunction","id":"g","metadata":"é"}'
    size = len(message.encode())
    for limit in (size - 1, size, size + 1):
        planes = planes_with(Limits(registration_bytes_max=limit))
        planes.receive(1, message)
        assert bool(call(planes, "g", "null").sent[1]) == (size <= limit)
        refused = planes.receive(1, message.replace('"g"', '"f"') + " " * (limit - size + 1))
        assert refused.sent == [[], []]
        planes.receive(1, message.replace('"g"', '"state::get"'))


def test_a_peer_that_does_not_read_the_answers_of_the_control_plane() -> None:
    closed = []
    for limit in range(60, 120):
        planes = planes_with(Limits(outbox_bytes_max=limit))
        said = planes.do("settle", lambda plane, at, _: plane.settle(at(0), "i", "engine::x", b'"\xc3\xa9"'))
        closed.append(len(said.sent[0]) == 2)
        planes.receive(0, '{"type":"ping"}')
    assert closed == sorted(closed, reverse=True)
    assert set(closed) == {True, False}


def test_invocations_in_flight() -> None:
    planes = planes_with(Limits(invocations_in_flight_max=3))
    for number in range(5):
        call(planes, "f", "null", f"odd {number}")
    planes.receive(0, '{"type":"invokefunction","function_id":"f"}')
    _, first, _ = planes.delivered[0]
    planes.receive(1, f'{{"type":"invocationresult","invocation_id":"{first}"}}')
    call(planes, "f", "null")
    call(planes, "f", "null")


@pytest.mark.parametrize(("op", "argument"), [("append", "{}"), ("merge", '{{"a":{}}}'), ("set", "{}")])
def test_depth_built_up_by_updates(op: str, argument: str) -> None:
    place = '"scope":"s","key":"k"'
    for segments, depth in itertools.product([0, 1, 2, 5, 31, 32], [1, 10, 85, 88, 90, 111, 113, 114, 115]):
        planes = planes_with()
        path = "[" + ",".join(['"a"'] * segments) + "]" if op != "set" else '"a"'
        step = f'{{"type":"{op}","path":{path},"value":{argument.format(nested(depth))}}}'
        for _ in range(2):
            call(planes, "state::update", f'{{{place},"ops":[{step}]}}')
        call(
            planes,
            "state::update",
            f'{{{place},"ops":[{{"type":"set","path":"b","value":1}},{{"type":"remove","path":"b"}}]}}',
        )
        call(planes, "state::get", f"{{{place}}}")


@pytest.mark.parametrize("op", ["increment", "decrement"])
def test_sums(op: str) -> None:
    planes = planes_with()
    place = '"scope":"s","key":"k"'
    for number, by in itertools.product(INTERESTING_NUMBERS, repeat=2):
        call(planes, "state::set", f'{{{place},"value":{{"n":{number}}}}}')
        call(planes, "state::update", f'{{{place},"ops":[{{"type":"{op}","path":"n","by":{by}}}]}}')


ROOTS = [
    None,
    "null",
    "true",
    "7",
    '"s"',
    "[ 1 ]",
    "[]",
    "{}",
    '{ "a" : 1 }',
    '{"a":[],"b":{"a":"x" },"a":{ "c":null}}',
    '{"a":"x"}',
]
PATHS = [
    "",
    ',"path":null',
    ',"path":""',
    ',"path":[]',
    ',"path":"a"',
    ',"path":["a"]',
    ',"path":["b","a"]',
    ',"path":["a","c","d"]',
]
PATHS += [
    ',"path":[""]',
    ',"path":"c"',
    ',"path":["c","c"]',
    ',"path":1',
    ',"path":["a",null]',
    ',"path":["b","constructor"]',
]
ARGUMENTS = [
    "",
    ',"value":null',
    ',"value":"x"',
    ',"value":[ ]',
    ',"value":{ }',
    ',"value":{"a":{},"d":0 , "a":2}',
    ',"by":1',
    ',"by":0.5',
]


@pytest.mark.parametrize("op", ["set", "merge", "increment", "decrement", "append", "remove"])
def test_every_operation_on_every_root_path_and_argument(op: str) -> None:
    planes = planes_with()
    planes.do("watch", lambda plane, *_: plane.watch(None))
    place = '"scope":"s","key":"k"'
    for root, path, argument in itertools.product(ROOTS, PATHS, ARGUMENTS):
        call(planes, "state::delete", f"{{{place}}}")
        if root is not None:
            call(planes, "state::set", f'{{{place},"value":{root}}}')
        call(planes, "state::update", f'{{{place},"ops":[{{"type":"{op}"{path}{argument}}}]}}')
        planes.history.clear()  # each case begins from nothing
