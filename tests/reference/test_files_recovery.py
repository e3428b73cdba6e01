"""What a start reads from files that were cut, changed or taken away: everything, or it refuses.

Rules: docs/storage.md, Recovery.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from iii_fast.contracts import Recovered
from iii_fast.errors import StorageError, WireError
from iii_fast.reference import segment
from iii_fast.reference.commit import DeleteOp, DeleteScopeOp, ExpireOp, Op, SetOp, encode_commit
from iii_fast.reference.files import Files
from iii_fast.reference.part import PartEntry, PartHeader, PartId, encode_entries
from iii_fast.reference.record import encode_record
from iii_fast.reference.segment import SegmentReader
from iii_fast.reference.state_entries import Entry
from tests.durability import golden
from tests.reference.stored import Content, Opened, put, recovered, running, taken

NUMBER = golden.SEGMENT_NUMBER
BEFORE_COMMIT_2 = len(golden.SEGMENT_HEADER + golden.MARK_0)


@dataclass
class Life:
    """Files of an engine that was killed, of one that ended well, and what there was at each position."""

    killed: dict[str, bytes]
    ended: dict[str, bytes]
    contents: dict[int, Content]

    @property
    def position(self) -> int:
        return max(self.contents)

    @property
    def content(self) -> Content:
        return self.contents[self.position]


async def write(opened: Opened, contents: dict[int, Content]) -> None:
    """Some of everything, a batch each."""
    for function, members in [
        ("set", {"scope": "s", "key": "a", "value": {"n": 1}}),
        ("set_many", {"scope": "s", "entries": [{"key": "b", "value": 1}, {"key": "b", "value": 2}]}),
        ("set", {"scope": "t", "key": "é", "value": "x" * 40, "expires_at": golden.FAR}),
        ("transact", {"ops": [{"type": "set", "scope": "t", "key": k, "value": 0} for k in "ab"]}),
        ("delete", {"scope": "t", "key": "a"}),
        ("set", {"scope": "u", "key": "a", "value": 1}),
        ("delete_scope", {"scope": "u"}),
        ("update", {"scope": "s", "key": "a", "ops": [{"type": "increment", "path": "n", "by": 1}]}),
    ]:
        await opened.call(function, **members)
        contents[opened.log.position] = opened.content()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A journal of several segments behind a snapshot."""

    directory = tmp_path_factory.mktemp("life") / "data"

    async def live() -> Life:
        contents: dict[int, Content] = {0: {}}
        first = directory / segment.name(1)
        async with running(directory, segment_bytes=700, history_bytes_max=0) as opened:
            await opened.call("set", scope="s", key="large", value="x" * 9000)
            while first.exists():  # until a round of snapshots is through
                contents[opened.log.position] = opened.content()
                await write(opened, contents)
        async with running(directory, segment_bytes=500, history_bytes_max=0) as opened:
            await write(opened, contents)
            killed = taken(directory)
        return Life(killed, taken(directory), contents)

    return trio.run(live)


def last_segment(files: Mapping[str, bytes]) -> str:
    return max(name for name in files if name.startswith("journal-"))


def ends(files: Mapping[str, bytes]) -> list[tuple[int, int]]:
    """Where the commits of the last segment end, with the positions then; before the first the end of the header."""
    name = last_segment(files)
    reader = SegmentReader(files[name], int(name[8:28]))
    found = [(segment.HEADER_BYTES, reader.last)]
    while (commit := reader.next()) is not None:
        found.append((reader.offset, commit.position))
    return found


def flipped(files: Mapping[str, bytes], name: str, at: int) -> dict[str, bytes]:
    data = bytearray(files[name])
    data[at] ^= 0x41
    return {**files, name: bytes(data)}


def refusal(files: Mapping[str, bytes], *, salvage: bool = False) -> str:
    with pytest.raises(StorageError) as caught:
        recovered(files, salvage=salvage)
    return str(caught.value)


def segment_file(*commits: tuple[int, list[Op]], first: int = 1) -> bytes:
    """A segment that was not closed."""
    records = [encode_commit(position, ops) for position, ops in commits]
    mark = segment.encode_mark(first - 1, first - 1, NUMBER)
    return segment.header(first, NUMBER) + mark + b"".join(records)


