"""What one worker cannot do to others, and ids that are used twice."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import RawClient, connect

BUILT_INS = [
    "state::get",
    "state::set",
    "state::update",
    "engine::workers::register",
    "engine::channels::create",
    "engine::functions::list",
    "engine::log::info",
    "enqueue",
    "iii::durable::publish",
]


@pytest.mark.parametrize("function", BUILT_INS)
async def test_built_ins_cannot_be_replaced(engine: EngineProcess, function: str) -> None:
    async with connect(engine.worker) as worker:
        await worker.send("registerfunction", id=function)
        await worker.expect("registrationrejected", function_id=function, owner_worker_id="")


async def test_an_escaped_name_is_the_same_name(engine: EngineProcess) -> None:
    async with connect(engine.worker) as worker:
        await worker.send_text('{"type":"registerfunction","id":"state\\u003a:get"}')
        await worker.expect("registrationrejected", function_id="state::get", owner_worker_id="")


async def test_built_ins_cannot_be_removed(engine: EngineProcess) -> None:
    at = {"scope": unique("scope"), "key": "k"}
    async with connect(engine.worker) as observer:
        await observer.call("state::set", {**at, "value": 1})
        async with connect(engine.worker) as worker:
            await worker.send("registerfunction", id="state::get")
            await worker.expect("registrationrejected")
            await worker.send("unregisterfunction", id="state::get")
            await worker.send("unregisterfunction", id="engine::health::check")
            assert await worker.until_pong() == []
            worker.cut()
        assert (await observer.call("state::get", at))["result"] == 1
        assert (await observer.call("engine::health::check", {}))["result"]["status"] == "healthy"


async def test_a_function_is_removed_by_its_owner_only(engine: EngineProcess) -> None:
    function = unique("owned")
    async with connect(engine.worker) as owner, connect(engine.worker) as other:
        await owner.register(function)
        await other.send("unregisterfunction", id=function)
        assert await other.until_pong() == []
        await other.invoke(function)
        await owner.serve_one(result=1)
        await other.expect("invocationresult", result=1)


async def test_a_function_can_be_taken_when_its_owner_is_gone(engine: EngineProcess) -> None:
    function = unique("owned")
    async with connect(engine.worker) as first, connect(engine.worker) as second:
        await first.register(function)
        await first.send_close()
        await first.closed()
        await second.register(function)


async def test_results_from_the_wrong_worker_are_ignored(engine: EngineProcess) -> None:
    function = unique("order")
    async with connect(engine.worker) as worker, connect(engine.worker) as spoofer, connect(engine.worker) as caller:
        await worker.register(function)
        invocation_id = await caller.invoke(function)
        invocation = await worker.expect("invokefunction")
        for stranger in (spoofer, caller):
            for known in {invocation["invocation_id"], invocation_id}:
                forged = {"invocation_id": known, "function_id": function, "result": "forged"}
                await stranger.send("invocationresult", **forged)
            assert await stranger.until_pong() == []
        await worker.answer(invocation, result="true")
        await caller.expect("invocationresult", result="true")


async def test_a_result_counts_once(engine: EngineProcess) -> None:
    function = unique("order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.invoke(function)
        invocation = await worker.expect("invokefunction")
        for result in (1, 2, 3):
            await worker.answer(invocation, result=result)
        assert await worker.until_pong() == []
        await caller.expect("invocationresult", result=1)
        assert await caller.until_pong() == []


async def test_an_id_in_flight_cannot_be_used_again(engine: EngineProcess) -> None:
    function, invocation_id = unique("order"), str(uuid.uuid4())
    call = {"invocation_id": invocation_id, "function_id": function}
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.send("invokefunction", **call, data=1)
        first = await worker.expect("invokefunction", data=1)
        await caller.send("invokefunction", **call, data=2)
        error = (await caller.expect("invocationresult", **call))["error"]
        assert error["code"] == "duplicate_invocation_id"
        assert invocation_id in error["message"]
        await worker.answer(first, result="first")
        await caller.expect("invocationresult", **call, result="first")
        await caller.send("invokefunction", **call, data=3)  # it is free again
        await worker.answer(await worker.expect("invokefunction", data=3), result="third")
        await caller.expect("invocationresult", **call, result="third")


async def test_two_callers_may_use_one_id(engine: EngineProcess) -> None:
    function, invocation_id = unique("order"), str(uuid.uuid4())
    call = {"invocation_id": invocation_id, "function_id": function}
    async with connect(engine.worker) as worker, connect(engine.worker) as one, connect(engine.worker) as two:
        await worker.register(function)
        await one.send("invokefunction", **call, data="one")
        first = await worker.expect("invokefunction", data="one")
        await two.send("invokefunction", **call, data="two")
        second = await worker.expect("invokefunction", data="two")
        assert first["invocation_id"] != second["invocation_id"]
        await worker.answer(second, result="for two")
        await worker.answer(first, result="for one")
        await one.expect("invocationresult", **call, result="for one")
        await two.expect("invocationresult", **call, result="for two")


async def test_other_ids_may_repeat_on_one_connection(engine: EngineProcess) -> None:
    function = unique("order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        for data in (1, 2):
            await caller.send("invokefunction", invocation_id="same", function_id=function, data=data)
        for data in (1, 2):
            await worker.answer(await worker.expect("invokefunction", data=data), result=data)
        for data in (1, 2):
            await caller.expect("invocationresult", invocation_id="same", result=data)


async def test_a_broken_result_settles_the_call(engine: EngineProcess) -> None:
    function = unique("order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.invoke(function)
        invocation = await worker.expect("invokefunction")
        ids = json.dumps({name: invocation[name] for name in ("invocation_id", "function_id")})[1:-1]
        await worker.send_text(f'{{"type":"invocationresult",{ids},"result":NaN}}')
        error = (await caller.expect("invocationresult"))["error"]
        assert error["code"] == "invalid_message"
        assert error["message"].startswith("Worker's result is not usable: Invalid JSON at byte ")
        assert await worker.until_pong() == []


FRAMES = [
    pytest.param(b"\x81\x02{}", 1002, id="unmasked"),
    pytest.param(b"\xc1\x80abcd", 1002, id="reserved-bit"),
    pytest.param(b"\x83\x80abcd", 1002, id="unknown-opcode"),
    pytest.param(b"\x80\x80abcd", 1002, id="continuation-of-nothing"),
    pytest.param(b"\x09\x80abcd", 1002, id="fragmented-ping"),
    pytest.param(b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007, id="no-utf8"),
    pytest.param(b"\x81\xff\xff" + b"\xff" * 7 + b"abcd", 1002, id="length-above-63-bits"),
]


@pytest.mark.parametrize(("frame", "code"), FRAMES)
async def test_junk_frames_close_that_connection_alone(engine: EngineProcess, frame: bytes, code: int) -> None:
    async with connect(engine.worker) as junk, connect(engine.worker) as other:
        await junk.send_raw(frame)
        assert (await junk.closed()).code == code
        assert await other.until_pong() == []


async def test_a_cut_in_the_middle_of_a_frame_harms_nobody(engine: EngineProcess) -> None:
    function = unique("order")
    async with connect(engine.worker) as other:

        async def half(client: RawClient) -> None:
            await client.register(function)
            await client.send_raw(b"\x81\xfe\xff\xff1234" + b"half a message")
            client.cut()

        for _ in range(5):
            async with connect(engine.worker) as client:
                await half(client)
            while (await other.call(function))["error"]["code"] != "function_not_found":
                assert await other.until_pong() == []
