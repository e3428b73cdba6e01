"""The msgpack wire on both backends, rule by rule; the ``msgpack`` package is the judge of what is sent."""

from __future__ import annotations

import re
from typing import Any

import msgpack
import pytest

from iii_fast.contracts import Limits
from tests.model.harness import MSGPACK, NativePlane, ReferencePlane
from tests.model.lockstep import GIVEN_UUIDS, Lockstep, Said

ID = GIVEN_UUIDS[0]
SOME_ID = "x" * 36
"""Stands for every id that an engine makes up."""
BEYOND = ", which JSON cannot express"


def planes_with(limits: Limits | None = None) -> Lockstep:
    """A caller (0) and a worker (1) that provides ``f``; the control plane provides ``engine::x``."""
    planes = Lockstep.of(NativePlane, ReferencePlane, limits or Limits())
    planes.do("define", lambda plane, *_: plane.define(["engine::x"]))
    planes.connect()
    planes.connect()
    planes.receive(1, '{"type":"registerfunction","id":"f"}')
    return planes


def pack(**members: Any) -> bytes:
    return bytes(msgpack.packb(members))


def call(planes: Lockstep, function_id: str, data: Any, invocation_id: str = ID) -> Said:
    message = pack(type="invokefunction", invocation_id=invocation_id, function_id=function_id, data=data)
    return planes.receive(0, message)


def unpacked(text: str) -> Any:
    assert text.startswith(MSGPACK), text
    anonymous = re.sub("«[0-9]+»", SOME_ID, text.removeprefix(MSGPACK))
    return msgpack.unpackb(anonymous.encode("latin-1"), strict_map_key=False)


def reply(said: Said) -> Any:
    """The one message to the caller."""
    (text,) = said.sent[0]
    return unpacked(text)


def error(said: Said) -> tuple[str, str]:
    found = reply(said)["error"]
    return found["code"], found["message"]


def test_state_in_msgpack_and_json() -> None:
    planes = planes_with()
    value = {"n": 1, "big": 2**64 - 1, "small": -(2**63), "f": 1.5, "text": "é\n", "list": [None, True, {}]}
    said = call(planes, "state::set", {"scope": "s", "key": "k", "value": value})
    assert reply(said) == {
        "type": "invocationresult",
        "invocation_id": ID,
        "function_id": "state::set",
        "result": {"old_value": None, "new_value": value},
    }
    assert reply(call(planes, "state::get", {"scope": "s", "key": "k"}))["result"] == value
    assert "result" not in reply(call(planes, "state::get", {"scope": "s", "key": "other"}))
    text = '"function_id":"state::get","data":{"scope":"s","key":"k"}'
    said = planes.receive(0, f'{{"type":"invokefunction","invocation_id":"i",{text}}}')
    assert said.sent[0][0].endswith(
        '"result":{"n":1,"big":18446744073709551615,"small":-9223372036854775808,"f":1.5,"text":"é\\n","list":[null,true,{}]}}'
    )
    said = call(
        planes, "state::update", {"scope": "s", "key": "k", "ops": [{"type": "increment", "path": "n", "by": 2}]}
    )
    assert reply(said)["result"]["new_value"] == {**value, "n": 3}


def test_the_codec_is_that_of_the_last_message() -> None:
    planes = planes_with()
    assert planes.receive(0, '{"type":"ping"}').sent[0] == ['{"type":"pong"}']
    assert unpacked(planes.receive(0, pack(type="ping")).sent[0][0]) == {"type": "pong"}
    assert planes.receive(0, b'{"type":"ping"}').sent[0] == ['{"type":"pong"}']
    assert unpacked(planes.receive(0, pack(type="ping")).sent[0][0]) == {"type": "pong"}
    planes.receive(0, b"OTLP")
    taken = planes.receive(0, pack(type="registerfunction", id="f")).sent[0]
    assert unpacked(taken[0])["type"] == "registrationrejected"


def test_a_call_and_its_result_between_workers_of_different_codecs() -> None:
    planes = planes_with()
    (request,) = call(planes, "f", {"a": [1, "x"]}).sent[1]
    assert request.endswith(f'"invocation_id":"{ID}","function_id":"f","data":{{"a":[1,"x"]}}}}')
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, function_id="f", result={"b": 2.5}))
    assert reply(said)["result"] == {"b": 2.5}
    # The worker's last message was msgpack.
    text = '"invocation_id":"mine","function_id":"f","data":{"n": 1e2},"metadata":[1]'
    (request,) = planes.receive(0, f'{{"type":"invokefunction",{text}}}').sent[1]
    assert unpacked(request) == {
        "type": "invokefunction",
        "invocation_id": SOME_ID,
        "function_id": "f",
        "data": {"n": 100.0},
        "metadata": [1],
    }
    said = planes.receive(
        1, f'{{"type":"invocationresult","invocation_id":"{planes.delivered[-1][1]}","error":{{"code":"c"}}}}'
    )
    assert said.sent[0] == [
        '{"type":"invocationresult","invocation_id":"mine","function_id":"f","error":{"code":"c","message":""}}'
    ]