def part_file(part: PartId, parts: int, start: int, *entries: PartEntry) -> bytes:
    return PartHeader(part, parts, start).encode() + b"".join(encode_entries(start, entries))


# Cut, changed, missing


def test_what_was_written_is_read(life: Life) -> None:
    assert len(life.killed) >= 3, "a snapshot, and more than one segment behind it"
    for files in (life.killed, life.ended):
        content, found = recovered(files)
        assert list(content.items()) == list(life.content.items())
        assert (found.position, found.torn, found.dropped) == (life.position, None, [])
        assert found.bytes_read == sum(map(len, files.values()))


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_last_segment_that_is_cut_holds_the_commits_before_the_cut(life: Life, how: str) -> None:
    files = getattr(life, how)
    name, commits = last_segment(files), ends(files)
    for cut in range(len(files[name])):
        content, found = recovered({**files, name: files[name][:cut]})
        position = max((after for end, after in commits if end <= cut), default=commits[0][1])
        assert (found.position, content) == (position, life.contents[position])
        assert (len(found.torn.data) if found.torn else 0) <= cut


def test_a_byte_that_is_changed_after_a_clean_end_is_found(life: Life) -> None:
    """Only what says that the end was clean, a mark and a close, may be cut off: it holds nothing."""
    close = len(life.ended[last_segment(life.ended)]) - len(golden.MARK_0 + golden.CLOSE_7)
    for name, data in life.ended.items():
        for at in range(len(data)):
            files = flipped(life.ended, name, at)
            if name == last_segment(files) and at >= close:
                content, found = recovered(files)
                assert (content, found.position) == (life.content, life.position)
                assert found.torn is not None
                assert len(found.torn.data) in (len(golden.CLOSE_7), len(golden.MARK_0 + golden.CLOSE_7))
            else:
                assert f"{name}: " in refusal(files), (name, at)


def test_a_byte_that_is_changed_after_a_kill_is_found_or_belongs_to_the_last_batch(life: Life) -> None:
    last = last_segment(life.killed)
    batch, before = ends(life.killed)[-2]
    for name, data in life.killed.items():
        for at in range(len(data)):
            files = flipped(life.killed, name, at)
            if name == last and at >= batch:
                content, found = recovered(files)
                assert (content, found.position) == (life.contents[before], before)
                assert found.torn is not None
            else:
                assert f"{name}: " in refusal(files), (name, at)


def test_files_that_are_missing_are_missed(life: Life) -> None:
    """But a last segment that is gone as a whole looks as if it had not been begun."""
    names = sorted(life.ended)
    segments = [name for name in names if name.startswith("journal-")]
    for count in range(1, len(names)):
        for gone in itertools.combinations(names, count):
            left = {name: data for name, data in life.ended.items() if name not in gone}
            if set(gone) <= set(segments[1:]) and segments[-len(gone) :] == list(gone):
                content, found = recovered(left)
                assert content == life.contents[found.position]
                assert found.position == int(gone[0][8:28]) - 1
            else:
                assert refusal(left).startswith("data: files are missing: "), gone


def test_texts_of_refusals(life: Life) -> None:
    help_text = "put a backup in place with `iii-fast restore`, or keep what is"
    files = {golden.SEGMENT_NAME: golden.SEGMENT[:90] + b"?" + golden.SEGMENT[91:]}
    assert refusal(files) == (
        f"data/{golden.SEGMENT_NAME}: damaged at byte {BEFORE_COMMIT_2}: the checksum is wrong; look closer with "
        f"`iii-fast verify data`, {help_text} intact with `iii-fast serve --salvage`"
    )
    tail = f"; put them back, {help_text} there with `iii-fast serve --salvage`"
    second = segment.name(5)
    first, part = golden.SEGMENT_NAME, PartId(1, 0)
    for files, what in [
        ({second: segment_file(first=5)}, f"{first}, with which the journal begins, is not there"),
        ({first: golden.UP_TO_4, segment.name(6): segment_file(first=6)},
         f"the journal ends at position 4 before {segment.name(6)}"),
        ({golden.SNAPSHOT_NAME: golden.SNAPSHOT},
         f"{golden.BEHIND_NAME}, which the snapshot needs, is not there"),
        ({part.name: part_file(part, 2, 4), second: segment_file(first=5)},
         f"no snapshot has all its parts, and {first} is not there"),
        ({part.name: part_file(part, 1, 4), first: golden.UP_TO_4},
         f"{second}, which the snapshot needs, is not there"),
        ({part.name: part_file(part, 1, 4, PartEntry("s", "k", Entry("1", 7, 1))), second: segment_file(first=5)},
         "the snapshot knows changes up to position 7, and the journal ends at 4"),
    ]:  # fmt: skip
        assert refusal(files) == f"data: files are missing: {what}{tail}"


