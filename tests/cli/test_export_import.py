"""``iii-fast export`` and ``import`` against scripted state: formats, limits, interruptions, going on, refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgpack
import pytest
import trio

from iii_fast.errors import WireError
from tests.cli.fake_state import FakeState, fake_state
from tests.cli.outcome import Outcome, run

VALUES = [
    "null",
    "[ 1.50,1E2 , -0.0]",
    '{"a":1,"b":{"ä":[true,false]}}',
    '"\\u00e4 \\" \\\\ 𝄞"',
    "18446744073709551615",
    "-9223372036854775808",
    "0.1",
]
INEXACT = ["123456789012345678901", "-9223372036854775809", "1e400", "0.12345678901234567890123", "1e-400"]


def filled(scopes: int = 3, keys: int = 7) -> FakeState:
    state = FakeState()
    for scope in range(scopes):
        for key in range(keys):
            expires_at = 4_000_000_000_000 + key if key % 3 == 0 else None
            state.put(f"s{scope}", f"k{key}", VALUES[key % len(VALUES)], expires_at)
    return state


async def export(capsys: pytest.CaptureFixture[str], state: FakeState, *arguments: str) -> Outcome:
    async with fake_state(state) as engine:
        return await run(capsys, "export", *arguments, *engine)


async def import_(capsys: pytest.CaptureFixture[str], state: FakeState, *arguments: str) -> Outcome:
    async with fake_state(state) as engine:
        return await run(capsys, "import", *arguments, *engine)


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def progress_of(path: Path) -> Path:
    return path.with_name(path.name + ".progress")


async def test_lines_keep_the_text_of_values(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = FakeState()
    texts = [*VALUES, *INEXACT, "1e0", '{"same":1,"same":2}', "[1,\n2,\r\n3]"]
    for at, text in enumerate(texts):
        state.put("ä\n", f"k{at}", text, 5 if at == 0 else None)
    path = tmp_path / "out.jsonl"
    outcome = await export(capsys, state, str(path))
    assert (outcome.status, outcome.out) == (0, "")
    lines = path.read_text().splitlines()
    assert lines[0] == '{"scope":"ä\\n","key":"k0","value":null,"expires_at":5}'
    for at, text in enumerate(texts[1:], 1):
        plain = text.replace("\n", " ").replace("\r", " ")
        assert lines[at] == f'{{"scope":"ä\\n","key":"k{at}","value":{plain}}}'
    assert outcome.err == f"exported {len(texts)} entries of 1 scopes, {path.stat().st_size} bytes to {path}\n"
    assert files_in(tmp_path) == [path]


async def test_stdout_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = await export(capsys, filled(1, 2))
    assert outcome.status == 0
    assert [json.loads(line)["key"] for line in outcome.out.splitlines()] == ["k0", "k1"]


@pytest.mark.parametrize("chosen", ["jsonl", "msgpack"])
async def test_what_is_exported_can_be_imported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, chosen: str
) -> None:
    state, copy, path = filled(3, 50), FakeState(), tmp_path / "out"
    state.page_entries = 9
    assert (await export(capsys, state, str(path), "--format", chosen)).status == 0
    outcome = await import_(capsys, copy, str(path), "--format", chosen)
    assert (outcome.status, outcome.err) == (0, "imported 150 entries\n")

    def meant(one: FakeState) -> object:
        return {
            scope: {key: (json.loads(value), expires_at) for key, (value, expires_at) in entries.items()}
            for scope, entries in one.texts().items()
        }

    assert meant(copy) == meant(state)
    if chosen == "jsonl":
        assert copy.texts() == state.texts()
    assert files_in(tmp_path) == [path]


async def test_msgpack_is_a_stream_of_maps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "out"
    await export(capsys, filled(1, 4), str(path), "--format", "msgpack")
    with path.open("rb") as file:
        records = list(msgpack.Unpacker(file))
    assert records[0] == {"scope": "s0", "key": "k0", "value": None, "expires_at": 4_000_000_000_000}
    assert records[1] == {"scope": "s0", "key": "k1", "value": [1.5, 100.0, -0.0]}


@pytest.mark.parametrize("text", INEXACT)
async def test_what_msgpack_cannot_hold_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    state, path = filled(1, 3), tmp_path / "out"
    state.put("s0", "odd", f'{{"n":[{text}]}}')
    outcome = await export(capsys, state, str(path), "--format", "msgpack")
    assert outcome.status == 1
    kind = "integer" if text.lstrip("-").isdigit() else "number"
    assert outcome.err.endswith(
        f"scope 's0', key 'odd': msgpack cannot express the {kind} {text} exactly; export with --format jsonl\n"
    )
    assert "exported" not in outcome.err
    assert progress_of(path).exists()


async def test_chosen_scopes_only(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = await export(capsys, filled(4, 2), "--scope", "s3", "--scope", "s1", "--scope", "s3", "--scope", "none")
    assert [json.loads(line)["scope"] for line in outcome.out.splitlines()] == ["s1", "s1", "s3", "s3"]
    assert "no entries in scope none\n" in outcome.err


@pytest.mark.parametrize("chosen", ["jsonl", "msgpack"])
@pytest.mark.parametrize("torn", [b"", b'{"scope":"s1","ke'])
@pytest.mark.parametrize("cut_at", [1, 2, 6, 9])
async def test_an_interrupted_export_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, chosen: str, torn: bytes, cut_at: int
) -> None:
    state, whole, path = filled(3, 10), tmp_path / "whole", tmp_path / "out"
    state.page_entries = 4
    await export(capsys, state, str(whole), "--format", chosen)
    state.calls.clear()
    state.fail["state::get_many", cut_at] = None
    outcome = await export(capsys, state, str(path), "--format", chosen)
    assert outcome.status == 1
    assert "closed the connection before the result came (1012 cut)" in outcome.err
    assert "not complete: " in outcome.err
    assert "go on with --resume" in outcome.err
    with path.open("ab") as file:
        file.write(torn)
    pages_before = cut_at - 1
    state.calls.clear()
    state.fail.clear()
    outcome = await export(capsys, state, str(path), "--format", chosen, "--resume")
    assert (outcome.status, "exported 30 entries of 3 scopes" in outcome.err) == (0, True)
    assert path.read_bytes() == whole.read_bytes()
    assert state.calls["state::get_many"] == 9 - pages_before
    assert not progress_of(path).exists()


async def test_an_export_does_not_write_over_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("mine")
    outcome = await export(capsys, filled(), str(path))
    assert (outcome.status, outcome.err) == (1, f"{path} exists: remove it, or name another file\n")
    assert path.read_text() == "mine"


async def test_going_on_needs_the_same_export(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state, path = filled(), tmp_path / "out"
    state.fail["state::get_many", 2] = None
    await export(capsys, state, str(path), "--scope", "s1", "--scope", "s2")
    outcome = await export(capsys, state, str(path), "--resume")
    assert outcome.status == 1
    assert outcome.err == f"{path} was begun with --format jsonl and scopes s1, s2: give the same to go on\n"
    path.write_text("")
    outcome = await export(capsys, state, str(path), "--scope", "s1", "--scope", "s2", "--resume")
    assert outcome.status == 1
    assert "has 0 bytes" in outcome.err
    assert "were written: it was changed, start again" in outcome.err


async def test_nothing_to_go_on_with_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "out"
    outcome = await export(capsys, filled(), str(path), "--resume")
    assert outcome.status == 0
    assert outcome.err.startswith(f"nothing to go on with ({progress_of(path)}): from the start\n")
    progress_of(path).write_text("{}")
    outcome = await export(capsys, filled(), str(path), "--resume")
    assert outcome.status == 1
    assert "remove it and start again without --resume" in outcome.err


async def test_large_entries_and_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = FakeState()
    for at in range(12):
        state.put("s", f"k{at}", '"' + "x" * (98_000 if at == 5 else 99_500 if at == 8 else 20_000) + '"')
    path = tmp_path / "out"
    assert (await export(capsys, state, str(path))).status == 0
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [f"k{at}" for at in range(12)]
    assert state.calls["state::list_keys"] == 1


async def test_what_goes_away_meanwhile_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    state = filled(1, 5)
    get_many = state._get_many

    def late(fields: dict[str, bytes]) -> bytes:
        state.scopes["s0"].pop("k2", None)
        return get_many(fields)

    state._get_many = late  # type: ignore[method-assign]
    outcome = await export(capsys, state)
    assert [json.loads(line)["key"] for line in outcome.out.splitlines()] == ["k0", "k1", "k3", "k4"]


# import


def lines_of(count: int, size: int = 0) -> str:
    return "".join(f'{{"scope":"s","key":"k{at}","value":"{"x" * size}{at}"}}\n' for at in range(count))


async def test_batches_are_bounded_by_count_and_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(lines_of(2_500) + lines_of(5, 400_000))
    state = FakeState()
    assert (await import_(capsys, state, str(path))).status == 0
    sizes = [len(data["entries"]) for name, data in state.seen if name == "state::set_many"]
    assert sizes == [1000, 1000, 502, 2, 1]
    assert all(data["durable"] is True for _, data in state.seen)


async def test_the_last_of_a_key_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(lines_of(3000) + '{"scope":"s","key":"k1","value":"last"}\n')
    state = FakeState()
    await import_(capsys, state, str(path))
    assert state.texts()["s"]["k1"] == ('"last"', None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON: "),
        ("[]", "expected an object, it is: array"),
        ('{"scope":"s","key":"k"}', "member `value` is missing"),
        ('{"scope":"s","value":1}', "member `key` is missing or no string"),
        ('{"scope":7,"key":"k","value":1}', "member `scope` is missing or no string"),
        ('{"scope":"s","key":"k","value":1,"ttl":1}', "unknown member 'ttl', expected scope, key, value, expires_at"),
        ('{"scope":"s","key":"k","value":1,"value":2}', "a member is there twice"),
        ('{"scope":"s","key":"k","value":1,"expires_at":1.5}', "member `expires_at` is 1.5, expected Unix time in ms"),
        ('{"scope":"s","key":"k","value":1,"expires_at":-1}', "member `expires_at` is -1, expected Unix time in ms"),
    ],
)
async def test_a_bad_line_is_told_and_ends_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "in"
    path.write_text("\n" + lines_of(5) + line + "\n" + '{"scope":"s","key":"after","value":1}\n')
    state = FakeState()
    outcome = await import_(capsys, state, str(path))
    assert outcome.status == 1
    assert f"{path} line 7: {reason}" in outcome.err
    assert f"not complete: 5 entries are imported from {path}; go on with --resume\n" in outcome.err
    assert list(state.texts()["s"]) == [f"k{at}" for at in range(5)]
    # Repaired, it goes on where it was.
    path.write_text(path.read_text().replace(f"\n{line}\n", '\n{"scope":"s","key":"good","value":1}\n'))
    state.seen.clear()
    outcome = await import_(capsys, state, str(path), "--resume")
    assert (outcome.status, outcome.err) == (0, "imported 2 entries, 5 by the import that was interrupted\n")
    assert list(state.texts()["s"])[5:] == ["good", "after"]
    assert len(state.seen) == 1


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (msgpack.packb([1]), "expected a map, it is: list"),
        (msgpack.packb({"scope": b"s", "key": "k", "value": 1}), "member `scope` is missing or no string"),
        (msgpack.packb({"scope": "s", "key": "k", "value": 1, 5: 6}), "unknown member 5"),
        (msgpack.packb({"scope": "s", "key": "k"}), "member `value` is missing"),
        (msgpack.packb({"scope": "s", "key": "k", "value": "x" * 90})[:50], "the file ends in the middle of it"),
        (b"\xc1", ""),
        (b"\xa1\xff", "can't decode byte 0xff"),
    ],
)
async def test_a_bad_map_is_told_and_ends_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, packed: bytes, reason: str
) -> None:
    path = tmp_path / "in"
    good = b"".join(msgpack.packb({"scope": "s", "key": f"k{at}", "value": at}) for at in range(3))
    path.write_bytes(good + packed)
    state = FakeState()
    outcome = await import_(capsys, state, str(path), "--format", "msgpack")
    assert outcome.status == 1
    assert f"{path} record 4: " in outcome.err
    assert reason in outcome.err
    assert list(state.texts()["s"]) == ["k0", "k1", "k2"]


@pytest.mark.parametrize("chosen", ["jsonl", "msgpack"])
async def test_an_interrupted_import_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path, chosen: str) -> None:
    path = tmp_path / "in"
    records = [json.loads(line) for line in lines_of(8_000).splitlines()]
    path.write_bytes(
        lines_of(8_000).encode() if chosen == "jsonl" else b"".join(msgpack.packb(record) for record in records)
    )
    state = FakeState()
    state.fail["state::set_many", 4] = None
    outcome = await import_(capsys, state, str(path), "--format", chosen)
    assert outcome.status == 1
    assert f"not complete: 3000 entries are imported from {path}; go on with --resume\n" in outcome.err
    outcome = await import_(capsys, state, str(path), "--format", chosen, "--resume")
    assert (outcome.status, outcome.err) == (0, "imported 5000 entries, 3000 by the import that was interrupted\n")
    assert state.calls["state::set_many"] == 4 + 5
    assert len(state.texts()["s"]) == 8_000
    assert not progress_of(path).exists()


async def test_another_file_is_not_gone_on_with(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(lines_of(2_000))
    state = FakeState()
    state.fail["state::set_many", 2] = None
    await import_(capsys, state, str(path))
    path.write_text(lines_of(2_000).replace("k7", "K7", 1))
    outcome = await import_(capsys, state, str(path), "--resume")
    assert outcome.status == 1
    assert f"{path} is not the file that was begun" in outcome.err
    outcome = await import_(capsys, state, str(path), "--resume", "--format", "msgpack")
    assert f"{path} was begun with --format jsonl: give the same to go on\n" in outcome.err


async def test_what_the_engine_refuses_is_told_with_its_lines(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_text(lines_of(3_500))
    state = FakeState()
    state.fail["state::set_many", 3] = WireError("SCOPE_FULL", "full")
    outcome = await import_(capsys, state, str(path))
    assert outcome.status == 1
    assert "line 2001 to line 3000: the engine refused it with SCOPE_FULL: full\n" in outcome.err
    assert "not complete: 2000 entries are imported" in outcome.err


async def test_an_engine_without_a_disk(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(lines_of(2_000))
    state = FakeState()
    state.durable = False
    outcome = await import_(capsys, state, str(path))
    assert outcome.status == 0
    assert outcome.err == (
        "this engine keeps state in memory only: what is imported ends with it\nimported 2000 entries\n"
    )
    assert len(state.texts()["s"]) == 2_000
    assert (await import_(capsys, state, str(path), "--no-durable")).err == "imported 2000 entries\n"
    outcome = await import_(capsys, state, str(path), "--durable")
    assert outcome.status == 1
    assert "the engine refused it with DURABILITY_UNAVAILABLE" in outcome.err


@pytest.mark.parametrize("durable", [True, False])
async def test_entries_that_are_there_can_be_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, durable: bool
) -> None:
    path = tmp_path / "in"
    path.write_text(lines_of(1_500))
    state = FakeState()
    state.durable = durable
    state.put("s", "k3", "true")
    outcome = await import_(capsys, state, str(path), "--if-absent")
    assert outcome.status == 0
    assert outcome.err.endswith("imported 1499 entries, 1 were there already\n")
    assert state.texts()["s"]["k3"] == ("true", None)
    assert len(state.texts()["s"]) == 1_500


async def test_a_value_too_deep_for_a_batch_goes_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "in"
    deep = "[" * 118 + "]" * 118
    path.write_text(
        lines_of(2) + f'{{"scope":"s","key":"deep","value":{deep}}}\n' + '{"scope":"t","key":"k","value":1}\n'
    )
    state = FakeState()
    assert (await import_(capsys, state, str(path))).status == 0
    assert [name for name, _ in state.seen] == ["state::set_many", "state::set", "state::set_many"]
    assert state.texts()["s"]["deep"] == (deep, None)


@pytest.mark.parametrize(
    ("command", "hang_at", "done", "told"),
    [
        ("export", ("state::get_many", 4), "exported 30 entries of 3 scopes", "not complete: 10 entries are in"),
        (
            "import",
            ("state::set_many", 6),
            " by the import that was interrupted",
            "000 entries are imported",
        ),
    ],
)
async def test_ctrl_c_leaves_what_can_be_continued(
    tmp_path: Path, command: str, hang_at: tuple[str, int], done: str, told: str
) -> None:
    state, path = filled(3, 10), tmp_path / "file"
    state.page_entries, state.hang_at = 4, hang_at
    if command == "import":
        path.write_text(lines_of(8_000))
    words = [sys.executable, "-m", "iii_fast", command, str(path)]
    async with fake_state(state) as engine, trio.open_nursery() as nursery:
        start = partial(trio.run_process, [*words, *engine], check=False, stderr=subprocess.PIPE)
        process = await nursery.start(start)
        await state.hanging.wait()
        process.send_signal(signal.SIGINT)
        said = b"".join([data async for data in process.stderr]).decode()
        assert await process.wait() == 130
        assert told in said
        assert "Traceback" not in said
        assert progress_of(path).exists()
        state.hang_at = None
        finished = await trio.run_process([*words, "--resume", *engine], capture_stderr=True)
    assert done in finished.stderr.decode()
    assert not progress_of(path).exists()
    if command == "import":
        assert "not complete: 0 " not in said
        assert len(state.texts()["s"]) == 8_000


@pytest.mark.parametrize("words", [["export"], ["state", "keys", "s"]])
async def test_nobody_reads_stdout_any_more(words: list[str]) -> None:
    state = FakeState()
    for at in range(3_000):
        state.put("s", f"{at:01000}", "1")  # more than a pipe holds
    async with fake_state(state) as engine, trio.open_nursery() as nursery:
        command = [sys.executable, "-m", "iii_fast", *words, *engine]
        start = partial(trio.run_process, command, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process = await nursery.start(start)
        await process.stdout.receive_some(10)
        await process.stdout.aclose()
        assert b"".join([data async for data in process.stderr]) == b""
        assert await process.wait() == 1
