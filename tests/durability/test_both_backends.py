"""A directory that one backend has written is opened by every other: all that can be seen of state is the same there.

The pairs are those of the backends that keep state in files.
"""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
import trio
import yaml

from tests.durability import golden
from tests.support.deadlines import START_S
from tests.support.engine_process import DURABLE, EngineProcess
from tests.support.raw_client import BINARY, RawClient, connect, encode_frame

PAIRS: Final = list(itertools.product(sorted(DURABLE), repeat=2))
SEGMENT_BYTES: Final = 1 << 20  # the smallest that can be configured

Start = Callable[..., EngineProcess]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    """Starts an engine of a backend on the test's directory, with ``kv`` as the block of its adapter."""
    with ExitStack() as stack:

        def begin(backend: str, **kv: Any) -> EngineProcess:
            config = tmp_path / "engine.yaml"
            config.write_text(yaml.safe_dump({"workers": [{"name": "state", "config": {"adapter": {"config": kv}}}]}))
            place = ["--data-dir", str(tmp_path / "data")]
            return stack.enter_context(EngineProcess(backend, "-c", str(config), *place))

        yield begin


async def end(engine: EngineProcess, how: str) -> None:
    """Ends an engine in order, or kills it."""
    if how == "kill":
        engine.kill()
        return
    engine.process.signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(engine.process.wait, START_S) == 0


async def ask(client: RawClient, function: str, **members: Any) -> str:
    """Calls ``state::<function>``; the text of its result as it came."""
    await client.invoke(f"state::{function}", members)
    text = (await client.receive_message()).payload.decode()
    assert '"error":' not in text, text
    return text.partition('"result":')[2]


async def pages(client: RawClient, scope: str) -> list[str]:
    """A scope page by page."""
    found: list[str] = []
    cursor: str | None = None
    while not found or cursor is not None:
        found.append(await ask(client, "list_entries", scope=scope, cursor=cursor, limit=2))
        cursor = json.loads(found[-1][:-1])["next_cursor"]
    return found


async def position(client: RawClient) -> int:
    details = (await client.call("engine::health::check", {}))["result"]["components"]["state"]["details"]
    assert details["kind"] == "file"
    found: int = details["position"]
    return found


async def observe(client: RawClient) -> dict[str, Any]:
    """Everything that can be seen: scopes, keys in order, values as text, versions, expiries, pages, the position."""
    seen: dict[str, Any] = {"position": await position(client)}
    groups = await ask(client, "list_groups")
    for scope in json.loads(groups[:-1])["groups"]:
        keys = json.loads((await ask(client, "list_keys", scope=scope))[:-1])["keys"]
        items = [{"key": key} for key in keys]
        metas = await ask(client, "get_many", scope=scope, keys=items, meta=True)
        seen[scope] = (keys, metas, await pages(client, scope), await ask(client, "list", scope=scope))
    return seen


async def feed(client: RawClient, since: int, until: int) -> list[dict[str, Any]]:
    """The changes from one position to another."""
    await client.register("watcher")
    await client.call("state::watch", {"function_id": "watcher", "since": since})
    changes: list[dict[str, Any]] = []
    while not changes or changes[-1]["position"] < until:
        invocation = await client.expect("invokefunction")
        changes += invocation["data"]["changes"]
        await client.send(
            "invocationresult", invocation_id=invocation["invocation_id"], function_id="watcher", result=None
        )
    return changes


async def write(client: RawClient, number: int) -> None:
    """Some of everything; ``number`` makes it differ from other times."""
    for function, members in [
        ("set", {"scope": "a", "key": "object", "value": {"n": number, "text": 'é "\\\n'}}),
        ("set", {"scope": "a", "key": f"k{number}", "value": 1.50}),
        ("update", {"scope": "a", "key": "object", "ops": [{"type": "increment", "path": "n", "by": 1}]}),
        ("set_many", {"scope": "b", "entries": [{"key": f"{n % 4}", "value": [n, number]} for n in range(7)]}),
        ("set", {"scope": "b", "key": "later", "value": number, "expires_at": golden.FAR + number}),
        ("set", {"scope": "b", "key": "gone", "value": None, "expires_at": 1}),
        ("delete_many", {"scope": "b", "keys": [{"key": "1"}, {"key": "absent"}]}),
        ("set", {"scope": f"only-{number}", "key": "", "value": "x" * 300}),
        ("set", {"scope": "c\0d", "key": "k", "value": number}),
        ("delete_scope", {"scope": "c\0d"}),
        ("transact", {
            "checks": [{"scope": "b", "key": "1", "absent": True}],
            "ops": [
                {"type": "set", "scope": "b", "key": "t", "value": 1},
                {"type": "delete", "scope": "b", "key": "t"},
                {"type": "set", "scope": "b", "key": "t", "value": number},
                {"type": "update", "scope": "a", "key": "object", "ops": [{"type": "remove", "path": "text"}]},
            ],
        }),
        ("compare-and-set", {"scope": "a", "key": f"c{number}", "value": number, "ttl_ms": 3_600_000_000}),
    ]:  # fmt: skip
        await ask(client, function, **members)