def test_python_gets_and_gives_json() -> None:
    planes = planes_with()
    (called,) = call(planes, "engine::x", {"a": 1.0}).calls
    assert called[1].data == b'{"a":1.0}'
    said = planes.do("settle", lambda plane, at, _: plane.settle(at(0), ID, "engine::x", b'{"b":[1.0]}'))
    assert reply(said)["result"] == {"b": [1.0]}
    said = planes.do("settle", lambda plane, at, _: plane.settle(at(0), ID, "engine::x", b'{"b":[1e400]}'))
    text = "`result.b[0]` is a number beyond the range of a float, which msgpack cannot express"
    assert error(said) == ("not_expressible", text)


FOREIGN = [
    (b"photo", "binary"),
    (float("nan"), "NaN"),
    (float("-inf"), "an infinite float"),
    (msgpack.Timestamp(1, 2), "a timestamp"),
    (msgpack.ExtType(7, b"x"), "an extension of type 7"),
    ({5: 1}, "a member whose name is no string"),
]
"""What JSON does not have, and how texts call it."""


@pytest.mark.parametrize(("value", "what"), FOREIGN)
def test_what_json_cannot_express_is_named_to_who_reads_json(value: Any, what: str) -> None:
    planes = planes_with()
    planes.do("watch", lambda plane, *_: plane.watch("s"))
    planes.do("feed", lambda plane, *_: plane.begin_feed())
    place = {"scope": "s", "key": "k"}
    stored = [0, {"a": value}]
    said = call(planes, "state::set", {**place, "value": stored})
    assert repr(reply(said)["result"]) == repr({"old_value": None, "new_value": stored})
    ((_, _, _, event),) = [call for call in said.calls if call[0] == "changed"]
    told = f"`new_value[1].a` is {what}{BEYOND}"
    assert event.endswith(f'"old_value":null,"new_value":null,"not_expressible":"{told}"}}'.encode())
    (change,) = [call[2] for call in feed(planes).calls if call[0] == "changes"]
    assert change.endswith(f'"value":null,"not_expressible":"`value[1].a` is {what}{BEYOND}"}}'.encode())
    assert repr(reply(call(planes, "state::get", place))["result"]) == repr(stored)
    assert in_json(planes, "state::get", '{"scope":"s","key":"k"}') == (
        f'"error":{{"code":"not_expressible","message":"`result[1].a` is {what}{BEYOND}"}}'
    )
    assert in_json(planes, "state::set", '{"scope":"s","key":"k","value":1}') == (
        '"error":{"code":"not_expressible","message":'
        f'"`result.old_value[1].a` is {what}{BEYOND}; the write was applied"}}'
    )
    assert reply(call(planes, "state::get", place))["result"] == 1


def feed(planes: Lockstep) -> Said:
    return planes.do("changes", lambda plane, *_: plane.read_changes(0, None, None, 9, 10**6))


def in_json(planes: Lockstep, function_id: str, data: str, session: int = 0) -> str:
    """A call in JSON: what its reply has behind the ids."""
    text = f'{{"type":"invokefunction","invocation_id":"j","function_id":"{function_id}","data":{data}}}'
    (answer,) = planes.receive(session, text).sent[session]
    head, _, rest = answer.partition(f'"function_id":"{function_id}",')
    assert head, answer
    return rest.removesuffix("}")


@pytest.mark.parametrize(("value", "what"), FOREIGN)
def test_between_workers_only_who_reads_json_is_told_what_it_cannot_express(value: Any, what: str) -> None:
    planes = planes_with()
    said = call(planes, "f", {"a": value})
    assert said.sent[1] == []
    assert error(said) == ("not_expressible", f"`data.a` is {what}{BEYOND}")
    planes.receive(1, pack(type="ping"))
    (request,) = call(planes, "f", {"a": value}).sent[1]
    assert repr(unpacked(request)["data"]) == repr({"a": value})
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, result=value))
    assert repr(reply(said)["result"]) == repr(value)
    planes.receive(0, f'{{"type":"invokefunction","invocation_id":"{ID}","function_id":"f"}}')
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, result=value))
    assert said.sent[0][0].endswith(f'"error":{{"code":"not_expressible","message":"`result` is {what}{BEYOND}"}}}}')


