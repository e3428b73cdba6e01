"""Conformance checklist, points 1 to 7, 9, 11, 14, 15: connecting, registering, calling, and what is ignored."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import trio

from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import BINARY, PING, PONG, UpgradeRefused, connect, encode_frame, upgrade

NOT_FOUND = "function_not_found"


async def test_c01_first_message_is_workerregistered(engine: EngineProcess) -> None:
    async with connect(engine.worker) as first, connect(engine.worker) as second:
        for client in (first, second):
            assert set(client.registered) == {"type", "worker_id", "reattach_token"}
            uuid.UUID(client.registered["worker_id"])
            uuid.UUID(client.registered["reattach_token"])
        assert first.registered["worker_id"] != second.registered["worker_id"]
        assert first.registered["reattach_token"] != first.registered["worker_id"]
        assert "x-iii-capabilities: tcp-nodelay" in first.head.lower()


async def test_c01_pings_are_answered(engine: EngineProcess) -> None:
    async with connect(engine.worker) as client:
        await client.send_raw(encode_frame(PING, b"are you there?"))
        frame = await client.receive_frame()
        assert (frame.opcode, frame.payload) == (PONG, b"are you there?")
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}


async def test_c01_query_and_unknown_headers_are_accepted(engine: EngineProcess) -> None:
    async with connect(engine.worker, "/?token=x&a=1", {"X-Any": "thing", "Authorization": "Bearer t"}) as client:
        assert await client.until_pong() == []


RESULTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"result": {"ok": [1, None, "ü"]}}, {"result": {"ok": [1, None, "ü"]}}),
    ({"result": False}, {"result": False}),
    ({"result": None}, {}),
    ({}, {}),
    ({"error": None, "result": 5}, {"result": 5}),
    (
        {"error": {"code": "no_stock", "message": "sold out", "stacktrace": "at line 1"}},
        {"error": {"code": "no_stock", "message": "sold out", "stacktrace": "at line 1"}},
    ),
    ({"error": {"code": "E", "message": "m"}, "result": 1}, {"error": {"code": "E", "message": "m"}}),
    ({"error": {"message": "only"}}, {"error": {"code": "UNKNOWN", "message": "only"}}),
    ({"error": {"code": "only"}}, {"error": {"code": "only", "message": ""}}),
    ({"error": "text"}, {"error": {"code": "UNKNOWN", "message": '"text"'}}),
]


async def test_c02_results_and_errors_reach_the_caller(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        for sent, expected in RESULTS:
            invocation_id = await caller.invoke(function, {"n": 1})
            invocation = await worker.serve_one(**sent)
            assert invocation == {
                "type": "invokefunction",
                "invocation_id": invocation_id,
                "function_id": function,
                "data": {"n": 1},
            }
            ids = {"type": "invocationresult", "invocation_id": invocation_id, "function_id": function}
            assert await caller.receive() == {**ids, **expected}


async def test_c02_metadata_and_trace_go_to_the_worker(engine: EngineProcess) -> None:
    function = unique("shop::order")
    beside = {"metadata": {"tenant": "a"}, "traceparent": f"00-{'a' * 32}-{'b' * 16}-03", "baggage": "k=v"}
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.invoke(function, [1], **beside)
        invocation = await worker.serve_one(result=1)
        assert {name: invocation.get(name) for name in beside} == beside
        await caller.invoke(function, [1], metadata=None, traceparent=None, baggage=None)
        assert set(await worker.serve_one()) == {"type", "invocation_id", "function_id", "data"}


async def test_c02_a_callers_own_kind_of_id_comes_back(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.send("invokefunction", invocation_id="call-7 ü", function_id=function, data=1)
        invocation = await worker.serve_one(result=2)
        assert str(uuid.UUID(invocation["invocation_id"])) == invocation["invocation_id"]
        await caller.expect("invocationresult", invocation_id="call-7 ü", result=2)


async def test_c02_registering_again_replaces_and_unregistering_ends(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function, function)
        await caller.invoke(function)
        await worker.serve_one(result=1)
        await caller.expect("invocationresult", result=1)
        await worker.send("unregisterfunction", id=function)
        assert await worker.until_pong() == []
        assert (await caller.call(function))["error"]["code"] == NOT_FOUND


async def test_c03_missing_data_is_null(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.send("invokefunction", invocation_id=str(uuid.uuid4()), function_id=function)
        invocation = await worker.serve_one(result=1)
        assert "data" in invocation
        assert invocation["data"] is None
        await caller.expect("invocationresult", result=1)


async def test_c04_void_is_delivered_and_not_answered(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.send("invokefunction", function_id=function, data=1, action={"type": "void"})
        await caller.send("invokefunction", function_id=function, data=2)
        with_id = {"invocation_id": str(uuid.uuid4()), "action": {"type": "void"}}
        await caller.send("invokefunction", function_id=function, data=3, **with_id)
        ids = []
        for data in (1, 2, 3):
            invocation = await worker.serve_one(result={"nobody": "waits"})
            assert invocation["data"] == data
            ids.append(str(uuid.UUID(invocation["invocation_id"])))
        assert len(set(ids)) == 3
        assert await worker.until_pong() == []
        assert await caller.until_pong() == []


async def test_c04_void_to_an_unknown_function_is_silent(engine: EngineProcess) -> None:
    async with connect(engine.worker) as caller:
        await caller.send("invokefunction", function_id=unique("none"), data=1, action={"type": "void"})
        await caller.send("invokefunction", function_id=unique("none"), data=1)
        assert await caller.until_pong() == []


async def test_c05_unknown_function_is_told_at_once(engine: EngineProcess) -> None:
    name = unique("nobody")
    async with connect(engine.worker) as caller:
        invocation_id = await caller.invoke(name)
        (answer,) = await caller.until_pong()  # in the caller's own turn, before the next message is read
        assert answer == {
            "type": "invocationresult",
            "invocation_id": invocation_id,
            "function_id": name,
            "error": {"code": NOT_FOUND, "message": f"Function {name} not found in namespace default."},
        }


@pytest.mark.parametrize("how", ["cut", "close"])
async def test_c06_callee_that_leaves_ends_its_invocations(engine: EngineProcess, how: str) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        waiting = [await caller.invoke(function, n) for n in range(3)]
        for _ in waiting:
            await worker.expect("invokefunction")
        if how == "cut":
            worker.cut()
        else:
            await worker.send_close()
            assert (await worker.closed()).code == 1000
        ended = {(await caller.expect("invocationresult"))["invocation_id"]: None for _ in waiting}
        assert set(ended) == set(waiting)
        assert (await caller.call(function))["error"]["code"] == NOT_FOUND


async def test_c06_the_error_says_stopped(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.invoke(function)
        await worker.expect("invokefunction")
        worker.cut()
        result = await caller.expect("invocationresult")
        assert result["error"] == {"code": "invocation_stopped", "message": "Invocation stopped"}


async def test_c07_a_worker_calls_itself_while_it_handles_a_call(engine: EngineProcess) -> None:
    outer, inner = unique("outer"), unique("inner")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(outer, inner)
        await caller.invoke(outer, 1)
        handling = await worker.expect("invokefunction", function_id=outer)
        await worker.invoke(inner, 2)
        await worker.answer(await worker.expect("invokefunction", function_id=inner), result="inner")
        got = await worker.expect("invocationresult", function_id=inner)
        await worker.answer(handling, result=["outer", got["result"]])
        await caller.expect("invocationresult", result=["outer", "inner"])


async def test_c07_a_thousand_parallel_calls_answered_backwards(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        sent = {await caller.invoke(function, n): n for n in range(1000)}
        invocations = [await worker.expect("invokefunction") for _ in sent]
        assert [invocation["data"] for invocation in invocations] == list(range(1000))
        for invocation in reversed(invocations):
            await worker.answer(invocation, result=invocation["data"] * 2)
        results = [await caller.expect("invocationresult") for _ in sent]
        assert {result["invocation_id"]: result["result"] for result in results} == {i: n * 2 for i, n in sent.items()}
        assert [result["result"] for result in results] == [n * 2 for n in reversed(range(1000))]


async def test_c09_registrations_before_and_after_the_register_call(engine: EngineProcess) -> None:
    before, after = unique("before"), unique("after")
    metadata = {"runtime": "python", "version": "0.25.0", "name": unique("box"), "pid": 1, "namespace": None}
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(before)
        assert (await worker.call("engine::workers::register", metadata))["result"] == {"success": True}
        await worker.register(after)
        await worker.send(
            "invokefunction", function_id="engine::workers::register", data=metadata, action={"type": "void"}
        )
        assert await worker.until_pong() == []
        for function in (before, after):
            await caller.invoke(function)
            await worker.serve_one(result=function)
            await caller.expect("invocationresult", result=function)


async def test_c09_registrations_do_not_wait_for_the_register_call(engine: EngineProcess) -> None:
    function = unique("early")
    async with connect(engine.worker) as worker:
        await worker.send("registerfunction", id=function)
        await worker.invoke(function, 1)
        await worker.serve_one(result=2)
        await worker.expect("invocationresult", result=2)


IGNORED = [
    "",
    "{",
    "nonsense",
    "[]",
    '[{"type":"ping"}]',
    '"ping"',
    "17",
    "null",
    "{}",
    '{"type":5}',
    '{"type":null}',
    '{"type":"nonsense"}',
    '{"type":"pong"}',
    '{"type":"workerregistered","worker_id":"x"}',
    '{"type":"registrationrejected"}',
    '{"type":"invocationresult"}',
    '{"type":"invocationresult","invocation_id":"nobody","function_id":"f","result":1}',
    '{"type":"registerfunction"}',
    '{"type":"registerfunction","id":""}',
    '{"type":"registerfunction","id":5}',
    '{"type":"unregisterfunction","id":"nobody"}',
    '{"type":"registerservice","id":"s","name":"n"}',
    '{"type":"unregistertrigger","id":"nobody"}',
    '{"type":"reattach","previous_worker_id":"nobody"}',
    '{"type":"reattach","previous_worker_id":7,"reattach_token":[]}',
    '{"type":"invokefunction","data":1}',
    '{"type":"invokefunction","function_id":5}',
    '{"type":"observe","id":"o","source":{}}',
    '{"type":"PING"}',
]


@pytest.mark.parametrize("text", IGNORED)
async def test_c11_unusable_messages_are_ignored(engine: EngineProcess, text: str) -> None:
    async with connect(engine.worker) as client:
        await client.send_text(text)
        assert await client.until_pong() == []


async def test_c11_unknown_fields_are_ignored(engine: EngineProcess) -> None:
    function = unique("shop::order")
    extra = {"message_type": "x", "from_the_future": {"a": [1]}, "caller": {"worker_id": "me"}, "observe_depth": 3}
    async with connect(engine.worker) as worker:
        await worker.send("registerfunction", id=function, description="d", metadata={"k": 1}, **extra)
        await worker.invoke(function, 1, **extra)
        invocation = await worker.expect("invokefunction")
        assert set(invocation) == {"type", "invocation_id", "function_id", "data"}
        await worker.answer(invocation, result=1, **extra)
        assert set(await worker.receive()) == {"type", "invocation_id", "function_id", "result"}


async def test_c11_json_in_a_binary_message_is_read(engine: EngineProcess) -> None:
    async with connect(engine.worker) as client:
        await client.send_raw(encode_frame(BINARY, b'{"type":"ping"}'))
        assert await client.receive() == {"type": "pong"}
        for telemetry in (b"OTLP{}", b"MTRC", b"LOGS\xff", b"\xff\xfe", b""):
            await client.send_raw(encode_frame(BINARY, telemetry))
        assert await client.until_pong() == []


UNUSABLE_CALLS = [
    ('"function_id":5', "Invalid invokefunction: field `function_id` is a number, expected a string"),
    ('"data":1', "Invalid invokefunction: field `function_id` is missing, expected a string"),
    (
        '"function_id":"f","action":{"type":"bogus"}',
        'Invalid invokefunction: field `action.type` is "bogus", expected "void" or "enqueue"',
    ),
    (
        '"function_id":"f","action":{"type":"enqueue"}',
        "Invalid invokefunction: field `action.queue` is missing, expected a string",
    ),
    ('"function_id":"f","namespace":7', "Invalid invokefunction: field `namespace` is a number, expected a string"),
]


@pytest.mark.parametrize(("fields", "message"), UNUSABLE_CALLS)
async def test_c11_unusable_call_with_an_id_is_answered(engine: EngineProcess, fields: str, message: str) -> None:
    async with connect(engine.worker) as client:
        await client.send_text(f'{{"type":"invokefunction","invocation_id":"i",{fields}}}')
        result = await client.expect("invocationresult", invocation_id="i")
        assert result["error"] == {"code": "invalid_message", "message": message}


async def test_c11_number_that_is_no_json_is_answered(engine: EngineProcess) -> None:
    text = '{"type":"invokefunction","invocation_id":"i","function_id":"f","data":NaN}'
    async with connect(engine.worker) as client:
        await client.send_text(text)
        result = await client.expect("invocationresult", invocation_id="i", function_id="f")
        message = f"Invalid JSON at byte {text.index('NaN')}: NaN is not a JSON value"
        assert result["error"] == {"code": "invalid_message", "message": message}


async def test_c11_payload_text_passes_unchanged(engine: EngineProcess) -> None:
    function = unique("shop::order")
    text = '{ "b":1.00e+2,\t"a" : "\\u00fc\\/", "b":12345678901234567890123 , "n":[ ] }'
    async with connect(engine.worker) as client:
        await client.register(function)
        await client.send_text(
            f'{{"type":"invokefunction","invocation_id":"i","function_id":{json.dumps(function)},"data":{text}}}'
        )
        message = await client.receive_message()
        assert text.encode() in message.payload
        ids = json.loads(message.payload)["invocation_id"]
        await client.send_text(
            f'{{"type":"invocationresult","invocation_id":"{ids}","function_id":"f","result":{text}}}'
        )
        assert text.encode() in (await client.receive_message()).payload


async def test_c14_namespace_default_and_absent_are_equal(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        for namespace in ({}, {"namespace": None}, {"namespace": "default"}):
            await caller.invoke(function, 1, **namespace)
            assert "namespace" not in await worker.serve_one(result=1)
            await caller.expect("invocationresult", result=1)
        scope = {"scope": unique("s"), "key": "k"}
        await caller.call("state::set", {**scope, "value": 7}, namespace="default")
        assert (await caller.call("state::get", scope))["result"] == 7


async def test_c14_other_namespaces_have_no_functions(engine: EngineProcess) -> None:
    function = unique("shop::order")
    async with connect(engine.worker) as worker:
        await worker.register(function)
        error = (await worker.call(function, namespace="team"))["error"]
        known = "It is registered in namespace(s): default."
        assert error == {"code": NOT_FOUND, "message": f"Function {function} not found in namespace team. {known}"}
        error = (await worker.call("nobody", namespace="team"))["error"]
        assert error == {"code": NOT_FOUND, "message": "Function nobody not found in namespace team."}
        for blank in ("", "  "):
            assert (await worker.call(function, namespace=blank))["error"]["code"] == "INVALID_NAMESPACE"


async def test_c15_telemetry_is_accepted_and_dropped(engine: EngineProcess) -> None:
    telemetry = await upgrade(engine.worker, "/otel?token=x")
    for frame in (b'OTLP{"resourceSpans":[]}', b"MTRC{}", b"LOGS\xff\xfe"):
        await telemetry.send_raw(encode_frame(BINARY, frame))
    await telemetry.send_text('{"type":"ping"}')
    await telemetry.send_raw(encode_frame(PING, b"x"))
    frame = await telemetry.receive_frame()
    assert (frame.opcode, frame.payload) == (PONG, b"x")  # the first thing it hears: this is no worker connection
    await telemetry.send_close()
    assert (await telemetry.closed()).code == 1000
    await telemetry.stream.aclose()


async def test_c15_other_paths_are_refused(engine: EngineProcess) -> None:
    for path in ("/nowhere", "/ws/channels/none?key=none&dir=read"):
        with pytest.raises(UpgradeRefused) as refused:
            await upgrade(engine.worker, path)
        assert refused.value.status == 404


async def test_c15_requests_that_are_no_upgrade_are_refused(engine: EngineProcess) -> None:
    for request in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ):
        stream = await trio.open_tcp_stream(*engine.worker)
        await stream.send_all(request)
        head = await stream.receive_some(4096)
        assert head.startswith(b"HTTP/1.1 4"), head
        await stream.aclose()
