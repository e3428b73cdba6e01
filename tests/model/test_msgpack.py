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
    return msgpack.unpackb(anonymous.encode("latin-1"))


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


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"photo", "`data.value[1].a` is binary"),
        (float("nan"), "`data.value[1].a` is NaN"),
        (float("-inf"), "`data.value[1].a` is an infinite float"),
        (msgpack.Timestamp(1, 2), "`data.value[1].a` is a timestamp"),
        (msgpack.ExtType(7, b"x"), "`data.value[1].a` is an extension of type 7"),
        ({5: 1}, "`data.value[1].a` is a member whose name is no string"),
    ],
)
def test_what_json_cannot_express_is_named(value: Any, what: str) -> None:
    planes = planes_with()
    said = call(planes, "state::set", {"scope": "s", "key": "k", "value": [0, {"a": value}]})
    assert error(said) == ("invalid_message", what + BEYOND)
    assert "result" not in reply(call(planes, "state::get", {"scope": "s", "key": "k"}))
    call(planes, "f", None)
    said = planes.receive(1, pack(type="invocationresult", invocation_id=ID, result=value))
    text = what.replace("data.value[1].a", "result") + BEYOND
    assert error(said) == ("invalid_message", f"Worker's result is not usable: {text}")


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

    def in_json(function_id: str, data: str, invocation_id: str = "i") -> Said:
        ids = f'"invocation_id":"{invocation_id}","function_id":"{function_id}"'
        return planes.receive(0, f'{{"type":"invokefunction",{ids},"data":{data}}}')

    in_json("state::set", f'{{"scope":"s","key":"k","value":{{"a b":[{text}]}}}}')
    beyond = f"is {what}, which msgpack cannot express"
    said = call(planes, "state::get", {"scope": "s", "key": "k"})
    assert error(said) == ("not_expressible", f'`result["a b"][0]` {beyond}')
    said = call(planes, "state::set", {"scope": "s", "key": "k", "value": 1})
    assert error(said) == ("not_expressible", f'`result.old_value["a b"][0]` {beyond}; the write was applied')
    assert reply(call(planes, "state::get", {"scope": "s", "key": "k"}))["result"] == 1
    planes.receive(1, pack(type="ping"))
    said = in_json("f", text)
    assert said.sent[1] == []
    assert f'"code":"not_expressible","message":"`data` {beyond}"' in said.sent[0][0]


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
