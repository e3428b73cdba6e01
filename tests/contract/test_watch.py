"""``state::watch``: a worker is told every change, takes what it missed while it was away, and stops when it wants."""

from __future__ import annotations

from typing import Any

from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import RawClient, connect


async def watch(client: RawClient, function: str, **fields: Any) -> dict[str, Any]:
    """Registers the function and watches with it; the result."""
    await client.register(function)
    answer = await client.call("state::watch", {"function_id": function, **fields})
    result: dict[str, Any] = answer["result"]
    return result


async def write(client: RawClient, scope: str, key: str, value: Any, **more: Any) -> None:
    await client.call("state::set", {"scope": scope, "key": key, "value": value, **more})


async def take(client: RawClient, **outcome: Any) -> dict[str, Any]:
    """The payload of the next delivery, which is answered with ``outcome``."""
    invocation = await client.expect("invokefunction")
    await client.answer(invocation, **outcome)
    data: dict[str, Any] = invocation["data"]
    return data


async def test_every_change_comes_in_order(engine: EngineProcess) -> None:
    scope, function = unique("scope"), unique("watcher")
    async with connect(engine.worker) as watcher, connect(engine.worker) as writer:
        began = await watch(watcher, function, scope=scope)
        await write(writer, unique("elsewhere"), "k", 0)
        await write(writer, scope, "k", 1.5)
        first = await take(watcher, result=None)
        assert first["watch_id"] == began["watch_id"]
        [created] = first["changes"]
        assert created == {"position": first["position"], "type": "created", "scope": scope, "key": "k", "value": 1.5}
        assert first["position"] > began["position"]
        await write(writer, scope, "k", [2], expires_at=9_007_199_254_740_991)
        [updated] = (await take(watcher, result=None))["changes"]
        assert (updated["type"], updated["value"], updated["expires_at"]) == ("updated", [2], 9_007_199_254_740_991)
        await writer.call("state::delete", {"scope": scope, "key": "k"})
        [deleted] = (await take(watcher, result=None))["changes"]
        assert (deleted["type"], "value" in deleted) == ("deleted", False)
        await write(writer, scope, "gone", 1, expires_at=0)
        gone = await take(watcher, result=None)
        while len(gone["changes"]) < 2:  # both writes may come in one delivery or in two
            gone["changes"] += (await take(watcher, result=None))["changes"]
        assert [one["type"] for one in gone["changes"]] == ["created", "expired"]
        await write(writer, scope, "a", 1)
        await take(watcher, result=None)
        await writer.call("state::delete_scope", {"scope": scope})
        [emptied] = (await take(watcher, result=None))["changes"]
        assert emptied == {"position": emptied["position"], "type": "scope_deleted", "scope": scope}


async def test_what_is_written_together_comes_together(engine: EngineProcess) -> None:
    scope, function = unique("scope"), unique("watcher")
    async with connect(engine.worker) as watcher, connect(engine.worker) as writer:
        await watch(watcher, function, scope=scope)
        entries = [{"key": f"k{number}", "value": number} for number in range(150)]
        written = (await writer.call("state::set_many", {"scope": scope, "entries": entries}))["result"]
        told = await take(watcher, result=None)
        assert [one["value"] for one in told["changes"]] == list(range(150))
        assert {one["position"] for one in told["changes"]} == {told["position"]} == {written["version"]}


async def test_a_prefix_chooses_keys(engine: EngineProcess) -> None:
    scope, function = unique("scope"), unique("watcher")
    async with connect(engine.worker) as watcher, connect(engine.worker) as writer:
        await watch(watcher, function, scope=scope, prefix="user:")
        await write(writer, scope, "order:1", 1)
        await write(writer, scope, "user:1", 1)
        assert [one["key"] for one in (await take(watcher, result=None))["changes"]] == ["user:1"]


async def test_a_failed_delivery_comes_again(engine: EngineProcess) -> None:
    scope, function = unique("scope"), unique("watcher")
    async with connect(engine.worker) as watcher, connect(engine.worker) as writer:
        await watch(watcher, function, scope=scope)
        await write(writer, scope, "k", 1)
        first = await take(watcher, error={"code": "BUSY", "message": "later"})
        await write(writer, scope, "k", 2)
        assert await take(watcher, result=None) == first
        [second] = (await take(watcher, result=None))["changes"]
        assert second["value"] == 2


async def test_another_connection_goes_on_where_one_ended(engine: EngineProcess) -> None:
    scope, function = unique("scope"), unique("watcher")
    async with connect(engine.worker) as writer:
        async with connect(engine.worker) as watcher:
            await watch(watcher, function, scope=scope)
            await write(writer, scope, "a", 1)
            taken = await take(watcher, result=None)
            await write(writer, scope, "b", 2)
            await watcher.expect("invokefunction")  # and it goes away without an answer
        await write(writer, scope, "c", 3)
        async with connect(engine.worker) as back:
            other = unique("watcher")
            assert (await watch(back, other, scope=scope, since=taken["position"]))["position"] == taken["position"]
            keys: list[str] = []
            while len(keys) < 2:
                keys += [one["key"] for one in (await take(back, result=None))["changes"]]
            assert keys == ["b", "c"]


async def test_the_future_is_not_known(engine: EngineProcess) -> None:
    function = unique("watcher")
    async with connect(engine.worker) as client:
        position = (await watch(client, function))["position"]
        far = position + 1_000_000
        answer = await client.call("state::watch", {"function_id": function, "since": far})
        assert answer["error"]["code"] == "HISTORY_LOST"
        assert answer["error"]["message"].startswith(f"changes after position {far} are not known any more; read the")


async def test_unwatch_ends_it_for_its_own_connection(engine: EngineProcess) -> None:
    scope, function = unique("scope"), unique("watcher")
    async with connect(engine.worker) as watcher, connect(engine.worker) as writer:
        watch_id = (await watch(watcher, function, scope=scope))["watch_id"]
        assert (await writer.call("state::unwatch", {"watch_id": watch_id}))["result"] == {"removed": False}
        assert (await watcher.call("state::unwatch", {"watch_id": watch_id}))["result"] == {"removed": True}
        await write(writer, scope, "k", 1)
        assert await watcher.until_pong() == []


async def test_only_an_own_function_can_watch(engine: EngineProcess) -> None:
    function = unique("watcher")
    async with connect(engine.worker) as owner, connect(engine.worker) as other:
        await owner.register(function)
        answer = await other.call("state::watch", {"function_id": function})
        text = f'field `function_id`: this connection has not registered "{function}"'
        assert answer["error"]["message"] == f"Failed to deserialize input for state::watch: {text}"
