"""Triggers through real sockets on each real backend, with workers that speak the wire by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio

from iii_fast.contracts import Limits
from tests.engine.conftest import LOCAL, Running, StartEngine
from tests.support import http
from tests.support.deadlines import ANSWER_S
from tests.support.raw_client import RawClient, UpgradeRefused, connect


async def request(started: Running, method: str, path: str, body: Any = None) -> http.Response:
    url = f"http://{started.http[0]}:{started.http[1]}{path}"
    return await trio.to_thread.run_sync(partial(http.request, method, url, body))


async def bind(client: RawClient, kind: str, function_id: str, config: Any, trigger_id: str = "t", **more: Any) -> None:
    """Registers function and trigger; returns when the engine has dealt with both, quietly."""
    await client.send("registerfunction", id=function_id)
    await client.send(
        "registertrigger", id=trigger_id, trigger_type=kind, function_id=function_id, config=config, **more
    )
    assert await client.until_pong() == []
    await settled(client)


async def settled(client: RawClient) -> None:
    """Registrations are handled in order with calls of the control plane: one round trip shows they are done."""
    assert "error" not in await client.call("engine::health::check")


async def test_http_through_a_worker_and_its_routes_go_with_it(start: StartEngine) -> None:
    async with start() as started:
        async with connect(started.worker) as worker:
            await bind(worker, "http", "users.set", {"api_path": "users/:id", "http_method": "POST"}, metadata={"m": 1})
            async with trio.open_nursery() as nursery:
                responses: list[http.Response] = []

                async def ask() -> None:
                    responses.append(await request(started, "POST", "/users/a%20b?x=1", {"n": [1, None]}))

                nursery.start_soon(ask)
                got = await worker.serve_one(result={"status_code": 201, "body": {"ok": True}, "headers": {"x-a": "b"}})
            assert got["data"]["path_params"] == {"id": "a b"}
            assert got["data"]["body"] == {"n": [1, None]}
            assert got["metadata"] == {"m": 1}
            [response] = responses
            assert (response.status, response.body, response.headers["x-a"]) == (201, {"ok": True}, "b")
            assert (await request(started, "GET", "/users/1")).status == 405
        async with connect(started.worker) as other:
            await settled(other)
            assert (await request(started, "POST", "/users/1", {})).status == 404


async def test_an_http_request_with_condition_and_middleware(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as worker:
        for function_id in ("cond", "mid"):
            await worker.send("registerfunction", id=function_id)
        config = {"api_path": "a/:x", "condition_function_id": "cond", "middleware_function_ids": ["mid"]}
        await bind(worker, "http", "f", config)
        responses: list[http.Response] = []

        async def ask() -> None:
            responses.append(await request(started, "GET", "/a/1"))

        for answers in ([True, None, {"body": "served"}], [True, {"action": "respond"}], [False]):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                for answer in answers:
                    await worker.serve_one(result=answer)
        assert [(one.status, one.body) for one in responses[:2]] == [(200, "served"), (200, {})]
        assert (responses[2].status, responses[2].body["error"]["code"]) == (422, "CONDITION_NOT_MET")


async def test_every_http_request_passes_global_middleware(start: StartEngine) -> None:
    async with start(http=replace(LOCAL.http, middleware=("auth",))) as started, connect(started.worker) as worker:
        await worker.send("registerfunction", id="auth")
        await bind(worker, "http", "f", {"api_path": "a/:x"})
        responses: list[http.Response] = []

        async def ask() -> None:
            responses.append(await request(started, "GET", "/a/1"))

        denied = {"action": "respond", "response": {"status_code": 401, "body": {"no": 1}}}
        for answers in ([{"action": "continue"}, {"body": "served"}], [denied]):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                for answer in answers:
                    await worker.serve_one(result=answer)
        assert [(one.status, one.body) for one in responses] == [(200, "served"), (401, {"no": 1})]
        assert (await request(started, "GET", "/none")).status == 404


async def test_http_reaches_functions_of_the_engine(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as worker:
        for number, function_id in enumerate(("engine::health::check", "state::get")):
            config = {"api_path": f"a{number}"}
            await worker.send(
                "registertrigger", id=f"t{number}", trigger_type="http", function_id=function_id, config=config
            )
        await settled(worker)
        assert (await request(started, "GET", "/a0")).status == 200
        response = await request(started, "GET", "/a1")
        assert (response.status, response.body["error"]["code"]) == (500, "deserialization_error")


async def test_an_http_request_in_flight_gets_its_response_at_shutdown(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as worker:
        await bind(worker, "http", "f", {"api_path": "a"})
        async with trio.open_nursery() as nursery:
            responses: list[http.Response] = []

            async def ask() -> None:
                responses.append(await request(started, "GET", "/a"))

            nursery.start_soon(ask)
            got = await worker.expect("invokefunction")
            started.engine.shut_down()
            with trio.fail_after(ANSWER_S):
                while await reachable(started.http):
                    await trio.lowlevel.checkpoint()
            await worker.send(
                "invocationresult", invocation_id=got["invocation_id"], function_id="f", result={"status_code": 201}
            )
        assert responses[0].status == 201
        assert responses[0].headers["connection"] == "close"
        await started.ended.wait()


async def reachable(address: tuple[str, int]) -> bool:
    try:
        await (await trio.open_tcp_stream(*address)).aclose()
    except OSError:
        return False
    return True


async def test_state_events_arrive_in_commit_order(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as worker, connect(started.worker) as writer:
        await bind(worker, "state", "on.change", {"scope": "s"})
        for number in range(20):
            await writer.send(
                "invokefunction",
                function_id="state::set",
                data={"scope": "s", "key": "k", "value": number},
                action={"type": "void"},
            )
            await writer.send("invokefunction", function_id="state::set", data={"scope": "x", "key": "k", "value": 1})
        await writer.call("state::delete", {"scope": "s", "key": "k"})
        events = [(await worker.serve_one(result=None))["data"] for _ in range(21)]
        assert [event["new_value"] for event in events] == [*range(20), None]
        assert [event["event_type"] for event in events[:2]] == ["state:created", "state:updated"]
        assert events[-1] == {
            "type": "state",
            "event_type": "state:deleted",
            "scope": "s",
            "key": "k",
            "old_value": 19,
            "new_value": None,
        }


async def test_a_message_published_before_any_subscriber_waits_for_it(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as publisher:
        for function_id in ("enqueue", "iii::durable::publish"):
            result = await publisher.call(function_id, {"topic": "news", "data": {"from": function_id}})
            assert "error" not in result
            assert result.get("result") is None
        async with connect(started.worker) as worker:
            await worker.send("registerfunction", id="reader")
            await worker.send(
                "registertrigger",
                id="t",
                trigger_type="durable:subscriber",
                function_id="reader",
                config={"topic": "news"},
            )
            for function_id in ("enqueue", "iii::durable::publish"):
                assert (await worker.serve_one(result=None))["data"] == {"from": function_id}


async def test_the_enqueue_action(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as worker, connect(started.worker) as caller:
        await worker.register("job")
        action = {"type": "enqueue", "queue": "default"}
        result = await caller.call("job", {"n": 1}, action=action, metadata={"m": 2})
        assert set(result["result"]) == {"messageReceiptId"}
        got = await worker.serve_one(result=None)
        assert (got["data"], got["metadata"]) == ({"n": 1}, {"m": 2})
        refused = await caller.call("job", 1, action={"type": "enqueue", "queue": "nope"})
        assert refused["error"]["code"] == "enqueue_error"


async def test_cron_reaches_a_worker(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as worker:
        await bind(worker, "cron", "tick", {"expression": "* * * * * *"}, trigger_id="every-second")
        data = (await worker.serve_one(result=None))["data"]
        assert (data["trigger"], data["job_id"]) == ("cron", "every-second")
        assert data["scheduled_time"].endswith("+00:00")


async def test_a_worker_provided_type_end_to_end(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as provider, connect(started.worker) as consumer:
        await provider.send("registertriggertype", id="custom", description="d")
        await settled(provider)
        await consumer.register("f")
        await consumer.send("registertrigger", id="t", trigger_type="custom", function_id="f")
        offered = await provider.expect("registertrigger")
        assert offered == {
            "type": "registertrigger",
            "id": "t",
            "trigger_type": "custom",
            "function_id": "f",
            "config": None,
        }
        error = {"code": "trigger_registration_failed", "message": "bad cfg"}
        await provider.send("triggerregistrationresult", id="t", trigger_type="custom", function_id="f", error=error)
        assert (await consumer.expect("triggerregistrationresult"))["error"] == error


@pytest.mark.parametrize(
    ("kind", "text"), [("http", "api_path is required for http triggers"), ("cron", "Cron expression is required")]
)
async def test_refused_configs(start: StartEngine, kind: str, text: str) -> None:
    async with start() as started, connect(started.worker) as client:
        await client.send("registertrigger", id="t", trigger_type=kind, function_id="f", config={})
        assert await client.expect("triggerregistrationresult") == {
            "type": "triggerregistrationresult",
            "id": "t",
            "trigger_type": kind,
            "function_id": "f",
            "error": {"code": "trigger_registration_failed", "message": text},
        }


async def test_the_lists_know_workers_and_functions(start: StartEngine) -> None:
    async with start() as started, connect(started.worker) as client:
        await client.send("registerfunction", id="a::f", description="d")
        await client.call("engine::workers::register", {"name": "box", "runtime": "node", "pid": 5})
        functions = (await client.call("engine::functions::list", {"worker": "box"}))["result"]["functions"]
        assert functions == [
            {"function_id": "a::f", "namespace": "default", "worker_name": "box", "description": "d"},
        ]
        [worker] = (await client.call("engine::workers::list"))["result"]["workers"]
        assert worker["id"] == client.registered["worker_id"]
        assert (worker["name"], worker["function_count"], worker["ip_address"]) == ("box", 1, "127.0.0.1")


async def test_connections_beyond_the_limit_are_refused_with_503(start: StartEngine) -> None:
    async with start(limits=Limits(connections_max=2)) as started, connect(started.worker), connect(started.worker):
        with pytest.raises(UpgradeRefused) as refused:
            async with connect(started.worker):
                pass
        assert refused.value.status == 503


async def test_shutdown_says_1012(start: StartEngine) -> None:
    async with start() as started:
        async with connect(started.worker) as client:
            started.engine.shut_down()
            closed = await client.closed()
            assert (closed.code, closed.reason) == (1012, "engine restart")
            await client.send_close(1012)
        await started.ended.wait()
