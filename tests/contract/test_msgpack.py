"""The msgpack wire through sockets, on every engine: binary in, binary out, beside workers that speak JSON."""

from __future__ import annotations

import uuid
from typing import Any

import msgpack

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
