"""Two engines on one Redis server: each sees what the other has written, and nothing is lost between them."""

from __future__ import annotations

from typing import Any, Final

import trio

from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import EngineProcess
from tests.support.polling import until
from tests.support.raw_client import RawClient, connect
from tests.support.redis_server import RedisServer

CLIENTS: Final = 8
ROUNDS: Final = 25


async def state(client: RawClient, name: str, **data: Any) -> Any:
    """The result of a call that must succeed."""
    answer = await client.call(f"state::{name}", data)
    assert "error" not in answer, answer
    return answer.get("result")


async def test_a_ring_of_engines_and_loops(engine: EngineProcess, other: EngineProcess) -> None:
    """Everybody reads what the one before has written, and writes the next."""
    with trio.fail_after(ANSWER_S):
        async with connect(engine.worker) as a, connect(other.worker) as b, connect(other.worker) as c:
            ring = [a, b, c]
            assert await state(a, "get", scope="ring", key="n") is None
            for number in range(60):
                writer, reader = ring[number % 3], ring[(number + 1) % 3]
                await state(writer, "set", scope="ring", key="n", value={"n": number})
                assert await state(reader, "get", scope="ring", key="n") == {"n": number}
                await state(reader, "update", scope="ring", key="u", ops=[{"type": "increment", "path": "n", "by": 1}])
                assert await state(writer, "get", scope="ring", key="u") == {"n": number + 1}
            assert await state(b, "list", scope="ring") == [{"n": 59}, {"n": 60}]
            assert await state(c, "delete_scope", scope="ring") == {"deleted": 2, "version": await last(a)}
            assert await state(a, "list_keys", scope="ring") == {"keys": []}


async def last(client: RawClient) -> int:
    """The last position, from a write that is made for it."""
    position: int = (await state(client, "set_many", scope="last", entries=[{"key": "k", "value": 0}]))["version"]
    return position - 1


async def test_no_increment_is_lost(engine: EngineProcess, other: EngineProcess) -> None:
    """Also where calls of one connection are under way together."""

    async def increment(worker: tuple[str, int]) -> None:
        async with connect(worker) as client:
            for _ in range(ROUNDS):
                ops = [{"type": "increment", "path": "n", "by": 1}]
                for _ in range(2):
                    await client.invoke("state::update", {"scope": "inc", "key": "one", "ops": ops})
                for _ in range(2):
                    answer = await client.expect("invocationresult")
                    assert "error" not in answer, answer
                    assert "errors" not in answer["result"], answer

    with trio.fail_after(4 * ANSWER_S):
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(increment, engine.worker)
                nursery.start_soon(increment, other.worker)
        async with connect(engine.worker) as client:
            assert await state(client, "get", scope="inc", key="one") == {"n": 2 * 2 * CLIENTS * ROUNDS}


async def test_one_compare_and_set_wins_each_round(engine: EngineProcess, other: EngineProcess) -> None:
    """By value and by version: who has swapped has seen what was there, and nobody else has swapped from there."""
    won: list[int] = []

    async def compete(worker: tuple[str, int], by_version: bool) -> None:
        async with connect(worker) as client:
            while True:
                entry = await state(client, "get", scope="cas", key="k", meta=True)
                number, version = (entry["value"], entry["version"]) if entry else (0, None)
                if number == 200:
                    return
                seen = {} if entry is None else {"version": version} if by_version else {"expected": float(number)}
                result = await state(client, "compare-and-set", scope="cas", key="k", value=number + 1, **seen)
                if result["swapped"]:
                    assert result["current"] == number + 1
                    won.append(number + 1)

    with trio.fail_after(4 * ANSWER_S):
        async with trio.open_nursery() as nursery:
            for worker in (engine.worker, other.worker):
                for by_version in (True, False, True):
                    nursery.start_soon(compete, worker, by_version)
    assert sorted(won) == list(range(1, 201))


async def test_transactions_keep_a_sum(engine: EngineProcess, other: EngineProcess) -> None:
    """Money is moved between accounts while others look at all of them at one instant."""
    accounts = ("x", "y", "z")
    done = trio.Event()

    async def move(worker: tuple[str, int], start: int) -> None:
        async with connect(worker) as client:
            for number in range(ROUNDS):
                source, target = accounts[(start + number) % 3], accounts[(start + number + 1) % 3]
                ops = [
                    {"type": "update", "scope": "sum", "key": key, "ops": [{"type": kind, "path": "n", "by": 1}]}
                    for key, kind in ((source, "decrement"), (target, "increment"))
                ]
                result = await state(client, "transact", ops=ops)
                assert result["committed"], result

    async def look(worker: tuple[str, int]) -> None:
        async with connect(worker) as client:
            while not done.is_set():
                found = await state(client, "get_many", scope="sum", keys=[{"key": key} for key in accounts])
                assert sum(value["n"] for value in found["values"]) == 300
                assert sum(value["n"] for value in await state(client, "list", scope="sum")) == 300

    with trio.fail_after(4 * ANSWER_S):
        async with connect(engine.worker) as client:
            entries = [{"key": key, "value": {"n": 100}} for key in accounts]
            await state(client, "set_many", scope="sum", entries=entries)
        async with trio.open_nursery() as outer:
            outer.start_soon(look, engine.worker)
            outer.start_soon(look, other.worker)
            async with trio.open_nursery() as movers:
                for start in range(4):
                    movers.start_soon(move, engine.worker, start)
                    movers.start_soon(move, other.worker, start)
            done.set()


