"""When writes to the disk fail: nothing that was acknowledged is lost, reads go on, and everybody is told why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from tests.support.deadlines import ANSWER_S
from tests.support.durable import DURABLE_BACKENDS, Durable
from tests.support.engine_process import EngineProcess
from tests.support.failing_disk import cannot_grow, enlarge, may_grow, may_mount, small_disk
from tests.support.pipelined import Pipelined, Refused, pipelined

ROOM_BYTES: Final = 300_000
"""How much more can be written before it fails."""
WRITES_MAX: Final = 3000
READ_ONLY: Final = "state is read-only since a write to its files failed: "

backends = pytest.mark.parametrize("backend", DURABLE_BACKENDS)


class FileLimit:
    """No file of the engine may grow beyond a size."""

    reasons = ("File too large",)

    @contextmanager
    def place(self, path: Path) -> Iterator[None]:
        yield

    def begin(self, engine: EngineProcess, durable: Durable) -> None:
        largest = max(path.stat().st_size for path in durable.files("journal-*.log"))
        cannot_grow(engine, largest + ROOM_BYTES)

    def end(self, engine: EngineProcess, path: Path) -> None:
        may_grow(engine)


class FullDisk:
    """A disk of some MB."""

    reasons = ("No space left on device",)

    def place(self, path: Path) -> AbstractContextManager[None]:
        return small_disk(path)

    def begin(self, engine: EngineProcess, durable: Durable) -> None:
        pass

    def end(self, engine: EngineProcess, path: Path) -> None:
        enlarge(path)


def disks() -> list[Any]:
    with tempfile.TemporaryDirectory() as place:
        return [FileLimit(), FullDisk()] if may_mount(Path(place)) else [FileLimit()]


class Filler:
    """Writes distinct entries, many at a time, until it is refused; ``acknowledged``: what the engine confirmed."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.refused: list[Refused] = []

    async def fill(self, connection: Pipelined) -> None:
        numbers = iter(range(len(self.acknowledged), WRITES_MAX))

        async def one_by_one() -> None:
            for number in numbers:
                if self.refused:
                    return
                data = {"scope": "filled", "key": f"k{number}", "value": {"n": number, "pad": "x" * 5_000}}
                try:
                    await connection.call("state::set", data)
                except Refused as refused:
                    self.refused.append(refused)
                else:
                    self.acknowledged.append(number)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one_by_one)
        assert self.refused, "the disk never failed"


async def found(connection: Pipelined) -> set[int]:
    return {one["n"] for one in await connection.call("state::list", {"scope": "filled"})}


def ends_with_status_1(engine: EngineProcess) -> None:
    """The engine is told to end, and its status tells that not all is well."""
    engine.process.process.terminate()
    assert engine.process.wait(ANSWER_S) == 1, engine.process.lines
    engine.fails(1)


@backends
@pytest.mark.parametrize("disk", disks(), ids=lambda disk: type(disk).__name__)
@pytest.mark.deadline(60)
async def test_a_disk_that_fails(backend: str, disk: FileLimit | FullDisk, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    with disk.place(place):
        durable, filler = Durable(place, backend), Filler()
        with await trio.to_thread.run_sync(durable.start) as engine:
            async with pipelined(engine.worker) as connection:
                disk.begin(engine, durable)
                await filler.fill(connection)
                await read_only(connection, filler, disk.reasons)
                # Room alone does not help: what the disk holds is unknown until somebody reads it.
                disk.end(engine, place)
                await read_only(connection, filler, disk.reasons)
            await trio.to_thread.run_sync(partial(ends_with_status_1, engine))
        with await trio.to_thread.run_sync(durable.start) as engine:
            async with pipelined(engine.worker) as connection:
                health = await connection.call("engine::health::check", {})
                assert health["status"] == "healthy"
                assert set(filler.acknowledged) <= await found(connection)
                await connection.call("state::set", {"scope": "filled", "key": "more", "value": {"n": -1}})
                assert -1 in await found(connection)


async def read_only(connection: Pipelined, filler: Filler, reasons: tuple[str, ...]) -> None:
    """Writes of all kinds are refused, reads are not, and health tells why."""
    assert {one.code for one in filler.refused} == {"STORAGE_FAILED"}
    entry = {"scope": "filled", "key": "late", "value": 1}
    calls: dict[str, Any] = {
        "state::set": entry,
        "state::delete": {"scope": "filled", "key": "k0"},
        "state::set_many": {"entries": [entry]},
        "state::compare-and-set": entry,
    }
    texts = {str(one) for one in filler.refused}
    for function_id, data in calls.items():
        with pytest.raises(Refused) as refused:
            await connection.call(function_id, data)
        texts.add(str(refused.value))
    [text] = texts  # one failure, one text
    assert READ_ONLY in text
    assert any(reason in text for reason in reasons), text
    assert "restart the engine" in text
    assert set(filler.acknowledged) <= await found(connection)
    health = await connection.call("engine::health::check", {})
    assert health["status"] == "unhealthy"
    state = health["components"]["state"]
    assert state["status"] == "unhealthy"
    assert any(reason in state["details"]["failure"] for reason in reasons), state
