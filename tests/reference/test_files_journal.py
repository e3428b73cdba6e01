"""The running journal: what is acknowledged when, segments, snapshots, failing disks, and the end.

Rules: docs/storage.md, Writing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.contracts import Limits, Recovered, Storage
from iii_fast.errors import StorageError, WireError
from iii_fast.reference import ReferenceBackend, segment
from iii_fast.reference.core import Core
from iii_fast.reference.opening import open_journal
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.record import CLOSE, COMMIT, MARK, read_record
from iii_fast.reference.session import WorkerSession
from tests.reference.steered_files import Action, Gate, Inode, Steered, failing
from tests.reference.stored import Content, Opened, content, recovered, running, taken

SEGMENT_1 = segment.name(1)


def kinds(data: bytes) -> list[int]:
    """The kinds of a segment's records."""
    found, offset = [], segment.HEADER_BYTES
    while offset < len(data):
        record = read_record(data, offset)
        found.append(record.kind)
        offset += record.size
    return found


async def advanced(opened: Opened, is_there: Callable[[], bool]) -> None:
    """Waits until the journal has come so far."""
    while not is_there():
        event = trio.Event()
        opened.log.on_advance = event.set
        await event.wait()


async def reached(gate: Gate) -> None:
    assert await trio.to_thread.run_sync(gate.reached.wait, 20)


def hold(files: Steered, held: Action, name: str = "") -> Gate:
    """Holds up what is done to files whose names have ``name`` in them."""
    gate = Gate()

    def before(action: Action, file: str) -> None:
        if action == held and name in file:
            gate.pass_through()

    files.before = before
    return gate


def fail(files: Steered, failed: Action, name: str = "") -> None:
    def before(action: Action, file: str) -> None:
        if action == failed and name in file:
            raise failing(action, files.directory / file)

    files.before = before


# Acknowledgement


async def test_always_is_acknowledged_when_it_is_on_the_disk(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files) as opened:
        gate = hold(files, "sync")
        heard = opened.start("set", scope="s", key="k", value=1)
        await reached(gate)
        assert len(files.killed()[SEGMENT_1]) > segment.HEADER_BYTES
        assert heard == []
        gate.open()
        await advanced(opened, lambda: opened.log.acknowledged == 1)
        assert (heard, opened.log.synced) == ([None], 1)
        assert recovered(files.without_power())[0] == opened.content()


async def test_what_waits_is_written_at_once_and_synced_once(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files) as opened:
        for key in "abc":
            opened.start("set", scope="s", key=key, value=1)
        await opened.call("set", scope="s", key="d", value=1)
        assert [action for action, _ in files.did[-2:]] == ["write", "sync"]
        assert kinds(files.killed()[SEGMENT_1]) == [MARK, COMMIT, COMMIT, COMMIT, COMMIT]


async def test_interval_is_on_the_disk_an_interval_later(tmp_path: Path, mock_clock: MockClock) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, sync="interval", sync_interval_ms=1000) as opened:
        await opened.call("set", scope="s", key="a", value=1)
        assert (opened.log.acknowledged, opened.log.synced) == (1, 0)
        mock_clock.jump(0.9)
        await opened.call("set", scope="s", key="b", value=1)
        assert (opened.log.acknowledged, opened.log.synced) == (2, 0)
        mock_clock.jump(0.2)
        await advanced(opened, lambda: opened.log.synced == 2)
        synced = len(files.did)
        mock_clock.jump(10)
        await wait_all_tasks_blocked()
        assert len(files.did) == synced, "nothing is synced twice"


@pytest.mark.parametrize("sync", ["interval", "never"])
async def test_durable_is_on_the_disk_whatever_the_level_is(tmp_path: Path, sync: str) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, sync=sync, sync_interval_ms=3_600_000) as opened:
        await opened.call("set", scope="s", key="a", value=1)
        assert (opened.log.acknowledged, opened.log.synced) == (1, 0)
        await opened.call("set", scope="s", key="b", value=1, durable=True)
        assert (opened.log.acknowledged, opened.log.synced) == (2, 2)
        assert recovered(files.without_power())[0] == opened.content()
        await opened.call("set", scope="s", key="c", value=1)
        assert opened.log.synced == 2
    assert recovered(files.without_power())[0] == opened.content(), "a clean end syncs at every level"


async def test_events_and_the_feed_are_told_when_writes_are_acknowledged(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files) as opened:
        opened.state.watch("s")
        gate = hold(files, "sync")
        opened.start("set", scope="s", key="k", value=1)
        await reached(gate)
        assert (opened.events, opened.changes()) == ([], [])
        gate.open()
        await advanced(opened, lambda: opened.log.acknowledged == 1)
        assert (len(opened.events), len(opened.changes())) == (1, 1)


