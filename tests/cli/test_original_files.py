"""``iii-fast import --from-iii``: the original engine's files, made by hand from their description."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iii_fast.cli.original_files import DamagedFileError, records_of
from tests.cli.fake_state import FakeState, fake_state
from tests.cli.outcome import Outcome, run

TRAILER = bytes([0xF8, 0xFF, 0xFF, 0xFF, 0x30, 0x80, 0, 0xFF])


def original(text: str | bytes, padding: int | bytes | None = None) -> bytes:
    """A file as the original engine writes it: text, padding to a multiple of 8 unless told otherwise, trailer."""
    raw = text if isinstance(text, bytes) else text.encode()
    if padding is None:
        padding = -len(raw) % 8
    return raw + (bytes(padding) if isinstance(padding, int) else padding) + TRAILER


async def import_(capsys: pytest.CaptureFixture[str], state: FakeState, *arguments: str) -> Outcome:
    async with fake_state(state) as engine:
        return await run(capsys, "import", *arguments, *engine)


async def test_every_file_is_a_scope(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "users.bin").write_bytes(original('{"ada":{"age": 36.0},"bob":[1e400 ],"":null}'))
    (tmp_path / "a%2Fb%20%C3%A4.bin").write_bytes(original('{"k":"\\u00e4"}'))
    (tmp_path / "empty.bin").write_bytes(original("{}"))
    (tmp_path / "notes.txt").write_text("not a scope")
    state = FakeState()
    outcome = await import_(capsys, state, "--from-iii", str(tmp_path))
    assert (outcome.status, outcome.err) == (0, "imported 4 entries, 3 scopes\n")
    assert state.texts() == {
        "users": {"ada": ('{"age": 36.0}', None), "bob": ("[1e400 ]", None), "": ("null", None)},
        "a/b ä": {"k": ('"\\u00e4"', None)},
    }
    assert list(state.scopes["users"]) == ["ada", "bob", ""]


@pytest.mark.parametrize("padding", [*range(8), b"}}}}}}}", b"\xff" * 3, b"\x80"])
def test_padding_is_passed_over(tmp_path: Path, padding: int | bytes) -> None:
    path = tmp_path / "s.bin"
    path.write_bytes(original('{"ä":"}"}', padding))
    assert [(record.key, record.value) for record in records_of(path)] == [("ä", b'"}"')]


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("s.bin", b"", "offset 0: the file ends before an object and 8 bytes"),
        ("s.bin", b'{"a":1}', "offset 7: the file ends before an object and 8 bytes"),
        ("s.bin", original("[1,2,3]"), "offset 0: expected the { of a JSON object"),
        ("s.bin", original('{"ä":1,"b":}'), "offset 12: Expecting value"),
        ("s.bin", original('{"ä":1,"b"'), "offset 11: Expecting ':' delimiter"),
        ("s.bin", original(b'{"\xc3\xa4":"\xff"}'), "offset 7: not UTF-8"),
        ("s.bin", original('{"ä":1}', 8), "offset 8: 8 bytes behind the object, expected 7 at most"),
        ("s.bin", original('{"a":NaN}'), "NaN is not a JSON value"),
        ("s.bin", original('{"a":"\\ud800"}'), "from offset 0: lone surrogate in a string"),
        ("s.bin", original('{"a":' + "[" * 130 + "]" * 130 + "}"), "from offset 0: more than 120 nested levels"),
        ("s.bin", original('{"a":' + "[" * 9000 + "]" * 9000 + "}"), "from offset 0: nested too deep"),
        ("s%FF.bin", original("{}"), "the name is no percent-encoded UTF-8"),
    ],
)
async def test_a_damaged_file_is_told_and_the_others_are_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, raw: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(raw)
    (tmp_path / "a.bin").write_bytes(original('{"k":1}'))
    (tmp_path / "z.bin").write_bytes(original('{"k":2}'))
    state = FakeState()
    outcome = await import_(capsys, state, "--from-iii", str(tmp_path))
    assert outcome.status == 1
    told, counts, summary = outcome.err.splitlines()
    assert told.startswith(f"{tmp_path / name}: ")
    assert reason in told
    assert (counts, summary) == ("imported 2 entries, 2 scopes", "1 of 3 files could not be read, see above")
    assert state.texts() == {"a": {"k": ("1", None)}, "z": {"k": ("2", None)}}
    with pytest.raises(DamagedFileError):
        records_of(tmp_path / name)


async def test_a_directory_without_files_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    outcome = await import_(capsys, FakeState(), "--from-iii", str(tmp_path))
    assert (outcome.status, outcome.err.startswith(f"{tmp_path} has no files *.bin: ")) == (1, True)
    missing = tmp_path / "missing"
    outcome = await import_(capsys, FakeState(), "--from-iii", str(missing))
    assert (outcome.status, outcome.err) == (1, f"{missing}: No such file or directory\n")


async def test_long_scopes_come_in_batches(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = ",".join(f'"k{at}":{at}' for at in range(2_500))
    (tmp_path / "s.bin").write_bytes(original(f"{{{text}}}"))
    state = FakeState()
    assert (await import_(capsys, state, "--from-iii", str(tmp_path))).status == 0
    assert len(state.texts()["s"]) == 2_500
    assert state.calls["state::set_many"] == 3


async def test_a_name_that_is_no_text_is_told_and_an_empty_one_is_a_scope(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / os.fsdecode(b"\xff.bin")).write_bytes(original('{"k":1}'))
    (tmp_path / ".bin").write_bytes(original('{"k":2}'))
    state = FakeState()
    outcome = await import_(capsys, state, "--from-iii", str(tmp_path))
    assert outcome.status == 1
    assert "the name is no percent-encoded UTF-8" in outcome.err
    assert "1 of 2 files could not be read" in outcome.err
    assert state.texts() == {"": {"k": ("2", None)}}
