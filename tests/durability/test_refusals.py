"""Directories that cannot be used: the engine says so, says what can be done, and ends with status 1."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from tests.support.durable import DURABLE_BACKENDS, Durable
from tests.support.engine_process import EngineProcess
from tests.support.pipelined import Pipelined, pipelined

SCOPE: Final = "kept"
NOWHERE: Final = Path("/proc/self/nowhere")
"""A path at which not even the system's administrator can make a directory."""

backends = pytest.mark.parametrize("backend", DURABLE_BACKENDS)


def value(number: int) -> dict[str, Any]:
    return {"n": number, "pad": "x" * 500}


async def write(connection: Pipelined, *numbers: int) -> None:
    for number in numbers:
        await connection.call("state::set", {"scope": SCOPE, "key": f"k{number}", "value": value(number)})


async def read(connection: Pipelined) -> list[int]:
    return [one["n"] for one in await connection.call("state::list", {"scope": SCOPE})]


async def written(durable: Durable, count: int) -> Path:
    """Writes ``count`` entries and ends the engine by a kill; the only segment there is."""
    with await trio.to_thread.run_sync(durable.start) as engine:
        async with pipelined(engine.worker) as connection:
            await write(connection, *range(count))
            engine.kill()
    [segment] = durable.files("journal-*.log")
    return segment


def damage(segment: Path, number: int) -> int:
    """Flips a bit in the value of entry ``number``; returns where."""
    content = bytearray(segment.read_bytes())
    place = content.index(json.dumps(value(number)).encode())
    content[place + 4] ^= 0x10
    segment.write_bytes(content)
    return place


@backends
async def test_a_directory_in_use_is_refused(backend: str, tmp_path: Path) -> None:
    durable = Durable(tmp_path, backend)
    with await trio.to_thread.run_sync(durable.start) as engine:
        said = await trio.to_thread.run_sync(durable.refused)
        assert str(durable.directory) in said
        assert "use" in said or "lock" in said
        async with pipelined(engine.worker) as connection:  # the first one is not impressed
            await write(connection, 1)
            assert await read(connection) == [1]
    with await trio.to_thread.run_sync(durable.start) as engine:
        async with pipelined(engine.worker) as connection:
            assert await read(connection) == [1]


def as_a_file(durable: Durable) -> Path:
    durable.directory.write_text("a file")
    return durable.directory


def below_a_file(durable: Durable) -> Path:
    durable.directory.write_text("a file")
    return durable.directory / "below"


def where_nothing_can_be_made(durable: Durable) -> Path:
    return NOWHERE


def where_nothing_can_be_written(durable: Durable) -> Path:
    return Path("/proc/self/task")


@backends
@pytest.mark.parametrize("place", [as_a_file, below_a_file, where_nothing_can_be_made, where_nothing_can_be_written])
async def test_a_place_that_is_no_directory_for_files_is_refused(
    backend: str, place: Callable[[Durable], Path], tmp_path: Path
) -> None:
    durable = Durable(tmp_path, backend)
    path = place(durable)
    said = await trio.to_thread.run_sync(durable.refused, "--data-dir", str(path))
    assert str(path) in said
    if durable.directory.is_file():
        assert durable.directory.read_text() == "a file"


@backends
async def test_damage_in_the_middle_is_refused_and_salvage_keeps_the_rest(backend: str, tmp_path: Path) -> None:
    durable = Durable(tmp_path, backend)
    segment = await written(durable, 30)
    place = damage(segment, 10)
    before = segment.read_bytes()

    said = await trio.to_thread.run_sync(durable.refused)
    assert segment.name in said
    # The record begins before the value: its head, the scope, the key.
    offsets = [int(number) for number in re.findall(r"\d+", said)]
    assert any(place - 60 < offset < place - 20 for offset in offsets), said
    for step in ("iii-fast verify", "iii-fast restore", "--salvage"):
        assert step in said
    assert segment.read_bytes() == before, "a refused directory is left as it is"

    with await trio.to_thread.run_sync(durable.start, "--salvage") as engine:
        async with pipelined(engine.worker) as connection:
            found = await read(connection)
            assert found == [n for n in range(30) if n != 10]
            await write(connection, 10)
        assert any("SALVAGED" in line for line in engine.process.lines)
    [aside] = durable.files("salvaged-*")
    assert before in [path.read_bytes() for path in aside.iterdir()]
    assert b'"reason"' in (aside / "dropped.bin").read_bytes()
    with await trio.to_thread.run_sync(durable.start) as engine:
        async with pipelined(engine.worker) as connection:
            assert sorted(await read(connection)) == list(range(30))


@backends
async def test_a_torn_end_is_cut_off_and_told(backend: str, tmp_path: Path) -> None:
    durable = Durable(tmp_path, backend)
    segment = await written(durable, 5)
    with segment.open("ab") as file:
        file.write(b"\x40\x00\x00\x00 a record whose writing was cut short")
    with await trio.to_thread.run_sync(durable.start) as engine:
        assert any("Cut 41 bytes off the end" in line for line in engine.process.lines), engine.process.lines
        async with pipelined(engine.worker) as connection:
            assert await read(connection) == list(range(5))


def starts(durable: Durable) -> list[int]:
    """Positions that snapshot files begin behind."""
    return [struct.unpack_from("<Q", path.read_bytes(), 24)[0] for path in durable.files("snapshot-*.snap")]


def segments_behind_snapshots(durable: Durable) -> list[Path]:
    """Segments that recovery needs, once there are snapshots and it does not need all there ever were."""
    found, begin = durable.files("journal-*.log"), starts(durable)
    if not begin or found[0].name == f"journal-{1:020}.log":
        return []
    return [path for path in found if int(path.stem.removeprefix("journal-")) > min(begin)]


def stands_still(engine: EngineProcess, durable: Durable) -> list[Path]:
    """``segments_behind_snapshots`` while the engine is halted, as it stays when there are two."""
    engine.process.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, engine.process.process.pid, os.WSTOPPED)
    found = segments_behind_snapshots(durable)
    if len(found) < 2:
        engine.process.signal(signal.SIGCONT)
    return found


@backends
@pytest.mark.parametrize("missing", ["segment", "snapshot"])
async def test_missing_files_are_noticed(backend: str, missing: str, tmp_path: Path) -> None:
    durable = Durable(tmp_path, backend)
    numbers = itertools.cycle(range(300))
    with await trio.to_thread.run_sync(durable.start) as engine:
        async with pipelined(engine.worker) as connection:
            while len(stands_still(engine, durable)) < 2:
                keys = [f"k{next(numbers)}" for _ in range(10)]
                entries = [{"key": key, "value": {"n": 1, "pad": "x" * 20_000}} for key in keys]
                await connection.call("state::set_many", {"scope": SCOPE, "entries": entries})
            engine.kill()
    gone = segments_behind_snapshots(durable)[0] if missing == "segment" else durable.files("snapshot-*.snap")[0]
    gone.unlink()
    said = await trio.to_thread.run_sync(durable.refused)
    assert "missing" in said, said
    assert str(durable.directory) in said