async def test_who_writes_more_than_may_wait_has_to_wait(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    opened = Opened(files)
    await opened.open(waiting_bytes_max=200)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.journal.run)
        gate = hold(files, "sync")
        opened.start("set", scope="s", key="k", value="x" * 100)
        assert opened.log.room() is None
        opened.start("set", scope="s", key="k", value="x" * 100)
        room = opened.log.room()
        assert room is not None
        await reached(gate)
        assert opened.log.room() is room
        assert not room.is_set()
        gate.open()
        await room.wait()
        assert opened.log.room() is None
        nursery.cancel_scope.cancel()


def test_a_connection_that_writes_is_not_read_while_too_much_waits_and_one_that_reads_is(tmp_path: Path) -> None:
    core = Core(Limits(log_bytes_max=100), Storage(tmp_path / "data"))
    files = Steered(tmp_path / "data")
    journal, _ = open_journal(files, Storage(files.directory), core.log, core.state.entries, core.limits.log_bytes_max)
    writer, reader = (WorkerSession(core, core.connect(n, Outbox(), "loopback", n)) for n in (1, 2))

    def message(function: str, value: str) -> str:
        data = json.dumps({"scope": "s", "key": "k", "value": value})
        return f'{{"type":"invokefunction","invocation_id":"{uuid4()}","function_id":"{function}","data":{data}}}'

    assert writer.receive(message("state::set", "x")) is None
    room = writer.receive(message("state::set", "x" * 100))
    assert room is not None
    assert room is journal.room()
    assert reader.receive(message("state::get", "")) is None
    assert writer.receive(message("state::get", "")) is None
    files.unlock()


# Failing disks


@pytest.mark.parametrize("action", ["write", "sync"])
async def test_after_a_failure_nothing_is_acknowledged_and_nothing_is_written(tmp_path: Path, action: Action) -> None:
    files = Steered(tmp_path / "data")
    async with running(files) as opened:
        await opened.call("set", scope="s", key="a", value=1)
        fail(files, action)
        with pytest.raises(WireError) as caught:
            await opened.call("set", scope="s", key="b", value=1)
        assert caught.value == WireError(
            "STORAGE_FAILED",
            f"state is read-only since a write to its files failed: {files.directory / SEGMENT_1}: cannot {action}: "
            "No space left on device (os error 28); free the disk or replace it, then restart the engine",
        )
        files.before = lambda *_: None
        with pytest.raises(WireError) as later:
            opened.start("set", scope="s", key="c", value=1)
        assert later.value == caught.value
        assert [key for _, key in opened.content()] == ["a", "b"], "reads go on"
        assert opened.log.acknowledged == 1
        did = len(files.did)
    assert len(files.did) == did, "not even the end is written"
    assert ("s", "a") in recovered(files.without_power())[0]
    async with running(tmp_path / "data") as again:
        assert ("s", "a") in again.content()


async def test_nobody_waits_for_room_on_a_failed_disk(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    opened = Opened(files)
    await opened.open(waiting_bytes_max=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.journal.run)
        fail(files, "write")
        heard = opened.start("set", scope="s", key="k", value=1)
        room = opened.log.room()
        assert room is not None
        await room.wait()
        assert opened.log.room() is None
        assert isinstance(heard[0], WireError)
        nursery.cancel_scope.cancel()


async def test_a_segment_that_cannot_be_begun_is_a_failure(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, segment_bytes=1) as opened:
        await opened.call("set", scope="s", key="a", value=1)
        fail(files, "create")
        with pytest.raises(WireError, match=rf"{segment.name(2)}: cannot create: No space left"):
            await opened.call("set", scope="s", key="b", value=1)
    assert list(recovered(taken(files.directory))[0]) == [("s", "a")]


async def test_an_end_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, sync="never") as opened:
        await opened.call("set", scope="s", key="a", value=1)
        fail(files, "sync")
    assert opened.log.failure is not None
    assert "cannot sync: No space left" in opened.log.failure


# Segments and snapshots


async def test_a_full_segment_is_synced_before_the_next_one_is_begun(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, sync="never", segment_bytes=300) as opened:
        begun: list[bytes] = []

        def before(action: Action, _: str) -> None:
            if action == "create":
                begun.append(files.without_power()[SEGMENT_1])

        files.before = before
        await opened.call("set", scope="s", key="a", value="x" * 300)
        assert begun == []
        await opened.call("set", scope="s", key="b", value=1)
        assert begun[0] == files.killed()[SEGMENT_1]
        assert kinds(begun[0]) == [MARK, COMMIT]
        assert kinds(files.killed()[segment.name(2)]) == [MARK, COMMIT]