def test_an_error_with_what_json_does_not_have() -> None:
    planes = planes_with()
    planes.receive(1, pack(type="ping"))
    whole = {"code": "c", "message": "m", "photo": b"x"}
    call(planes, "f", None)
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, error=whole))
    assert reply(said)["error"] == whole
    call(planes, "f", None)
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, error={"photo": b"x"}))
    text = f"Worker's result is not usable: `error.photo` is binary{BEYOND}"
    assert error(said) == ("invalid_message", text)
    planes.receive(0, f'{{"type":"invokefunction","invocation_id":"{ID}","function_id":"f"}}')
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, error=whole))
    assert said.sent[0][0].endswith(
        f'"error":{{"code":"not_expressible","message":"`error.photo` is binary{BEYOND}"}}}}'
    )


def test_functions_of_the_control_plane_read_json() -> None:
    planes = planes_with()
    said = call(planes, "engine::x", {"photo": b"x"})
    assert (said.calls, error(said)) == ([], ("not_expressible", f"`data.photo` is binary{BEYOND}"))
    call(planes, "state::set", {"scope": "s", "key": "k", "value": b"x"})
    said = planes.do("get", lambda plane, *_: plane.invoke(7, "state::get", b'{"scope":"s","key":"k"}', None))
    ((_, ticket, outcome),) = said.calls
    assert (ticket, str(outcome.code), outcome.message) == (7, "not_expressible", f"`result` is binary{BEYOND}")


def test_values_stay_as_they_came() -> None:
    planes = planes_with()
    planes.receive(1, pack(type="ping"))
    # Integers and names longer than they need be, a float of 32 bits, a name twice.
    odd = b"\x83\xd9\x01a\xcf" + bytes(7) + b"\x05\xa1f\xca\x3f\xc0\x00\x00\xa1a\xdc\x00\x01\xc0"
    head = pack(type="invokefunction", invocation_id=ID, function_id="f", data=0)[:-1]
    (request,) = planes.receive(0, head + odd).sent[1]
    assert request.endswith("\xa4data" + odd.decode("latin-1"))
    data = b"\x83\xa5scope\xa1s\xa3key\xa1k\xa5value" + odd
    head = pack(type="invokefunction", invocation_id=ID, function_id="state::set", data=0)[:-1]
    (text,) = planes.receive(0, head + data).sent[0]
    assert text.endswith("\xa9old_value\xc0\xa9new_value" + odd.decode("latin-1"))
    assert in_json(planes, "state::get", '{"scope":"s","key":"k"}') == '"result":{"a":5,"f":1.5,"a":[null]}'
    (text,) = call(planes, "state::get", {"scope": "s", "key": "k"}).sent[0]
    assert text.endswith("\xa6result" + odd.decode("latin-1"))


def test_updates_work_on_json() -> None:
    planes = planes_with()
    place = {"scope": "s", "key": "k"}

    def update(*ops: Any) -> Said:
        return call(planes, "state::update", {**place, "ops": ops})

    call(planes, "state::set", {**place, "value": {"n": 1.0}})
    said = update({"type": "append", "path": "n", "value": 1})
    assert reply(said)["result"]["new_value"] == {"n": 1.0}
    said = update({"type": "increment", "path": "n", "by": 1})
    assert reply(said)["result"] == {"old_value": {"n": 1.0}, "new_value": {"n": 2.0}}
    said = update({"type": "set", "path": "p", "value": [b"x"]})
    assert error(said) == ("not_expressible", f"`data.ops[0].value[0]` is binary{BEYOND}")
    assert in_json(planes, "state::get", '{"scope":"s","key":"k"}') == '"result":{"n":2.0}'
    call(planes, "state::set", {**place, "value": {"n": 1, "photo": b"x"}})
    said = update({"type": "increment", "path": "n", "by": 1})
    assert error(said) == ("not_expressible", f"`old_value.photo` is binary{BEYOND}")
    ops = [{**place, "type": "delete"}, {**place, "type": "update", "ops": [{"type": "set", "path": "", "value": b""}]}]
    said = call(planes, "state::transact", {"ops": ops})
    assert error(said) == ("not_expressible", f"`data.ops[1].ops[0].value` is binary{BEYOND}")
    assert reply(call(planes, "state::get", place))["result"] == {"n": 1, "photo": b"x"}