async def test_pages_miss_nothing_while_others_write(engine: EngineProcess, other: EngineProcess) -> None:
    done = trio.Event()

    async def disturb() -> None:
        async with connect(other.worker) as client:
            number = 0
            while not done.is_set():
                number += 1
                await state(client, "set", scope="pages", key=f"new {number}", value=number)
                await state(client, "set", scope="pages", key=f"kept {number % 40}", value=-number)
                await state(client, "delete", scope="pages", key=f"new {number - 5}")

    with trio.fail_after(4 * ANSWER_S):
        async with connect(engine.worker) as client:
            entries = [{"key": f"kept {number}", "value": number} for number in range(40)]
            await state(client, "set_many", scope="pages", entries=entries)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb)
                for _ in range(5):
                    assert await all_keys(client) == [f"kept {number}" for number in range(40)]
                done.set()


async def all_keys(client: RawClient) -> list[str]:
    """Those that stay, over pages of three."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await state(client, "list_entries", scope="pages", limit=3, **cursor)
        found += [key for key, _ in page["entries"] if key.startswith("kept")]
        if page["done"] or len(found) == 40:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_what_expires_is_gone_at_once_and_later_from_redis_too(
    redis: RedisServer, engine: EngineProcess, other: EngineProcess
) -> None:
    with trio.fail_after(2 * ANSWER_S):
        async with connect(engine.worker) as a, connect(other.worker) as b:
            await state(a, "set", scope="ttl", key="short", value=1, ttl_ms=300)
            await state(a, "set", scope="ttl", key="long", value=2, ttl_ms=3_600_000)
            before = trio.current_time()
            while await state(b, "get", scope="ttl", key="short") is not None:
                assert trio.current_time() < before + ANSWER_S
            for client in (a, b):
                assert await state(client, "list", scope="ttl") == [2]
                assert await state(client, "list_keys", scope="ttl") == {"keys": ["long"]}
                assert (await state(client, "list_entries", scope="ttl"))["total"] == 1
                assert await state(client, "get_many", scope="ttl", keys=[{"key": "short"}]) == {"values": [None]}
                assert await state(client, "delete", scope="ttl", key="short") is None
            await until(lambda: redis.command("HEXISTS", "iii-fast:state:ttl", "short") == "0")
            assert redis.command("ZCARD", "iii-fast:order:ttl") == "1"


async def test_scripts_that_redis_has_lost_are_brought_again(redis: RedisServer, engine: EngineProcess) -> None:
    with trio.fail_after(ANSWER_S):
        async with connect(engine.worker) as client:
            await state(client, "set", scope="flush", key="k", value={"n": 1})
            redis.command("SCRIPT", "FLUSH")
            assert await state(client, "set", scope="flush", key="k", value={"n": 2}) == {
                "old_value": {"n": 1},
                "new_value": {"n": 2},
            }
            redis.command("SCRIPT", "FLUSH")
            for _ in range(3):
                ops = [{"type": "increment", "path": "n", "by": 1}]
                await client.invoke("state::update", {"scope": "flush", "key": "k", "ops": ops})
            for _ in range(3):
                assert "error" not in await client.expect("invocationresult")
            assert await state(client, "get", scope="flush", key="k") == {"n": 5}


async def test_state_triggers_hear_of_writes_through_their_engine(engine: EngineProcess) -> None:
    with trio.fail_after(ANSWER_S):
        async with connect(engine.worker) as listener, connect(engine.worker) as writer:
            await listener.register("heard")
            trigger = {"id": "t", "trigger_type": "state", "function_id": "heard", "config": {"scope": "told"}}
            await listener.send("registertrigger", **trigger)
            assert [message.get("error") for message in await listener.until_pong()] in ([], [None])
            await state(writer, "set", scope="told", key="k", value=1)
            await state(writer, "update", scope="told", key="k", ops=[{"type": "set", "path": "", "value": 2}])
            ops = [
                {"type": "delete", "scope": "told", "key": "k"},
                {"type": "set", "scope": "told", "key": "k", "value": 3},
            ]
            await state(writer, "transact", ops=ops)
            await state(writer, "set", scope="told", key="past", value=4, expires_at=1)
            await state(writer, "delete_scope", scope="told")
            heard: dict[str, list[tuple[str, Any, Any]]] = {"k": [], "past": []}
            for _ in range(7):
                event = (await listener.serve_one(result=None))["data"]
                heard[event["key"]].append((event["event_type"], event["old_value"], event["new_value"]))
            assert heard["k"] == [
                ("state:created", None, 1),
                ("state:updated", 1, 2),
                ("state:deleted", 2, None),
                ("state:created", None, 3),
                ("state:deleted", 3, None),
            ]
            assert heard["past"] == [("state:created", None, 4), ("state:expired", 4, None)]