async def until_removed(path: Path, opened: Opened) -> None:
    """Writes until a snapshot has made a file unnecessary."""
    while await trio.Path(path).exists():
        await opened.call("set", scope="s", key="n", value=opened.log.position)


async def test_a_snapshot_makes_the_journal_short(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    for generation in (1, 2):
        async with running(directory, segment_bytes=500, history_bytes_max=0) as opened:
            await opened.call("set", scope="s", key=f"k{generation}", value=1, expires_at=1 << 45)
            first = min(name for name in taken(directory) if name.startswith("journal-"))
            await until_removed(directory / first, opened)
            assert opened.journal.disk_bytes < 3000
        snapshots = [name for name in taken(directory) if name.startswith("snapshot-")]
        assert snapshots == [f"snapshot-{generation:08}-00000.snap"]
        found, _ = recovered(taken(directory))
        assert found == opened.content()
        assert opened.journal.disk_bytes == sum(map(len, taken(directory).values()))


async def test_the_journal_stays_as_long_as_the_history_needs_it(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with running(directory, segment_bytes=500, history_bytes_max=3000) as opened:
        await until_removed(directory / SEGMENT_1, opened)
        journal = sum(len(data) for name, data in taken(directory).items() if name.startswith("journal-"))
        assert journal > 3000
    async with running(directory, history_bytes_max=3000) as again:
        assert again.changes(again.log.position - 20) == opened.changes(opened.log.position - 20)


async def test_writing_goes_on_beside_a_snapshot(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, segment_bytes=300, history_bytes_max=0) as opened:
        gate = hold(files, "write", ".snap.tmp")
        while not gate.reached.is_set():
            await opened.call("set", scope="s", key="n", value=opened.log.position)
        await opened.call("delete", scope="s", key="n")
        await opened.call("set", scope="s", key="later", value=1)
        gate.open()
        await until_removed(files.directory / SEGMENT_1, opened)
        assert recovered(files.without_power())[0] == opened.content()


async def test_a_snapshot_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, segment_bytes=300, history_bytes_max=0) as opened:
        fail(files, "sync", ".snap.tmp")
        while opened.journal.snapshot_failure is None:
            await opened.call("set", scope="s", key="n", value=opened.log.position)
        assert "snapshot-00000001-00000.snap.tmp: cannot sync: No space left" in opened.journal.snapshot_failure
        assert all(name.startswith("journal-") for name in files.names)
        files.before = lambda *_: None
        await until_removed(files.directory / SEGMENT_1, opened)
        assert recovered(files.killed())[0] == opened.content()


@pytest.mark.parametrize("kept", ["snapshot-", "journal-"])
async def test_a_file_that_could_not_be_removed_is_tried_again_with_the_next_round(tmp_path: Path, kept: str) -> None:
    directory = tmp_path / "data"
    async with running(directory, segment_bytes=500, history_bytes_max=0) as opened:
        await until_removed(directory / SEGMENT_1, opened)
    files = Steered(directory)
    files.names = {name: Inode(bytearray(data), len(data)) for name, data in taken(directory).items()}
    name = min(name for name in files.names if name.startswith(kept))
    async with running(files, segment_bytes=500, history_bytes_max=0) as opened:
        fail(files, "remove", name)
        while f"{name}: cannot remove" not in (opened.journal.snapshot_failure or ""):
            await opened.call("set", scope="s", key="n", value=opened.log.position)
        assert opened.journal.disk_bytes == sum(map(len, taken(directory).values()))
        files.before = lambda *_: None
        await until_removed(directory / name, opened)


async def test_an_end_in_the_middle_of_a_snapshot_leaves_nothing_of_it(tmp_path: Path) -> None:
    files, gate = Steered(tmp_path / "data"), Gate()

    def before(action: Action, name: str) -> None:
        if action == "write" and name.endswith(".snap.tmp"):
            gate.pass_through()
        if action == "sync" and ending:
            gate.open()  # the journal has written its last record

    ending: list[bool] = []
    files.before = before
    async with running(files, segment_bytes=300) as opened:
        while not gate.reached.is_set():
            await opened.call("set", scope="s", key="n", value="y" * 1000)
        ending.append(True)
    assert ("create", "snapshot-00000001-00000.snap.tmp") in files.did
    assert all(name.startswith("journal-") for name in files.names)
    assert recovered(files.killed())[0] == opened.content()


# Crashes


async def test_whatever_is_acknowledged_survives_at_every_step(tmp_path: Path) -> None:
    """Ends the process, and takes the power, before every single step of a life with segments and snapshots."""
    files = Steered(tmp_path / "data")
    contents: dict[int, Content] = {0: {}}
    crashes: list[tuple[int, dict[str, bytes]]] = []
    rolled = random.Random(7)
    opened = Opened(files, segment_bytes=400, history_bytes_max=0)

    def before(*_: object) -> None:
        now = opened.log.acknowledged
        for image in (files.killed(), files.without_power(), files.with_late_names()):
            if not crashes or crashes[-1] != (now, image):
                crashes.append((now, image))

    files.before = before
    await opened.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.journal.run)
        for step in range(150):
            key = rolled.choice("abcdef")
            if rolled.random() < 0.3:
                heard = opened.start("delete", scope="s", key=key)
            else:
                heard = opened.start("set", scope="s", key=key, value="x" * rolled.randrange(40))
            contents[opened.log.position] = opened.content()
            if step % 3 == 0:
                await advanced(opened, lambda: opened.log.acknowledged == opened.log.position)
                assert heard in ([None], [])
        nursery.cancel_scope.cancel()
    before()
    assert sum(action == "rename" for action, _ in files.did) > 1, "several snapshots"
    for acknowledged, image in crashes:
        found, recovery = recovered(image)
        assert recovery.position >= acknowledged
        assert found == contents[recovery.position]
    assert recovery.position == opened.log.position


