"""While the disk stands still: nobody is served without a bound, and others go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import yaml

from tests.support.deadlines import ANSWER_S
from tests.support.durable import DURABLE_BACKENDS, SEGMENT_BYTES
from tests.support.engine_process import EngineProcess
from tests.support.raw_client import RawClient, connect

THROTTLE_BYTES: Final = 1 << 20
VALUE: Final = "x" * (64 << 10)
SETS: Final = 200
LOOKS: Final = 50
"""How often others are served while the one that waits must not be."""


class StalledDisk:
    """A directory with a journal whose second segment cannot be opened until somebody reads the pipe in its place."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "data"
        self.directory.mkdir()
        self._pipe = self.directory / "journal-00000000000000000002.log"
        os.mkfifo(self._pipe)
        self._configuration = place / "engine.yaml"
        adapter = {"name": "kv", "config": {"segment_bytes": SEGMENT_BYTES}}
        workers = [{"name": "state", "config": {"adapter": adapter}}]
        limits = {"outbox_throttle_bytes": THROTTLE_BYTES}
        self._configuration.write_text(yaml.safe_dump({"workers": workers, "limits": limits}))

    def start(self, backend: str) -> EngineProcess:
        """A running engine."""
        return EngineProcess(backend, "-c", str(self._configuration), "--data-dir", str(self.directory))

    async def stall(self, client: RawClient) -> None:
        """Fills the first segment: what is written from now on is not acknowledged."""
        await client.invoke("state::set", {"scope": "filled", "key": "k", "value": "x" * SEGMENT_BYTES})
        first = trio.Path(self.directory / "journal-00000000000000000001.log")
        with trio.fail_after(ANSWER_S):
            while (await first.stat()).st_size < SEGMENT_BYTES:
                await client.until_pong()

    def fail(self) -> int:
        """The disk goes on, and fails: a pipe cannot be synced. Returns the descriptor that keeps it open."""
        return os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)


async def keys_of(client: RawClient) -> list[str]:
    found: list[str] = (await client.call("state::list_keys", {"scope": "s"}))["result"]["keys"]
    return found


@pytest.mark.deadline(60)
@pytest.mark.parametrize("backend", DURABLE_BACKENDS)
async def test_replies_that_wait_for_the_disk_count_where_a_worker_is_throttled(backend: str, tmp_path: Path) -> None:
    disk = StalledDisk(tmp_path)
    replies: list[dict[str, Any]] = []
    with await trio.to_thread.run_sync(disk.start, backend) as engine:
        async with connect(engine.worker) as filler, connect(engine.worker) as writer, connect(engine.worker) as other:
            await disk.stall(filler)
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    for number in range(SETS):
                        await writer.invoke("state::set", {"scope": "s", "key": f"k{number}", "value": VALUE})

                nursery.start_soon(write)
                throttled_at = THROTTLE_BYTES // len(VALUE)
                with trio.fail_after(ANSWER_S):
                    while len(await keys_of(other)) < throttled_at:
                        pass
                for _ in range(LOOKS):
                    assert len(await keys_of(other)) <= throttled_at + 1
                # When they have left, if only as errors, it is served on.
                pipe = disk.fail()
                while len(replies) < SETS:
                    replies.append(await writer.receive())
                os.close(pipe)
        assert all(reply["error"]["code"] == "STORAGE_FAILED" for reply in replies)
        engine.process.process.terminate()
        assert await trio.to_thread.run_sync(engine.process.wait, ANSWER_S) == 1
        engine.fails(1)