def test_nothing_is_a_beginning() -> None:
    content, found = recovered({})
    assert (content, found.position, found.tail) == ({}, 0, None)


# The end of the journal


def test_a_segment_that_was_only_begun_is_no_damage() -> None:
    begun = segment.name(5)
    for data in (b"", golden.SEGMENT_HEADER[:20], bytes(segment.HEADER_BYTES)):
        content, found = recovered({golden.SEGMENT_NAME: golden.UP_TO_4, begun: data})
        assert (found.position, len(content)) == (4, 3)
        assert found.torn is not None
        assert (found.torn.file, len(found.torn.data)) == (begun, len(data))
    for data in (bytes(segment.HEADER_BYTES + 1), bytes(segment.HEADER_BYTES) + golden.MARK_0):
        text = refusal({golden.SEGMENT_NAME: golden.UP_TO_4, begun: data})
        assert "damaged at byte 0: the header is not that of such a file" in text


def test_what_a_later_mark_says_to_be_synced_is_no_torn_tail() -> None:
    torn, later = bytearray(golden.UP_TO_4), len(golden.UP_TO_4) - len(golden.COMMIT_4)
    torn[len(golden.SEGMENT_HEADER + golden.MARK_0) + 30] ^= 1
    assert f"damaged at byte {BEFORE_COMMIT_2}: the checksum is wrong" in refusal({golden.SEGMENT_NAME: bytes(torn)})
    unsynced = bytes(torn[: later - len(golden.MARK_3)]) + segment.encode_mark(3, 0, NUMBER) + golden.COMMIT_4
    content, found = recovered({golden.SEGMENT_NAME: unsynced})
    assert (content, found.position) == ({}, 0)
    assert found.torn is not None
    assert len(found.torn.data) == len(unsynced) - BEFORE_COMMIT_2
    closed = unsynced + segment.encode_close(4, NUMBER)
    assert f"damaged at byte {BEFORE_COMMIT_2}" in refusal({golden.SEGMENT_NAME: closed})


def test_only_the_last_segment_may_be_torn() -> None:
    files = {golden.SEGMENT_NAME: golden.UP_TO_4[:-1], segment.name(4): segment_file(first=4)}
    assert f"{golden.SEGMENT_NAME}: damaged at byte" in refusal(files)


def test_a_whole_record_in_the_wrong_place_is_damage() -> None:
    data = golden.SEGMENT_HEADER + golden.MARK_0 + golden.COMMIT_3
    text = f"damaged at byte {BEFORE_COMMIT_2}: the record ends at position 3 and should begin at position 1"
    assert text in refusal({golden.SEGMENT_NAME: data})


def test_what_another_version_wrote_is_refused_whatever_is_asked() -> None:
    files = {golden.SEGMENT_NAME: golden.UP_TO_4 + encode_record(32, 4, b"queue")}
    expected = (
        f"data/{golden.SEGMENT_NAME}: another version of the engine wrote this file (byte {len(golden.UP_TO_4)}: "
        "a record of kind 32, version 3, which this engine does not know); use that one"
    )
    for salvage in (False, True):
        assert refusal(files, salvage=salvage) == expected


async def test_a_torn_tail_is_cut_off_and_written_behind(tmp_path: Path) -> None:
    files = {golden.SEGMENT_NAME: golden.UP_TO_4[:-3]}
    directory = put(tmp_path / "data", files)
    async with running(directory) as opened:
        assert opened.recovered == Recovered(2, 3, len(golden.UP_TO_4) - 3, len(golden.COMMIT_4) - 3)
        await opened.call("set", scope="s", key="new", value=1)
    after = taken(directory)
    assert after[golden.SEGMENT_NAME] == golden.UP_TO_4[: -len(golden.COMMIT_4)]
    assert sorted(after) == [golden.SEGMENT_NAME, segment.name(4)]
    content, found = recovered(after)
    assert (content["s", "new"], found.position) == (Entry("1", 4, 4), 4)


