"""State survives its engine: an orderly end loses nothing, a kill loses nothing that was answered."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import yaml

from tests.contract.conftest import VARIANTS
from tests.support.deadlines import START_S
from tests.support.engine_process import DURABLE, LISTENING, EngineProcess
from tests.support.line_process import LineProcess
from tests.support.raw_client import ClosedByEngine, RawClient, connect

SYNC_LEVELS: Final = ("always", "interval", "never")

Restart = Callable[..., EngineProcess]


@pytest.fixture(params=[name for name, (backend, *_) in VARIANTS.items() if backend in DURABLE])
def variant(request: pytest.FixtureRequest) -> str:
    """Which engine, of those that keep state in files."""
    name: str = request.param
    return name


@pytest.fixture
def restart(variant: str, tmp_path: Path) -> Generator[Restart]:
    """Starts an engine on the test's directory, with ``kv`` as the block of its adapter."""
    with ExitStack() as stack:

        def start(**kv: Any) -> EngineProcess:
            config = tmp_path / "engine.yaml"
            config.write_text(yaml.safe_dump({"workers": [{"name": "state", "config": {"adapter": {"config": kv}}}]}))
            place = ["--data-dir", str(tmp_path / "data")]
            return stack.enter_context(EngineProcess(*VARIANTS[variant], "-c", str(config), *place))

        yield start


async def end(engine: EngineProcess) -> None:
    """Ends an engine in order; it has ended well."""
    engine.process.signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(engine.process.wait, START_S) == 0


async def write(client: RawClient, key: str, value: Any, **more: Any) -> None:
    answer = await client.call("state::set", {"scope": "s", "key": key, "value": value, **more})
    assert "error" not in answer, answer


async def entries(engine: EngineProcess) -> dict[str, Any]:
    async with connect(engine.worker) as client:
        keys = (await client.call("state::list_keys", {"scope": "s"}))["result"]["keys"]
        values = (await client.call("state::list", {"scope": "s"}))["result"]
    return dict(zip(keys, values, strict=True))


async def answers_until_goodbye(client: RawClient) -> int:
    """How many results come before the engine closes the connection."""
    count = 0
    while True:
        try:
            await client.expect("invocationresult")
        except ClosedByEngine:
            return count
        count += 1


async def state_of(client: RawClient) -> dict[str, Any]:
    """What the health check tells about state."""
    answer = await client.call("engine::health::check", {})
    details: dict[str, Any] = answer["result"]["components"]["state"]["details"]
    return details


@pytest.mark.parametrize("sync", SYNC_LEVELS)
async def test_an_orderly_end_loses_nothing(restart: Restart, sync: str) -> None:
    engine = restart(sync=sync)
    async with connect(engine.worker) as client:
        for number in range(50):
            await write(client, f"k{number}", {"n": number})
        await client.call(
            "state::update", {"scope": "s", "key": "k0", "ops": [{"type": "increment", "path": "n", "by": 1}]}
        )
        await client.call("state::delete", {"scope": "s", "key": "k1"})
        await write(client, "k2", 1.50)
        before = await state_of(client)
        assert (before["kind"], before["sync"], before["keys"]) == ("file", sync, 49)
    await end(engine)
    again = restart(sync=sync)
    wanted = {"k0": {"n": 1}, "k2": 1.5} | {f"k{number}": {"n": number} for number in range(3, 50)}
    found = await entries(again)
    assert found == wanted
    assert list(found) == list(wanted)
    async with connect(again.worker) as client:
        await write(client, "new", 1)
        assert (await state_of(client))["position"] > before["position"]


@pytest.mark.parametrize("sync", SYNC_LEVELS)
async def test_a_kill_loses_nothing_that_was_answered(restart: Restart, sync: str) -> None:
    engine, answered = restart(sync=sync), 0
    async with connect(engine.worker) as client:
        for number in range(200):
            await client.invoke("state::set", {"scope": "s", "key": f"k{number}", "value": number})
        for _ in range(100):
            await client.expect("invocationresult")
            answered += 1
        engine.kill()
    found = await entries(restart(sync=sync))
    assert list(found) == [f"k{number}" for number in range(len(found))]
    assert len(found) >= answered


async def test_what_was_answered_before_the_goodbye_is_there_afterwards(restart: Restart) -> None:
    engine = restart()
    async with connect(engine.worker) as client:
        for number in range(500):
            await client.invoke("state::set", {"scope": "s", "key": f"k{number}", "value": number})
        engine.process.signal(signal.SIGTERM)
        answered = await answers_until_goodbye(client)
        await client.send_close(1012)
    assert await trio.to_thread.run_sync(engine.process.wait, START_S) == 0
    found = await entries(restart())
    assert list(found) == [f"k{number}" for number in range(len(found))]
    assert len(found) >= answered