@pytest.mark.parametrize(
    ("stored", "expected", "equal"),
    [
        ({"a": 1, "b": [2.0]}, '{"b":[2e0],"a":1.0}', True),
        ({"a": 1}, '{"a":2}', False),
        (2**64 - 1, "18446744073709551615.0", True),
        ("é", '"\\u00e9"', True),
        (b"x", '"x"', False),
        (float("nan"), "null", False),
    ],
)
def test_values_of_different_codecs_are_compared_as_json(stored: Any, expected: str, equal: bool) -> None:
    planes = planes_with()
    place = '"scope":"s","key":"k"'
    call(planes, "state::set", {"scope": "s", "key": "k", "value": stored})
    answer = in_json(planes, "state::compare-and-set", f'{{{place},"value":7,"expected":{expected}}}')
    assert ('"swapped":true' in answer) == equal, answer
    # And the other way round.
    in_json(planes, "state::set", f'{{{place},"value":{expected}}}')
    data = {"scope": "s", "key": "k", "value": 8, "expected": stored}
    assert reply(call(planes, "state::compare-and-set", data))["result"]["swapped"] is equal


def test_what_json_does_not_have_equals_the_same_bytes_only() -> None:
    planes = planes_with()
    data = {"scope": "s", "key": "k", "value": {"a": b"x", "b": 1}}
    call(planes, "state::set", data)
    swapped = [
        reply(call(planes, "state::compare-and-set", {**data, "expected": expected}))["result"]["swapped"]
        for expected in ({"a": b"x", "b": 1}, {"b": 1, "a": b"x"}, {"a": b"y", "b": 1}, {"a": "x", "b": 1})
    ]
    assert swapped == [True, False, False, False]


def test_quotas_and_pages_count_values_in_their_codec() -> None:
    planes = planes_with(Limits(value_bytes_max=9))
    place = {"scope": "s", "key": "k"}
    # 9 bytes as float, 3 as text; and the other way round.
    assert "result" in reply(call(planes, "state::set", {**place, "value": 1.5}))
    said = call(planes, "state::set", {**place, "value": [1.5]})
    text = "value of 10 bytes exceeds the configured max_value_bytes limit of 9"
    assert error(said) == ("VALUE_TOO_LARGE", text)
    assert "result" in reply(call(planes, "state::set", {**place, "value": [0] * 8}))
    assert "VALUE_TOO_LARGE" in in_json(planes, "state::set", '{"scope":"s","key":"k","value":[0,0,0,0,0,0]}')
    said = call(planes, "state::list_entries", {"scope": "s", "max_bytes": 14})
    assert error(said) == ("ROW_TOO_LARGE", 'entry "k" has 15 bytes, field `max_bytes` is 14')


@pytest.mark.parametrize(
    ("function_id", "data", "problem"),
    [
        ("get", {"scope": b"s", "key": "k"}, "field `scope`: invalid type: binary, expected a string"),
        ("get", {"scope": "s", "key": msgpack.Timestamp(1)}, "field `key`: invalid type: extension, expected a string"),
        ("get", b"", "invalid type: binary, expected an object"),
        ("get", {"scope": "s", "key": "k", "meta": 1}, "field `meta`: invalid type: number, expected a boolean"),
        ("set", {"scope": "s", 5: 1, "key": "k"}, "missing field `value`"),
        ("set", {"scope": "s", "key": "k", "value": 1, "data": 2}, "duplicate field `value`"),
        (
            "set",
            {"scope": "s", "key": "k", "value": 1, "ttl_ms": 5.0},
            "field `ttl_ms`: expected an integer from 1 to 3153600000000",
        ),
        ("update", {"scope": "s", "key": "k", "ops": b""}, "field `ops`: invalid type: binary, expected an array"),
        (
            "transact",
            {"ops": [{"type": "bogus", "scope": "s", "key": "k"}]},
            'field `ops[0].type`: unknown type "bogus", expected one of set, update, delete',
        ),
    ],
)
def test_inputs_are_refused_as_in_json(function_id: str, data: Any, problem: str) -> None:
    said = call(planes_with(), f"state::{function_id}", data)
    text = f"Failed to deserialize input for state::{function_id}: {problem}"
    assert error(said) == ("deserialization_error", text)