# Snapshots


def test_replaying_what_a_snapshot_holds_already_changes_nothing() -> None:
    entries = [PartEntry("s", "late", Entry('"new"', 9, 8)), PartEntry("s", "old", Entry("1", 2, 2))]
    journal = segment_file(
        (5, [SetOp("s", "late", "1", True)]),  # overtaken: deleted and made again before it was captured
        (6, [SetOp("s", "gone", "1", True)]),
        (7, [DeleteScopeOp("s")]),  # "old" was captured before, "late" after
        (8, [SetOp("s", "late", '"new"', True)]),
        (9, [SetOp("s", "late", '"new"', False)]),
        (11, [SetOp("s", "late", "1", False), SetOp("s", "late", "2", False)]),
        (14, [SetOp("s", "x", "1", True), DeleteOp("s", "x"), SetOp("s", "x", "2", True)]),
        (15, [SetOp("s", "due", "1", True, 5)]),
        (16, [ExpireOp("s", "due")]),
        first=5,
    )
    part = PartId(3, 0)
    content, found = recovered({part.name: part_file(part, 1, 4, *entries), segment.name(5): journal})
    assert content == {("s", "late"): Entry("2", 11, 8), ("s", "x"): Entry("2", 14, 14)}
    assert found.position == 16


def test_the_newest_whole_generation_counts() -> None:
    """What is older may hold what was deleted long ago, and what was only begun is not needed."""

    def of(part: PartId, parts: int, start: int) -> tuple[str, bytes]:
        key = f"{part.generation}-{part.part}"
        return part.name, part_file(part, parts, start, PartEntry("s", key, Entry("1", start, start)))

    whole = dict([of(PartId(2, 0), 2, 6), of(PartId(2, 1), 2, 4)])
    others = dict([of(PartId(1, 0), 1, 2), of(PartId(3, 1), 2, 6)])
    journal = {
        segment.name(5): segment_file((6, [SetOp("s", "a", "1", True), SetOp("s", "b", "1", True)]), first=5),
        segment.name(7): segment_file(first=7),
    }
    content, found = recovered({**whole, **others, **journal})
    assert [key for _, key in content] == ["2-1", "a", "2-0", "b"]
    assert (found.start, found.position) == (4, 6)
    assert len(recovered({**whole, **journal})[0]) == 4
    old = PartId(1, 0).name
    assert recovered({**flipped({**whole, **others}, old, 3), **journal})[0] == content


async def test_a_start_removes_what_was_not_finished_and_nothing_else(tmp_path: Path) -> None:
    directory = put(tmp_path / "data", {**golden.WITH_SNAPSHOT, "snapshot-00000003-00000.snap.tmp": b"x", "note": b"y"})
    async with running(directory) as opened:
        assert opened.log.position == 301
    assert set(taken(directory)) == {*golden.WITH_SNAPSHOT, segment.name(302), "note"}


# History


async def test_the_history_comes_from_the_journal(tmp_path: Path) -> None:
    directory = put(tmp_path / "data", golden.JOURNAL_ONLY)
    async with running(directory) as opened:
        assert [json.loads(change)["position"] for change in opened.changes()] == [2, 2, 3, 4]
        assert json.loads(opened.changes(3)[0]) == {
            "position": 4,
            "type": "created",
            "scope": "t",
            "key": "",
            "value": 0,
        }
    snapshot = put(tmp_path / "other", golden.WITH_SNAPSHOT)
    async with running(snapshot) as opened:
        assert len(opened.changes(300)) == 1
        with pytest.raises(WireError, match="HISTORY_LOST"):
            opened.changes(299)


async def test_the_history_is_bounded_after_a_start_too(tmp_path: Path) -> None:
    directory = put(tmp_path / "data", golden.JOURNAL_ONLY)
    async with running(directory, history_bytes_max=len(golden.COMMIT_3 + golden.COMMIT_4)) as opened:
        assert len(opened.changes(2)) == 2
        with pytest.raises(WireError, match="HISTORY_LOST"):
            opened.changes(0)


# Salvage


