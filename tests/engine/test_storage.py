"""The engine around durable state: opening, what the log tells, failing disks, and the order of the end."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.config import Settings
from iii_fast.contracts import Recovered, Stats, Storage, StorageStats
from iii_fast.engine import FAILURE_POLL_S, Engine, serve_until_signal
from iii_fast.errors import StorageError
from tests.engine.conftest import LOCAL, running
from tests.engine.fake_backend import FakeBackend


def durable(directory: Path, **more: Any) -> Settings:
    return replace(LOCAL, storage=Storage(directory, **more))


def at(position: int, acknowledged: int, **more: str | None) -> Stats:
    """What a backend counts when writes have come so far."""
    return Stats(storage=replace(StorageStats("file", "always"), position=position, acknowledged=acknowledged, **more))


# Start


async def test_the_log_tells_what_was_recovered_and_where_state_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backend = FakeBackend(recovered=Recovered(3, 12, 4567))
    async with running(durable(tmp_path, sync="interval", sync_interval_ms=50), backend):
        assert backend.opened == 1
    assert f"Recovered 3 entries up to position 12 from {tmp_path}: 4567 bytes in 0.0" in caplog.text
    assert f"State is kept in {tmp_path} (sync: interval, 50 ms)" in caplog.text
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_what_was_cut_off_or_given_up_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = Recovered(torn_bytes=17, dropped_bytes=19, salvaged=tmp_path / "salvaged-7")
    async with running(durable(tmp_path), FakeBackend(recovered=found)):
        pass
    torn, dropped = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "Cut 17 bytes off the end of the journal" in torn
    assert "what is missing, and 19 damaged bytes, are given up" in dropped
    assert dropped.endswith(f"the files as they were, are in {tmp_path}/salvaged-7")


async def test_salvage_of_missing_files_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is dropped then: what is gone has no bytes."""
    async with running(durable(tmp_path), FakeBackend(recovered=Recovered(salvaged=tmp_path / "salvaged-7"))):
        pass
    [told] = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert told.startswith("SALVAGED: what is missing, and 0 damaged bytes")


async def test_state_in_memory_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    backend = FakeBackend()
    async with running(backend=backend):
        assert backend.opened == 1
    [line] = [one for one in caplog.records if "State is kept" in one.getMessage()]
    assert (line.levelname, line.getMessage()) == ("WARNING", "State is kept IN MEMORY ONLY: it ends with the engine")
    assert "Recovered" not in caplog.text


async def test_files_that_cannot_be_used_end_the_start_before_anybody_can_connect(tmp_path: Path) -> None:
    for serve in (Engine.serve, serve_until_signal):
        backend = FakeBackend(recovered=StorageError("journal-1.log is damaged"))
        with pytest.raises(StorageError, match=r"^journal-1\.log is damaged$"):
            await serve(Engine(durable(tmp_path), backend))
        assert not backend.served.is_set()


async def test_data_of_the_original_engine_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "users.bin").touch()
    backend = FakeBackend()
    with pytest.raises(StorageError, match=r"holds data of the original iii engine \(users\.bin\), .* --from-iii"):
        await Engine(durable(tmp_path), backend).serve()
    assert backend.opened == 0
    (tmp_path / "users.bin").rename(tmp_path / "users.bin.old")
    async with running(durable(tmp_path), backend):
        assert backend.opened == 1


# A disk that fails


async def test_a_failing_disk_is_told_once_by_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    backend = FakeBackend()
    engine = Engine(durable(tmp_path), backend)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine._tell_failures)
        await wait_all_tasks_blocked()
        assert "WRITTEN" not in caplog.text
        for snapshot_failure, told in [("a.snap: full", "NO SNAPSHOT COULD BE WRITTEN"), (None, "written again")]:
            backend.current = at(1, 0, snapshot_failure=snapshot_failure)
            for _ in range(3):
                mock_clock.jump(FAILURE_POLL_S)
                await wait_all_tasks_blocked()
            assert caplog.text.count(told) == 1
        assert "the journal grows until one can: a.snap: full" in caplog.text
        backend.current = at(1, 0, failure="a write to its files failed: full")
        for _ in range(3):
            mock_clock.jump(FAILURE_POLL_S)
            await wait_all_tasks_blocked()
    assert caplog.text.count("STATE CANNOT BE WRITTEN ANY MORE: a write to its files failed: full") == 1


@pytest.mark.parametrize("when", ["before", "while it ends"])
async def test_an_end_after_a_failed_write_is_no_good_end(tmp_path: Path, when: str) -> None:
    backend = FakeBackend()

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        backend.current = at(5, 4, failure="read-only: full")

    if when == "before":
        await fail()
    else:
        backend.write_out = fail
    engine = Engine(durable(tmp_path), backend)
    engine.shut_down()
    with pytest.raises(StorageError, match=r"^state could not be written to the end: read-only: full$"):
        await serve_until_signal(engine)


# The end


async def test_the_end_waits_for_answers_to_what_was_written_before(tmp_path: Path) -> None:
    backend = FakeBackend(current=at(7, 5))
    async with running(durable(tmp_path), backend) as started:
        started.engine.shut_down()
        await backend.counted.wait()
        await wait_all_tasks_blocked()
        assert backend.closed == []
        backend.current = at(9, 9)
        await started.ended.wait()
        assert backend.closed == [(1012, "engine restart")]


async def test_the_end_does_not_wait_for_answers_in_memory() -> None:
    backend = FakeBackend()
    backend.current = Stats(storage=StorageStats("memory", position=7, acknowledged=5))
    engine = Engine(LOCAL, backend)
    engine.shut_down()
    await engine.serve()


async def test_the_backend_ends_last_and_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    ending, release = trio.Event(), trio.Event()

    async def slow_type(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            events.append("trigger type ends")

    async def write_out() -> None:
        ending.set()
        await release.wait()
        events.append("written")

    engine = Engine(durable(tmp_path), FakeBackend(write_out=write_out))
    monkeypatch.setattr(engine._types.all()[0], "run", slow_type)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await engine.serve()
            events.append("engine ends")

        nursery.start_soon(serve)
        engine.shut_down()
        await ending.wait()
        await wait_all_tasks_blocked()
        assert events == ["trigger type ends"]
        release.set()
    assert events == ["trigger type ends", "written", "engine ends"]
