"""The msgpack wire through sockets, on every engine: binary in, binary out, beside workers that speak JSON."""

from __future__ import annotations

import json
import uuid
from typing import Any

import msgpack
import pytest

from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import BINARY, TEXT, RawClient, connect, encode_frame


async def send(client: RawClient, kind: str, **fields: Any) -> None:
    await client.send_raw(encode_frame(BINARY, msgpack.packb({"type": kind, **fields})))


async def receive(client: RawClient) -> Any:
    frame = await client.receive_message()
    assert frame.opcode == BINARY
    return msgpack.unpackb(frame.payload, strict_map_key=False)


async def call(client: RawClient, function_id: str, data: Any) -> Any:
    invocation_id = str(uuid.uuid4())
    await send(client, "invokefunction", invocation_id=invocation_id, function_id=function_id, data=data)
    result = await receive(client)
    assert (result["type"], result["invocation_id"]) == ("invocationresult", invocation_id)
    return result


async def test_state_is_shared_by_both_codecs(engine: EngineProcess) -> None:
    place = {"scope": unique("scope"), "key": "k"}
    value = {"small": -1, "large": 2**64 - 1, "float": 0.5, "text": "é" * 5000, "list": [None, True]}
    async with connect(engine.worker) as packed, connect(engine.worker) as plain:
        assert (await call(packed, "state::set", {**place, "value": value}))["result"]["new_value"] == value
        assert (await call(packed, "state::get", place))["result"] == value
        assert (await plain.call("state::get", place))["result"] == value
        change = {"ops": [{"type": "increment", "path": "small", "by": 2}]}
        assert (await plain.call("state::update", {**place, **change}))["result"]["new_value"]["small"] == 1
        assert (await call(packed, "state::delete", place))["result"]["small"] == 1


async def test_workers_of_different_codecs_call_each_other(engine: EngineProcess) -> None:
    doubled, echoed = unique("double"), unique("echo")
    async with connect(engine.worker) as packed, connect(engine.worker) as plain:
        await plain.register(doubled)
        await plain.until_pong()
        await send(packed, "registerfunction", id=echoed)
        await send(packed, "ping")
        assert await receive(packed) == {"type": "pong"}

        invocation_id = str(uuid.uuid4())
        await send(packed, "invokefunction", invocation_id=invocation_id, function_id=doubled, data={"n": 4})
        asked = await plain.expect("invokefunction", function_id=doubled)
        assert (asked["invocation_id"], asked["data"]) == (invocation_id, {"n": 4})
        await plain.answer(asked, result={"n": 8})
        assert (await receive(packed))["result"] == {"n": 8}

        await plain.invoke(echoed, {"n": 1.5})
        asked = await receive(packed)
        assert (asked["type"], asked["data"]) == ("invokefunction", {"n": 1.5})
        await send(packed, "invocationresult", invocation_id=asked["invocation_id"], result=asked["data"])
        assert (await plain.receive())["result"] == {"n": 1.5}


async def test_functions_of_the_engine_answer_in_msgpack(engine: EngineProcess) -> None:
    async with connect(engine.worker) as client:
        result = (await call(client, "engine::health::check", {}))["result"]
        assert result["status"] == "healthy"
        await client.send("ping")
        assert (await client.receive_message()).opcode == TEXT


async def test_what_json_cannot_express_is_kept_and_named_to_who_reads_json(engine: EngineProcess) -> None:
    place = {"scope": unique("scope"), "key": "k"}
    value = {"photo": b"\x00\xff", "at": msgpack.Timestamp(5), "names": {1: float("inf")}}
    async with connect(engine.worker) as packed, connect(engine.worker) as plain:
        await call(packed, "state::set", {**place, "value": value})
        assert (await call(packed, "state::get", place))["result"] == value
        error = (await plain.call("state::get", place))["error"]
        assert error == {
            "code": "not_expressible",
            "message": "`result.photo` is binary, which JSON cannot express",
        }


def invocation(codec: str, invocation_id: str, function_id: str, data: Any) -> bytes:
    """A call as one frame."""
    message = {"type": "invokefunction", "invocation_id": invocation_id, "function_id": function_id, "data": data}
    if codec == "msgpack":
        return encode_frame(BINARY, msgpack.packb(message))
    return encode_frame(TEXT, json.dumps(message).encode())


@pytest.mark.parametrize("first", ["msgpack", "json"])
async def test_a_reply_that_waits_for_the_disk_stays_in_the_codec_of_its_call(
    engine: EngineProcess, first: str
) -> None:
    codecs = [first, "json" if first == "msgpack" else "msgpack"] * 10
    scope = unique("scope")
    async with connect(engine.worker) as client:
        # In one piece: every write but the last is followed by a message in the other codec before its reply may go.
        calls = [
            invocation(codec, str(at), "state::set", {"scope": scope, "key": str(at), "value": at})
            for at, codec in enumerate(codecs)
        ]
        await client.send_raw(b"".join(calls))
        answered = {}
        for _ in codecs:
            frame = await client.receive_message()
            is_packed = frame.opcode == BINARY
            reply = msgpack.unpackb(frame.payload) if is_packed else json.loads(frame.payload)
            assert reply["result"]["new_value"] == int(reply["invocation_id"])
            answered[int(reply["invocation_id"])] = "msgpack" if is_packed else "json"
        assert [answered[at] for at in range(len(codecs))] == codecs


@pytest.mark.parametrize("later", ["msgpack", "json"])
async def test_a_result_comes_in_the_codec_of_the_callers_last_message(engine: EngineProcess, later: str) -> None:
    function_id = unique("slow")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function_id)
        await caller.send_raw(invocation("json" if later == "msgpack" else "msgpack", "1", function_id, {"n": 1}))
        asked = await worker.expect("invokefunction", function_id=function_id)
        if later == "msgpack":
            await send(caller, "ping")
            assert await receive(caller) == {"type": "pong"}
        else:
            assert await caller.until_pong() == []
        await worker.answer(asked, result={"n": 2})
        result = await receive(caller) if later == "msgpack" else await caller.receive()
        assert (result["invocation_id"], result["result"]) == ("1", {"n": 2})


@pytest.mark.parametrize(
    ("photo", "what"),
    [
        ({"small": b""}, "`old_value.user.photo.small` is binary"),
        ([1, float("nan")], "`old_value.user.photo[1]` is NaN"),
        ({"a b": {1: 2}}, '`old_value.user.photo["a b"]` is a member whose name is no string'),
    ],
    ids=["binary", "NaN", "names"],
)
async def test_an_update_of_what_json_cannot_express_is_refused_and_changes_nothing(
    engine: EngineProcess, photo: Any, what: str
) -> None:
    place = {"scope": unique("scope"), "key": "k"}
    value = {"n": 1, "user": {"photo": photo}}
    change = {**place, "ops": [{"type": "increment", "path": "n", "by": 1}]}
    async with connect(engine.worker) as packed, connect(engine.worker) as plain:
        await call(packed, "state::set", {**place, "value": value})
        before = await raw_result(packed, place)
        for error in (
            (await call(packed, "state::update", change))["error"],
            (await plain.call("state::update", change))["error"],
        ):
            assert error == {"code": "not_expressible", "message": f"{what}, which JSON cannot express"}
        assert await raw_result(packed, place) == before


async def raw_result(client: RawClient, place: dict[str, str]) -> bytes:
    """The stored value in the bytes in which it is told."""
    await client.send_raw(invocation("msgpack", "1", "state::get", place))
    return (await client.receive_message()).payload
