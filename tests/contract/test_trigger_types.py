"""Conformance checklist, points 10 and 16: trigger types that workers provide, and what a Rust worker must read."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import trio

from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import TEXT, RawClient, connect, encode_frame


def trigger(kind: str, **fields: Any) -> dict[str, Any]:
    """A trigger of that type for a function of no importance."""
    return {
        "id": unique("trigger"),
        "trigger_type": kind,
        "function_id": unique("function"),
        "config": {"n": 1},
        **fields,
    }


def delivered(wanted: dict[str, Any]) -> dict[str, Any]:
    """How the provider hears of it."""
    return {"type": "registertrigger", **wanted}


async def provide(client: RawClient, kind: str) -> None:
    await client.send("registertriggertype", id=kind, description="of a test")


async def settled(client: RawClient) -> None:
    """Returns when the engine has processed all that this connection sent, control plane included."""
    assert (await client.call("engine::health::check", {}))["result"]["status"] == "healthy"


async def test_c10_trigger_of_an_unknown_type_is_parked_until_the_type_comes(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        first, second = trigger(kind), trigger(kind, metadata={"m": [1]})
        for wanted in (first, second):
            await consumer.send("registertrigger", **wanted)
        await settled(consumer)  # and nothing was said about it
        await provide(provider, kind)
        assert await provider.receive() == delivered(first)
        assert await provider.receive() == delivered(second)
        await provider.send(
            "triggerregistrationresult", id=first["id"], trigger_type=kind, function_id=first["function_id"]
        )
        await settled(provider)
        await settled(consumer)  # success is not acknowledged


async def test_c10_trigger_of_a_known_type_goes_to_its_provider(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        await provide(provider, kind)
        await settled(provider)
        wanted = trigger(kind)
        await consumer.send("registertrigger", message_type="registertrigger", **wanted)
        assert await provider.receive() == delivered(wanted)


async def test_c10_the_providers_error_reaches_the_consumer(engine: EngineProcess) -> None:
    kind, wanted = unique("kind"), None
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        await provide(provider, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await provider.expect("registertrigger", id=wanted["id"])
        answer = {
            "id": wanted["id"],
            "trigger_type": kind,
            "function_id": wanted["function_id"],
            "error": {"code": "trigger_registration_failed", "message": "bad config"},
        }
        await provider.send("triggerregistrationresult", message_type="triggerregistrationresult", **answer)
        await consumer.expect("triggerregistrationresult", **answer)
        await provide(provider, kind)  # the refused trigger is offered again
        assert await provider.receive() == delivered(wanted)


async def test_c10_only_the_provider_may_answer(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider, connect(engine.worker) as other:
        await provide(provider, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await provider.expect("registertrigger", id=wanted["id"])
        error = {"code": "trigger_registration_failed", "message": "not mine to say"}
        ids = {"id": wanted["id"], "trigger_type": kind, "function_id": wanted["function_id"]}
        await other.send("triggerregistrationresult", **ids, error=error)
        await settled(other)
        await settled(consumer)


@pytest.mark.parametrize("how", ["cut", "unregister"])
async def test_c10_provider_gone_and_back(engine: EngineProcess, how: str) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as first, connect(engine.worker) as second:
        await provide(first, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await first.expect("registertrigger", id=wanted["id"])
        if how == "cut":
            first.cut()
        else:
            await first.send("unregistertriggertype", id=kind)
            await settled(first)
        late = trigger(kind)
        await consumer.send("registertrigger", **late)
        await settled(consumer)
        await provide(second, kind)
        got = [await second.expect("registertrigger") for _ in range(2)]
        assert got == [delivered(wanted), delivered(late)]


async def test_c10_a_newer_provider_takes_over_and_gives_back(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as older:
        await provide(older, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await older.expect("registertrigger", id=wanted["id"])
        async with connect(engine.worker) as newer:
            await provide(newer, kind)
            assert await newer.receive() == delivered(wanted)
            await older.expect("unregistertrigger", id=wanted["id"], trigger_type=kind)
            newer.cut()
            assert await older.receive() == delivered(wanted)


async def test_c10_unregistering_reaches_the_provider(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider, connect(engine.worker) as other:
        await provide(provider, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await provider.expect("registertrigger", id=wanted["id"])
        await other.send("unregistertrigger", id=wanted["id"])  # not its own: nothing happens
        await settled(other)
        await settled(provider)
        await consumer.send("unregistertrigger", id=wanted["id"], trigger_type=kind)
        await provider.expect("unregistertrigger", id=wanted["id"], trigger_type=kind)


async def test_c10_triggers_go_with_their_worker(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        await provide(provider, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await provider.expect("registertrigger", id=wanted["id"])
        consumer.cut()
        await provider.expect("unregistertrigger", id=wanted["id"], trigger_type=kind)


async def test_c10_registering_an_id_again_is_there_once(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        await provide(provider, kind)
        wanted = trigger(kind)
        await consumer.send("registertrigger", **wanted)
        await provider.expect("registertrigger", id=wanted["id"])
        changed = {**wanted, "config": {"n": 2}}
        await consumer.send("registertrigger", **changed)
        await provider.expect("unregistertrigger", id=wanted["id"], trigger_type=kind)
        assert await provider.receive() == delivered(changed)


async def test_c10_provider_fires_by_calling_the_function(engine: EngineProcess) -> None:
    kind, function = unique("kind"), unique("function")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        await consumer.register(function)
        await provide(provider, kind)
        await consumer.send("registertrigger", **trigger(kind, function_id=function, metadata={"m": 1}))
        bound = await provider.expect("registertrigger")
        await provider.invoke(bound["function_id"], {"event": 1}, metadata=bound["metadata"])
        invocation = await consumer.serve_one(result="seen")
        assert (invocation["data"], invocation["metadata"]) == ({"event": 1}, {"m": 1})
        await provider.expect("invocationresult", result="seen")


async def test_c16_a_rust_provider_always_gets_the_fields_it_needs(engine: EngineProcess) -> None:
    kind = unique("kind")
    async with connect(engine.worker) as consumer, connect(engine.worker) as provider:
        await provider.send("registertriggertype", id=kind)  # the description is optional here
        bare = {"id": unique("trigger"), "trigger_type": kind, "function_id": unique("function")}
        await consumer.send("registertrigger", **bare)
        registered = await provider.receive()
        assert registered == {"type": "registertrigger", **bare, "config": None}
        await consumer.send("unregistertrigger", id=bare["id"])  # without its type
        unregistered = await provider.receive()
        assert (unregistered["type"], unregistered["id"]) == ("unregistertrigger", bare["id"])
        assert unregistered["trigger_type"] == kind


async def test_c16_ids_towards_workers_are_uuids_and_results_name_the_function(engine: EngineProcess) -> None:
    function = unique("function")
    async with connect(engine.worker) as client:
        await client.register(function)
        await client.send("invokefunction", invocation_id="mine", function_id=function)
        invocation = await client.expect("invokefunction")
        uuid.UUID(invocation["invocation_id"])
        assert "data" in invocation
        await client.answer(invocation, result=1)
        await client.expect("invocationresult", invocation_id="mine", function_id=function)
        await client.send("invokefunction", invocation_id="gone", function_id=unique("nobody"))
        assert "function_id" in await client.expect("invocationresult", invocation_id="gone")


async def test_c16_rejections_name_namespace_and_owner(engine: EngineProcess) -> None:
    function = unique("function")
    async with connect(engine.worker) as owner, connect(engine.worker) as newcomer:
        await owner.register(function)
        for wanted, owner_id in ((function, owner.registered["worker_id"]), ("state::get", "")):
            await newcomer.send("registerfunction", id=wanted)
            assert await newcomer.receive() == {
                "type": "registrationrejected",
                "code": "FUNCTION_NAMESPACE_CONFLICT",
                "namespace": "default",
                "function_id": wanted,
                "owner_worker_id": owner_id,
            }


async def test_a_write_behind_a_registration_is_seen_by_the_new_trigger(engine: EngineProcess) -> None:
    for number in range(10):
        scope, function = unique("scope"), unique("function")
        messages: list[dict[str, Any]] = [
            {"type": "registerfunction", "id": function},
            {"type": "registertrigger", **trigger("state", function_id=function, config={"scope": scope})},
            {
                "type": "invokefunction",
                "function_id": "state::set",
                "data": {"scope": scope, "key": "k", "value": number},
                "action": {"type": "void"},
            },
        ]
        async with connect(engine.worker) as client:
            await client.send_raw(b"".join(encode_frame(TEXT, json.dumps(message).encode()) for message in messages))
            with trio.fail_after(ANSWER_S):
                event = (await client.expect("invokefunction", function_id=function))["data"]
            assert (event["scope"], event["key"], event["new_value"]) == (scope, "k", number)


BAD_CONFIGS = [
    ("state", {"scope": 5}),
    ("http", {}),
    ("http", {"api_path": "/a/*rest/b"}),
    ("cron", {}),
    ("cron", {"expression": "never"}),
    ("durable:subscriber", {}),
]


@pytest.mark.parametrize(("kind", "config"), BAD_CONFIGS)
async def test_bad_config_of_an_engine_type_is_refused_and_harms_nobody(
    engine: EngineProcess, kind: str, config: dict[str, Any]
) -> None:
    async with connect(engine.worker) as client:
        wanted = trigger(kind, config=config)
        await client.send("registertrigger", **wanted)
        refused = await client.expect(
            "triggerregistrationresult",
            id=wanted["id"],
            trigger_type=kind,
            function_id=wanted["function_id"],
        )
        assert refused["error"]["code"] == "trigger_registration_failed"
        assert refused["error"]["message"]
        await settled(client)