@pytest.mark.parametrize("how", ["end", "kill"])
@pytest.mark.parametrize(("writer", "reader"), PAIRS)
async def test_what_one_has_written_another_goes_on_with(start: Start, writer: str, reader: str, how: str) -> None:
    seen: dict[str, Any] = {}
    changes: list[dict[str, Any]] = []
    for number, backend in enumerate([writer, reader, writer]):
        engine = start(backend)
        async with connect(engine.worker) as client:
            if number:
                assert await observe(client) == seen
                assert await feed(client, 0, seen["position"]) == changes
        async with connect(engine.worker) as client:
            await write(client, number)
            seen = await observe(client)
            changes = await feed(client, 0, seen["position"])
        await end(engine, how)


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
async def test_what_is_in_a_snapshot_is_read_by_another(start: Start, tmp_path: Path, writer: str, reader: str) -> None:
    seen: dict[str, Any] = {}
    for number, backend in enumerate([writer, reader, writer]):
        # Before the start, which may have reason for a snapshot of its own.
        before = set((tmp_path / "data").glob("snapshot-*.snap"))
        engine = start(backend, segment_bytes=SEGMENT_BYTES, history_bytes_max=0)
        async with connect(engine.worker) as client:
            if number:
                assert await observe(client) == seen
            await write(client, number)
            while True:
                await ask(client, "set", scope="d", key="large", value="x" * 100_000)
                snapshots = set((tmp_path / "data").glob("snapshot-*.snap"))
                if snapshots and not snapshots & before:
                    break
            await write(client, number + 10)
            seen = await observe(client)
        await end(engine, "kill")


async def packed(client: RawClient, function: str, **members: Any) -> Any:
    """Calls ``state::<function>`` in msgpack; its result."""
    message = {"type": "invokefunction", "invocation_id": "1", "function_id": f"state::{function}", "data": members}
    await client.send_raw(encode_frame(BINARY, msgpack.packb(message)))
    answer = msgpack.unpackb((await client.receive_message()).payload, strict_map_key=False)
    return answer["result"]


@pytest.mark.parametrize("in_snapshot", [False, True])
@pytest.mark.parametrize(("writer", "reader"), PAIRS)
async def test_msgpack_is_kept_as_it_came(
    start: Start, tmp_path: Path, writer: str, reader: str, in_snapshot: bool
) -> None:
    value = {"photo": b"\x00\xff", "at": [msgpack.Timestamp(5)], 7: "seven", "n": 1.5}
    engine = start(writer, segment_bytes=SEGMENT_BYTES)
    async with connect(engine.worker) as client:
        assert (await packed(client, "set", scope="s", key="k", value=value))["new_value"] == value
        await packed(client, "set", scope="s", key="plain", value=[1, "é"])
        while in_snapshot and not set((tmp_path / "data").glob("snapshot-*.snap")):
            await ask(client, "set", scope="d", key="large", value="x" * 100_000)
    await end(engine, "kill")
    engine = start(reader, segment_bytes=SEGMENT_BYTES)
    async with connect(engine.worker) as client:
        assert await packed(client, "get", scope="s", key="k") == value
        assert (await packed(client, "get", scope="s", key="plain")) == [1, "é"]
        assert await ask(client, "get", scope="s", key="plain") == '[1,"é"]}'
        error = (await client.call("state::list", {"scope": "s"}))["error"]
        assert error["message"] == "`result[0].photo` is binary, which JSON cannot express"
    await end(engine, "end")


@pytest.mark.parametrize("backend", sorted(DURABLE))
async def test_files_that_were_written_by_hand(start: Start, tmp_path: Path, backend: str) -> None:
    for files, entries, last in [
        (golden.JOURNAL_ONLY, {"s": '[{"value":2,"version":3,"expires_at":null},'
                                    '{"value":"x","version":2,"expires_at":null}]',
                               "t": '[{"value":0,"version":4,"expires_at":null}]'}, 4),
        (golden.WITH_SNAPSHOT, {"": '[{"value":null,"version":6,"expires_at":null}]',
                                "s": f'[{{"value":1,"version":300,"expires_at":{golden.FAR}}}]',
                                "t": '[{"value":2,"version":301,"expires_at":null}]'}, 301),
    ]:  # fmt: skip
        directory = tmp_path / "data"
        await trio.to_thread.run_sync(_put, directory, files)
        engine = start(backend)
        async with connect(engine.worker) as client:
            seen = await observe(client)
        assert {scope: found[1] for scope, found in seen.items() if scope != "position"} == {
            scope: f'{{"entries":{texts}}}}}' for scope, texts in entries.items()
        }
        assert seen["position"] == last
        await end(engine, "end")
        await trio.to_thread.run_sync(directory.rename, tmp_path / f"done-{last}")


def _put(directory: Path, files: dict[str, bytes]) -> None:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
