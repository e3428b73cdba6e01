"""Redis goes away and comes back: errors meanwhile that say so, then everything goes on; nothing hangs."""

from __future__ import annotations

from typing import Any

import trio

from tests.support.deadlines import ANSWER_S, START_S
from tests.support.engine_process import EngineProcess
from tests.support.polling import until
from tests.support.raw_client import RawClient, connect
from tests.support.redis_server import RedisServer


async def error(client: RawClient, name: str, **data: Any) -> dict[str, str]:
    """The error of a call that must fail."""
    answer = await client.call(f"state::{name}", data)
    found: dict[str, str] = answer["error"]
    return found


async def status(client: RawClient) -> tuple[str, dict[str, Any]]:
    """What the health check says about state."""
    component = (await client.call("engine::health::check", {}))["result"]["components"]["state"]
    return component["status"], component["details"]


async def logged(engine: EngineProcess, text: str) -> None:
    """Waits for a line of the log."""
    await trio.to_thread.run_sync(engine.process.wait_for, lambda line: text in line, START_S)


async def until_healthy(client: RawClient, wanted: str = "healthy") -> None:
    """Asks until the answer is the one that is wanted."""
    while (await status(client))[0] != wanted:
        pass


async def test_an_engine_starts_without_redis_and_works_when_it_comes() -> None:
    with RedisServer() as server:
        server.stop()
        with server.engine() as engine, trio.fail_after(4 * ANSWER_S):
            async with connect(engine.worker) as client:
                await until_healthy(client, "unhealthy")
                _, details = await status(client)
                address = f"127.0.0.1:{server.port}/0"
                assert (details["kind"], details["address"], details["connected"]) == ("redis", address, False)
                refused = await error(client, "get", scope="s", key="k")
                assert refused["code"] == "STORAGE_UNAVAILABLE"
                assert refused["message"].startswith(f"Redis at {address} is away since 20")
                assert refused["message"] == details["failure"]
                assert (await error(client, "set", scope="s"))["code"] == "deserialization_error"
                await logged(engine, "State cannot be reached: Redis at")
                assert await trio.to_thread.run_sync(server.start)
                await until_healthy(client)
                assert (await client.call("state::set", {"scope": "s", "key": "k", "value": []}))["result"]
                await logged(engine, "State can be reached again")


async def test_redis_is_killed_under_load_and_comes_back() -> None:
    """Every call is answered, with a result or with the error; afterwards all clients get on."""
    seen: set[str] = set()
    back = trio.Event()

    async def keep_calling(worker: tuple[str, int], number: int) -> None:
        async with connect(worker) as client:
            while not back.is_set():
                for count in range(16):
                    data = {"scope": "s", "key": f"{number}", "ops": [{"type": "increment", "path": "n", "by": 1}]}
                    await client.invoke("state::get" if count % 2 else "state::update", data)
                for _ in range(16):
                    answer = await client.expect("invocationresult")
                    seen.add(answer["error"]["code"] if "error" in answer else "result")
                await trio.lowlevel.checkpoint()
            assert "error" not in await client.call("state::get", {"scope": "s", "key": "k"})

    with RedisServer() as server, server.engine("--loops", "2") as engine, trio.fail_after(6 * ANSWER_S):
        async with connect(engine.worker) as watcher, trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(keep_calling, engine.worker, number)
            for _ in range(3):
                seen.clear()
                await until(lambda: "result" in seen)
                server.stop()
                await until_healthy(watcher, "unhealthy")
                await until(lambda: "STORAGE_UNAVAILABLE" in seen)
                assert await trio.to_thread.run_sync(server.start)
                await until_healthy(watcher)
            back.set()
        assert seen <= {"result", "STORAGE_UNAVAILABLE"}


async def test_a_redis_that_is_silent_is_given_up() -> None:
    """It accepts and says nothing: calls end with an error that says whether they may have written."""
    with RedisServer() as server, server.engine() as engine, trio.fail_after(6 * ANSWER_S):
        async with connect(engine.worker) as client:
            assert (await client.call("state::set", {"scope": "s", "key": "k", "value": 1}))["result"]
            process = server.process
            process.send_signal(19)  # SIGSTOP
            try:
                written = await error(client, "set", scope="s", key="k", value=2)
            finally:
                process.send_signal(18)  # SIGCONT
            assert written["code"] == "STORAGE_UNAVAILABLE"
            assert "no answer within 5000 ms" in written["message"]
            assert written["message"].endswith("; the write may have happened")
            await until_healthy(client)
            assert (await client.call("state::get", {"scope": "s", "key": "k"}))["result"] in (1, 2)


async def test_password_and_database() -> None:
    with RedisServer("--requirepass", "a/b c") as server:
        url = f"redis://:a%2Fb%20c@127.0.0.1:{server.port}/3"
        with server.engine(url=url) as engine, trio.fail_after(2 * ANSWER_S):
            async with connect(engine.worker) as client:
                assert (await client.call("state::set", {"scope": "s", "key": "k", "value": 1}))["result"]
                _, details = await status(client)
                assert details["address"] == f"127.0.0.1:{server.port}/3"
            assert not any("a/b c" in line or "a%2Fb" in line for line in engine.process.lines)
        assert server.command("-a", "a/b c", "--no-auth-warning", "-n", "3", "HLEN", "iii-fast:state:s") == "1"


async def test_a_wrong_password_is_told() -> None:
    with (
        RedisServer("--requirepass", "right") as server,
        server.engine(url=f"redis://:wrong@127.0.0.1:{server.port}") as engine,
        trio.fail_after(2 * ANSWER_S),
    ):
        async with connect(engine.worker) as client:
            await until_healthy(client, "unhealthy")
            message = (await error(client, "get", scope="s", key="k"))["message"]
            assert "it answered AUTH with: WRONGPASS" in message


async def test_watches_and_durable_writes_are_refused() -> None:
    with RedisServer() as server, server.engine() as engine, trio.fail_after(2 * ANSWER_S):
        async with connect(engine.worker) as client:
            await client.register("f")
            answer = await client.call("state::watch", {"function_id": "f"})
            assert answer["error"]["code"] == "not_supported", answer
            refused = await error(client, "set", scope="s", key="k", value=1, durable=True)
            assert refused["code"] == "DURABILITY_UNAVAILABLE"
            assert "Redis" in refused["message"]
            assert "result" not in await client.call("state::get", {"scope": "s", "key": "k"})
