"""The commands for state on values that came in msgpack: all is kept, or what cannot be is named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from tests.cli.outcome import Outcome, run
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.raw_client import BINARY, RawClient, connect, encode_frame

NAN = float("nan")
VALUES: dict[str, Any] = {
    "binary": {"photo": b"\x00\xff" * 40, "n": 1},
    "nan": [NAN, float("-inf"), -0.0],
    "names": {1: "one", None: [True], b"b": {2.5: "x"}, "1": "text"},
    "time": msgpack.Timestamp(5, 7),
    "extension": msgpack.ExtType(7, b"abc"),
    "large": 2**64 - 1,
}
PLAIN: dict[str, Any] = {"list": [1, -0.5, None, "é"], "map": {"a": {"b": True}}, "large": 2**64 - 1}
NO_JSON = {
    "binary": ".photo` is binary",
    "nan": "[0]` is NaN",
    "names": "` is a member whose name is no string",
    "time": "` is a timestamp",
    "extension": "` is an extension of type 7",
}
PAIRS = [(first, second) for first in BACKENDS for second in BACKENDS]


def address(engine: EngineProcess) -> str:
    return f"{engine.worker[0]}:{engine.worker[1]}"


def command(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> Outcome:
    outcome = trio.run(run, capsys, *(str(one) for one in arguments))
    assert outcome.status == status, outcome.err
    return outcome


async def ask(client: RawClient, function: str, data: Any) -> bytes:
    """The reply in its bytes: equal bytes are equal values, NaN included."""
    message = {"type": "invokefunction", "invocation_id": "1", "function_id": f"state::{function}", "data": data}
    await client.send_raw(encode_frame(BINARY, msgpack.packb(message)))
    return (await client.receive_message()).payload


def put(engine: EngineProcess, values: dict[str, Any]) -> None:
    """Stores values in msgpack."""

    async def write() -> None:
        async with connect(engine.worker) as client:
            for key, value in values.items():
                await ask(client, "set", {"scope": "s", "key": key, "value": value})

    trio.run(write)


def told(engine: EngineProcess, keys: Iterable[str]) -> list[bytes]:
    """What a msgpack worker is told of them."""

    async def read() -> list[bytes]:
        async with connect(engine.worker) as client:
            return [await ask(client, "get", {"scope": "s", "key": key}) for key in keys]

    return trio.run(read)


@pytest.mark.deadline(60)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_backup_keeps_the_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path, first: str, second: str) -> None:
    data, copy, place = (tmp_path / name for name in ("data", "copy", "place"))
    with EngineProcess(first, "--data-dir", str(data)) as engine:
        put(engine, VALUES)
        before = told(engine, VALUES)
        command(capsys, "backup", copy, "--data-dir", data)
    assert f"{data} is intact: " in command(capsys, "verify", data).out
    assert f"{copy} is intact: " in command(capsys, "verify", copy).out
    command(capsys, "restore", copy, "--data-dir", place)
    with EngineProcess(second, "--data-dir", str(place)) as engine:
        assert told(engine, VALUES) == before


@pytest.mark.deadline(60)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_an_export_in_msgpack_keeps_everything(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, first: str, second: str
) -> None:
    path = tmp_path / "state.msgpack"
    with EngineProcess(first, "--in-memory") as source, EngineProcess(second, "--in-memory") as target:
        put(source, VALUES)
        command(capsys, "export", path, "--format", "msgpack", "--address", address(source))
        command(capsys, "import", path, "--format", "msgpack", "--address", address(target))
        assert told(target, VALUES) == told(source, VALUES)


@pytest.mark.deadline(60)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_export_in_json_lines_keeps_or_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, backend: str
) -> None:
    with EngineProcess(backend, "--in-memory") as engine:
        at = ["--address", address(engine)]
        put(engine, PLAIN)
        whole = tmp_path / "whole.jsonl"
        command(capsys, "export", whole, *at)
        before = told(engine, PLAIN)
        command(capsys, "import", whole, *at)
        assert told(engine, PLAIN) == before
        for key, what in NO_JSON.items():
            put(engine, {key: VALUES[key]})
            stored = told(engine, [key])
            path = tmp_path / f"{key}.jsonl"
            error = command(capsys, "export", path, *at, status=1).err
            assert (
                f"scope 's', key '{key}': `value{what}, which JSON cannot express; export with --format msgpack\n"
                in error
            )
            assert told(engine, [key]) == stored
            put(engine, {key: None})
