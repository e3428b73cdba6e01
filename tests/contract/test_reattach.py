"""Conformance checklist, point 8: back within a second of a cut, and nothing is there twice."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import trio

from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import RawClient, connect


class Replayed:
    """What a worker registers, and registers again after a cut, the way the SDKs do."""

    def __init__(self) -> None:
        self.function, self.watch, self.scope = unique("echo"), unique("watch"), unique("scope")
        self.kind, self.trigger = unique("kind"), unique("trigger")

    async def replay(self, client: RawClient) -> None:
        await client.send("registertriggertype", id=self.kind, description="d")
        for function in (self.function, self.watch):
            await client.send("registerfunction", id=function)
        state = {"trigger_type": "state", "function_id": self.watch, "config": {"scope": self.scope}}
        await client.send("registertrigger", id=self.trigger, **state)
        await client.send(
            "invokefunction",
            function_id="engine::workers::register",
            data={"runtime": "python", "name": self.function},
            action={"type": "void"},
        )


def reattach(registered: dict[str, Any]) -> dict[str, Any]:
    return {"previous_worker_id": registered["worker_id"], "reattach_token": registered["reattach_token"]}


async def test_c08_back_within_a_second_of_a_cut_without_duplicates(engine: EngineProcess) -> None:
    mine = Replayed()
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(connect(engine.worker))
        caller = await stack.enter_async_context(connect(engine.worker))
        await mine.replay(old)
        await caller.send(
            "registertrigger", id=unique("t"), trigger_type=mine.kind, function_id=unique("f"), config={"n": 1}
        )
        await old.expect("registertrigger", trigger_type=mine.kind)
        old.cut()
        with trio.fail_after(1):
            new = await stack.enter_async_context(connect(engine.worker))
            await new.send("reattach", **reattach(old.registered))
            await mine.replay(new)
            await new.expect("registertrigger", trigger_type=mine.kind, config={"n": 1})
            await new.until_pong()  # the rest of the replay is served too
            invocation_id = await caller.invoke(mine.function, 1)
            await new.serve_one(result=2)
            await caller.expect("invocationresult", invocation_id=invocation_id, result=2)
        assert (await new.call("engine::health::check", {}))["result"]["status"] == "healthy"
        await caller.call("state::set", {"scope": mine.scope, "key": "k", "value": 1})
        event = await new.serve_one(result=None)
        assert (event["function_id"], event["data"]["new_value"]) == (mine.watch, 1)
        await caller.call("state::set", {"scope": mine.scope, "key": "k", "value": 2})
        event = await new.serve_one(result=None)  # one event per write: the trigger is there once
        assert event["data"]["new_value"] == 2


async def test_c08_a_half_dead_connection_is_taken_over(engine: EngineProcess) -> None:
    mine = Replayed()
    async with connect(engine.worker) as old, connect(engine.worker) as new, connect(engine.worker) as caller:
        await mine.replay(old)
        assert await old.until_pong() == []
        pending = await caller.invoke(mine.function, 1)  # the old connection never answers it
        await old.expect("invokefunction")

        await new.send("reattach", **reattach(old.registered))
        await mine.replay(new)
        assert await new.until_pong() == []  # no conflicts
        stopped = await caller.expect("invocationresult", invocation_id=pending)
        assert stopped["error"]["code"] == "invocation_stopped"
        closed = await old.closed()
        assert (closed.code, closed.reason) == (1000, "replaced by a new connection")
        await caller.invoke(mine.function, 2)
        await new.serve_one(result=3)
        await caller.expect("invocationresult", result=3)


async def test_c08_reattach_needs_the_token(engine: EngineProcess) -> None:
    function = unique("echo")
    async with connect(engine.worker) as victim, connect(engine.worker) as thief:
        await victim.register(function)
        worker_id = victim.registered["worker_id"]
        for fields in (
            {"previous_worker_id": worker_id},
            {"previous_worker_id": worker_id, "reattach_token": thief.registered["reattach_token"]},
            {"previous_worker_id": worker_id, "reattach_token": ""},
            {"previous_worker_id": worker_id, "reattach_token": None},
        ):
            await thief.send("reattach", **fields)
            assert await thief.until_pong() == []
        await thief.send("registerfunction", id=function)
        rejected = {"code": "FUNCTION_NAMESPACE_CONFLICT", "function_id": function, "owner_worker_id": worker_id}
        await thief.expect("registrationrejected", **rejected)
        await thief.invoke(function)
        await victim.serve_one(result="mine")
        await thief.expect("invocationresult", result="mine")