async def test_a_watch_goes_on_across_a_restart(restart: Restart) -> None:
    engine = restart()
    async with connect(engine.worker) as client:
        await write(client, "a", 1)
        position = (await state_of(client))["position"]
        await write(client, "b", 2)
    await end(engine)
    async with connect(restart().worker) as client:
        await client.register("watcher")
        await client.call("state::watch", {"function_id": "watcher", "since": position})
        [change] = (await client.expect("invokefunction"))["data"]["changes"]
        assert (change["key"], change["value"]) == ("b", 2)


async def test_an_expiry_counts_while_nobody_runs(restart: Restart) -> None:
    engine = restart()
    async with connect(engine.worker) as client:
        await write(client, "short", 1, ttl_ms=1)
        await write(client, "long", 1, ttl_ms=3_600_000)
    await end(engine)
    assert await entries(restart()) == {"long": 1}


async def test_a_directory_belongs_to_one_engine(restart: Restart) -> None:
    restart()
    with pytest.raises(AssertionError, match=r"iii-fast: .*(in use|used by)"):
        restart()


async def test_one_call_may_ask_for_the_disk(restart: Restart) -> None:
    engine = restart(sync="never")
    async with connect(engine.worker) as client:
        await write(client, "k", 1, durable=True)
        assert (await state_of(client))["synced"] >= 1


async def test_a_disk_that_fails_is_told_to_writers_health_log_and_caller(variant: str, tmp_path: Path) -> None:
    ports = ["--port", "0", "--http-port", "0", "--data-dir", str(tmp_path / "data")]
    serve = [sys.executable, "-m", "iii_fast", "serve", "--backend", *VARIANTS[variant], *ports]
    # No file of this process can grow beyond 32 KiB.
    with LineProcess(["bash", "-c", f"ulimit -f 32; exec {shlex.join(serve)}"]) as process:
        found = LISTENING.search(process.wait_for(lambda line: LISTENING.search(line) is not None, START_S))
        assert found is not None
        async with connect((found[1], int(found[2]))) as client:
            answered: dict[str, Any] = {}
            while len(answered) < 100:
                key, value = f"k{len(answered)}", "x" * 3000
                answer = await client.call("state::set", {"scope": "s", "key": key, "value": value})
                if "error" in answer:
                    break
                answered[key] = value
            assert answer["error"]["code"] == "STORAGE_FAILED"
            assert (await client.call("state::get", {"scope": "s", "key": "k0"}))["result"] == answered["k0"]
            health = (await client.call("engine::health::check", {}))["result"]
            assert (health["status"], health["components"]["state"]["status"]) == ("unhealthy", "unhealthy")
            assert "File too large" in health["components"]["state"]["details"]["failure"]
        process.wait_for(lambda line: "STATE CANNOT BE WRITTEN ANY MORE" in line, START_S)
        process.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(process.wait, START_S) == 1
        assert process.lines[-1].startswith("iii-fast: state could not be written to the end: ")
    with EngineProcess(*VARIANTS[variant], "--data-dir", str(tmp_path / "data")) as engine:
        assert (await entries(engine)).items() >= answered.items()


async def test_a_snapshot_that_fails_is_told_to_health_and_log_and_made_later(restart: Restart, tmp_path: Path) -> None:
    engine = restart(sync="interval", segment_bytes=1 << 20, history_bytes_max=0)
    in_the_way = tmp_path / "data" / "snapshot-00000001-00000.snap.tmp"
    in_the_way.mkdir()
    async with connect(engine.worker) as client:

        async def write_until(is_over: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            with trio.fail_after(START_S):
                while True:
                    await write(client, "k", "x" * 300_000)
                    details = await state_of(client)
                    if is_over(details):
                        return details

        details = await write_until(lambda details: "snapshot_failure" in details)
        assert in_the_way.name in details["snapshot_failure"]
        told = engine.process.wait_for(lambda line: "NO SNAPSHOT COULD BE WRITTEN" in line, START_S)
        assert in_the_way.name in told
        await trio.to_thread.run_sync(in_the_way.rmdir)
        await write_until(lambda details: "snapshot_failure" not in details)
    assert not (tmp_path / "data" / "journal-00000000000000000001.log").exists()
    await end(engine)
    assert len((await entries(restart()))["k"]) == 300_000


async def test_in_memory_nothing_survives_and_nothing_is_promised(variant: str) -> None:
    with EngineProcess(*VARIANTS[variant], "--in-memory") as engine:
        async with connect(engine.worker) as client:
            answer = await client.call("state::set", {"scope": "s", "key": "k", "value": 1, "durable": True})
            assert answer["error"]["code"] == "DURABILITY_UNAVAILABLE"
            assert (await state_of(client))["kind"] == "memory"
            assert await entries(engine) == {}