async def salvaged(directory: Path) -> tuple[Content, Recovered, Path]:
    """Starts with what is intact, writes something, starts again; returns what was kept."""
    async with running(directory, salvage=True) as opened:
        kept, result = opened.content(), opened.recovered
        assert opened.log.position == result.position
        await opened.call("set", scope="new", key="k", value=1)
        after, position = opened.content(), opened.log.position
    async with running(directory) as opened:
        assert opened.content() == after
        assert (opened.log.position, opened.recovered.dropped_bytes) == (position, 0)
    [aside] = directories(directory)
    assert aside.name.startswith("salvaged-")
    return kept, result, aside


def directories(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()]


def dropped(aside: Path) -> list[tuple[dict[str, object], bytes]]:
    """The pieces in ``dropped.bin``."""
    rest, pieces = (aside / "dropped.bin").read_bytes(), []
    while rest:
        line, _, rest = rest.partition(b"\n")
        head = json.loads(line)
        pieces.append((head, rest[: head["bytes"]]))
        assert rest[head["bytes"] :][:1] == b"\n"
        rest = rest[head["bytes"] + 1 :]
    return pieces


async def test_salvage_keeps_the_commits_around_a_broken_one(tmp_path: Path) -> None:
    at, size = BEFORE_COMMIT_2, len(golden.COMMIT_2)
    intact = {golden.SEGMENT_NAME: golden.SEGMENT[: -len(golden.COMMIT_7 + golden.CLOSE_7)]}
    files = flipped(intact, golden.SEGMENT_NAME, at + 30)
    directory = put(tmp_path / "data", files)
    kept, result, aside = await salvaged(directory)
    assert kept == {("t", ""): Entry("0", 4, 4)}
    assert result.dropped_bytes == len(golden.COMMIT_2)
    assert result.position > 6
    damaged = files[golden.SEGMENT_NAME][at : at + size]
    head = {"file": golden.SEGMENT_NAME, "offset": at, "bytes": size, "reason": "the checksum is wrong"}
    assert dropped(aside) == [(head, damaged)]
    assert {name: (aside / name).read_bytes() for name in files} == files


async def test_salvage_of_whatever_is_left(tmp_path: Path, life: Life) -> None:
    """The first of the files is damaged in its middle, and the last but one is missing."""
    names = sorted(name for name in life.ended if name.startswith("journal-"))
    snapshot = next(name for name in life.ended if name.startswith("snapshot-"))
    for number, files in enumerate(
        [
            flipped(life.ended, snapshot, 60),
            flipped(life.ended, names[0], len(life.ended[names[0]]) // 2),
            {name: data for name, data in life.ended.items() if name != names[0]},
            {name: data for name, data in life.ended.items() if name != snapshot},
            flipped(life.ended, snapshot, 3),
        ]
    ):
        directory = put(tmp_path / str(number), files)
        with pytest.raises(StorageError):
            await Opened(Files(directory)).open()
        assert taken(directory) == files
        kept, result, aside = await salvaged(directory)
        assert result.position > life.position
        assert {name: (aside / name).read_bytes() for name in files} == files
        assert sum(len(data) for _, data in dropped(aside)) == result.dropped_bytes
        assert kept.keys() & life.content.keys(), "something was kept"


async def test_salvage_leaves_what_is_intact_alone(tmp_path: Path, life: Life) -> None:
    directory = put(tmp_path / "data", life.killed)
    async with running(directory, salvage=True) as opened:
        assert opened.content() == life.content
        assert opened.recovered.dropped_bytes == 0
    assert directories(directory) == []
    assert life.killed.items() <= taken(directory).items()


# The directory


async def test_a_directory_is_used_once(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    async with running(directory):
        with pytest.raises(StorageError) as caught:
            await Opened(Files(directory)).open()
        assert str(caught.value) == (
            f"{directory}: the directory is in use by another engine or command; "
            "stop it first, or choose another directory"
        )
    async with running(directory):
        pass
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/data: cannot lock the directory: Not a directory \(os error 20\)$"):
        await Opened(Files(tmp_path / "file" / "data")).open()


async def test_a_failed_start_gives_the_directory_back(tmp_path: Path) -> None:
    directory = put(tmp_path / "data", {golden.SEGMENT_NAME: b"x" * 100})
    for _ in range(2):
        with pytest.raises(StorageError, match="damaged"):
            await Opened(Files(directory)).open()