async def test_a_crash_between_the_steps_of_a_salvage_keeps_what_it_keeps(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with running(directory) as opened:
        for key in "abc":
            await opened.call("set", scope="s", key=key, value=1)
    damaged = bytearray(taken(directory)[SEGMENT_1])
    damaged[segment.HEADER_BYTES + 36 + 25] ^= 1  # the first commit
    await trio.Path(directory / SEGMENT_1).write_bytes(damaged)
    files = Steered(directory)
    files.names = {SEGMENT_1: Inode(damaged, len(damaged))}
    files.durable = dict(files.names)
    images: list[dict[str, bytes]] = []
    files.before = lambda *_: images.extend([files.killed(), files.without_power(), files.with_late_names()])
    async with running(files, salvage=True) as salvaged:
        kept = salvaged.content()
    assert list(kept) == [("s", "b"), ("s", "c")]
    started = 0
    for image in images:
        top = {name: data for name, data in image.items() if "/" not in name}
        try:
            found, _ = recovered(top)
        except StorageError:
            assert recovered(top, salvage=True)[0] == kept
        else:
            assert found == kept
            started += 1
    assert 0 < started < len(images)


# The end, and the backend around it


async def test_the_end_writes_what_waits(tmp_path: Path) -> None:
    files = Steered(tmp_path / "data")
    async with running(files, sync="never") as opened:
        gate = hold(files, "write", "journal-")
        first = opened.start("set", scope="s", key="a", value=1)
        await reached(gate)
        second = opened.start("set", scope="s", key="b", value=1)
        gate.open()
    assert (first, second, opened.log.synced) == ([None], [None], 2)
    assert kinds(files.without_power()[SEGMENT_1]) == [MARK, COMMIT, MARK, COMMIT, MARK, CLOSE]


class Control:
    """Keeps what invocations came to."""

    def __init__(self) -> None:
        self.outcomes: dict[int, object] = {}
        self.settled_one = trio.Event()

    def settled(self, ticket: int, outcome: object) -> None:
        self.outcomes[ticket] = outcome
        self.settled_one.set()

    def advanced(self) -> None:
        """Nobody listens."""

    def ignore(self, *_: object) -> None:
        """Nobody listens."""

    called = message = changed = closed = ignore


async def test_the_backend_keeps_state_in_its_directory(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "data", sync="interval")
    backend = ReferenceBackend(Limits(), storage=storage)
    assert await backend.open() == Recovered()
    control = Control()
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.serve, control)
        backend.invoke(1, "state::set", b'{"scope":"s","key":"k","value":[1.0]}')
        assert control.outcomes == {}
        await control.settled_one.wait()
        assert control.outcomes == {1: b'{"old_value":null,"new_value":[1.0]}'}
        backend.invoke(2, "state::set", b'{"scope":"s","key":"l","value":2}')
        nursery.cancel_scope.cancel()
    stats = backend.stats().storage
    assert (stats.kind, stats.sync, stats.keys, stats.position, stats.synced) == ("file", "interval", 2, 2, 2)
    assert stats.disk_bytes == len(taken(tmp_path / "data")[SEGMENT_1])
    again = ReferenceBackend(Limits(), storage=storage)
    assert await again.open() == Recovered(2, 2, stats.disk_bytes)
    assert list(content(again._core.state.entries)) == [("s", "k"), ("s", "l")]


async def test_a_directory_that_is_in_use_is_not_opened(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "data")
    async with running(tmp_path / "data"):
        with pytest.raises(StorageError, match="in use by another engine or command"):
            await ReferenceBackend(Limits(), storage=storage).open()