def test_a_function_id_that_json_does_not_have() -> None:
    planes = planes_with()
    said = planes.receive(0, pack(type="invokefunction", invocation_id="i", function_id=b"f"))
    text = "Invalid invokefunction: field `function_id` is binary, expected a string"
    assert error(said) == ("invalid_message", text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("18446744073709551616", "an integer beyond 64 bits"),
        ("-9223372036854775809", "an integer beyond 64 bits"),
        ("1e400", "a number beyond the range of a float"),
    ],
)
def test_what_msgpack_cannot_express_is_named(text: str, what: str) -> None:
    planes = planes_with()
    in_json(planes, "state::set", f'{{"scope":"s","key":"k","value":{{"a b":[{text}]}}}}')
    beyond = f"is {what}, which msgpack cannot express"
    said = call(planes, "state::get", {"scope": "s", "key": "k"})
    assert error(said) == ("not_expressible", f'`result["a b"][0]` {beyond}')
    said = call(planes, "state::set", {"scope": "s", "key": "k", "value": 1})
    assert error(said) == ("not_expressible", f'`result.old_value["a b"][0]` {beyond}; the write was applied')
    assert reply(call(planes, "state::get", {"scope": "s", "key": "k"}))["result"] == 1
    planes.receive(1, pack(type="ping"))
    assert in_json(planes, "f", text) == f'"error":{{"code":"not_expressible","message":"`data` {beyond}"}}'


@pytest.mark.parametrize(
    ("text", "value"),
    [("-0", -0.0), ("1.0", 1.0), ("1e2", 100.0), ("1e-400", 0.0), ("9007199254740993", 9007199254740993)],
)
def test_numbers_that_come_over(text: str, value: float) -> None:
    planes = planes_with()
    data = f'{{"scope":"s","key":"k","value":{text}}}'
    planes.receive(0, f'{{"type":"invokefunction","function_id":"state::set","data":{data}}}')
    found = reply(call(planes, "state::get", {"scope": "s", "key": "k"}))["result"]
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (b"\xa1\xff", "Invalid msgpack at byte 56: a string is not UTF-8"),
        (b"\x91" * 120 + b"\xc0", "Invalid msgpack at byte 175: more than 120 nested levels"),
        (b"\x91" * 100_000 + b"\xc0", "Invalid msgpack at byte 175: more than 120 nested levels"),
        (b"\xa3\xed\xa0\x80", "Invalid msgpack at byte 56: a string is not UTF-8"),
    ],
)
def test_the_sender_of_a_broken_call_is_told(broken: bytes, problem: str) -> None:
    planes = planes_with()
    message = pack(type="invokefunction", invocation_id="i", function_id="f", data=0)[:-1] + broken
    said = planes.receive(0, message)
    assert error(said) == ("invalid_message", problem)
    assert (reply(said)["invocation_id"], reply(said)["function_id"]) == ("i", "f")
    for end in range(1, len(message) if len(message) < 1000 else 0):
        assert planes.receive(0, message[:end]).sent[0] == [], "cut off"
    assert planes.receive(0, message + b"\xc0").sent[0] == []
    void = pack(type="invokefunction", invocation_id="i", function_id="f", action={"type": "void"}, data=0)
    assert planes.receive(0, void[:-1] + broken).sent[0] == []


def test_duplicate_members_stay_in_their_order() -> None:
    planes = planes_with()
    (request,) = planes.receive(
        0,
        b"\x84\xa4type\xa4ping\xa4type\xaeinvokefunction\xabfunction_id\xa1f\xa4data\x82\xa1a\x01\xa1a\x02",
    ).sent[1]
    assert request.endswith('"data":{"a":1,"a":2}}')
    planes.receive(1, pack(type="ping"))
    (request,) = planes.receive(0, '{"type":"invokefunction","function_id":"f","data":{"a":1,"a":2}}').sent[1]
    assert request.endswith("\xa4data\x82\xa1a\x01\xa1a\x02")


def test_sizes_are_those_of_the_message_itself() -> None:
    planes = planes_with()
    call(planes, "state::set", {"scope": "s", "key": "k", "value": "x" * 300})
    (text,) = call(planes, "state::get", {"scope": "s", "key": "k"}).sent[0]
    size = len(text) - len(MSGPACK)
    for limit in (size, size - 1):
        planes.do(f"{limit}", lambda plane, at, _, limit=limit: plane.set_peer_message_max(at(0), limit))
        said = call(planes, "state::get", {"scope": "s", "key": "k"})
        assert ("error" in reply(said)) == (limit < size)
    text = f"Result of {size} bytes exceeds what this connection can receive ({size - 1} bytes)."
    assert error(said) == ("payload_too_large", text)
