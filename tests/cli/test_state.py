"""``iii-fast state``: what the actions send and print, against a scripted worker port."""

from __future__ import annotations

import json
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from trio_websocket import WebSocketConnection

from iii_fast.cli import main
from tests.cli.fake_engine import Script, fake_engine, result_of
from tests.cli.fake_state import FakeState, fake_state
from tests.cli.outcome import Outcome, run


def answering(seen: list[dict[str, Any]], **outcome: Any) -> Script:
    async def script(connection: WebSocketConnection, message: dict[str, Any]) -> None:
        seen.append(message)
        await connection.send_message(result_of(message, **outcome))

    return script


async def state(capsys: pytest.CaptureFixture[str], script: Script, *arguments: str) -> Outcome:
    async with fake_engine(script) as port:
        return await run(capsys, "state", *arguments, "--address", f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("words", "function_id", "data"),
    [
        (["set", "s", "k", '{"a":1}'], "state::set", {"scope": "s", "key": "k", "value": {"a": 1}}),
        (
            ["set", "s", "k", "null", "--ttl-ms", "5", "--durable"],
            "state::set",
            {"scope": "s", "key": "k", "value": None, "ttl_ms": 5, "durable": True},
        ),
        (["list", "s"], "state::list", {"scope": "s"}),
        (["delete", "s", "k"], "state::delete", {"scope": "s", "key": "k"}),
        (["delete", "s", "k", "--durable"], "state::delete", {"scope": "s", "key": "k", "durable": True}),
    ],
)
async def test_one_call_each(
    capsys: pytest.CaptureFixture[str], words: list[str], function_id: str, data: dict[str, Any]
) -> None:
    seen: list[dict[str, Any]] = []
    outcome = await state(capsys, answering(seen, result={"a": [1]}), *words)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == '{\n  "a": [\n    1\n  ]\n}\n'
    assert (seen[0]["function_id"], seen[0]["data"]) == (function_id, data)


@pytest.mark.parametrize(
    ("entry", "words", "printed"),
    [
        ({"value": {"a": 1}, "version": 7, "expires_at": None}, [], '{\n  "a": 1\n}\n'),
        ({"value": None, "version": 7, "expires_at": None}, [], "null\n"),
        (
            {"value": None, "version": 7, "expires_at": 5},
            ["--meta"],
            '{\n  "value": null,\n  "version": 7,\n  "expires_at": 5\n}\n',
        ),
    ],
)
async def test_get_prints_what_is_stored(
    capsys: pytest.CaptureFixture[str], entry: dict[str, Any], words: list[str], printed: str
) -> None:
    seen: list[dict[str, Any]] = []
    outcome = await state(capsys, answering(seen, result=entry), "get", "s", "k", *words)
    assert (outcome.status, outcome.out, outcome.err) == (0, printed, "")
    assert (seen[0]["function_id"], seen[0]["data"]) == ("state::get", {"scope": "s", "key": "k", "meta": True})


@pytest.mark.parametrize("result", [{}, {"result": None}])
@pytest.mark.parametrize("words", [[], ["--meta"]])
async def test_get_of_a_key_that_is_not_there(
    capsys: pytest.CaptureFixture[str], words: list[str], result: dict[str, Any]
) -> None:
    outcome = await state(capsys, answering([], **result), "get", "s", "k\n", *words)
    assert (outcome.status, outcome.out, outcome.err) == (1, "", 'there is no key "k\\n" in scope "s"\n')


@pytest.mark.parametrize("result", [7, {"version": 1}])
async def test_get_from_an_engine_that_does_not_know_meta(capsys: pytest.CaptureFixture[str], result: Any) -> None:
    outcome = await state(capsys, answering([], result=result), "get", "s", "k")
    assert (outcome.status, outcome.out) == (1, "")
    assert "does not know `meta`" in outcome.err


async def test_values_from_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[dict[str, Any]] = []
    path = tmp_path / "value.json"
    path.write_text(' {"from": "file"}\n')
    await state(capsys, answering(seen), "set", "s", "k", f"@{path}")
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b'"from stdin"')))
    await state(capsys, answering(seen), "set", "s", "k", "-")
    assert [message["data"]["value"] for message in seen] == [{"from": "file"}, "from stdin"]


async def test_an_error_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = await state(capsys, answering([], error={"code": "E", "message": "m"}), "get", "s", "k")
    assert (outcome.status, outcome.out, outcome.err) == (1, "", "error E: m\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["state"], "the following arguments are required: ACTION"),
        (["state", "gte", "s", "k"], "invalid choice: 'gte'"),
        (["state", "set", "s", "k", "ada"], "VALUE is not JSON: "),
        (["state", "set", "s", "k", "ada"], "; a text needs quotes: '\"ada\"'"),
        (["state", "set", "s", "k", "@/missing/file"], "/missing/file cannot be read: No such file or directory"),
        (["state", "watch", "--prefix", "p"], "--prefix needs a SCOPE"),
        (["state", "watch", "--since", "-1"], "--since is -1, expected a position: 0 or more"),
        (["state", "get", "s", "k", "--timeout-ms", "0"], "--timeout-ms is 0, expected"),
        (["state", "get", "s", "\udcff"], "an argument is not UTF-8 text"),
        (["export", "--resume"], "--resume needs a FILE"),
        (["export", "--format", "xml"], "invalid choice: 'xml'"),
        (["import", "--resume"], "--resume needs a FILE"),
        (["import", "f", "--from-iii", "d"], "--from-iii reads a directory: leave out FILE"),
        (["import", "--format", "jsonl", "--from-iii", "d"], "--from-iii reads a directory: leave out --format"),
    ],
)
def test_bad_usage_ends_with_status_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


# keys


async def keys(capsys: pytest.CaptureFixture[str], found: FakeState, *arguments: str) -> Outcome:
    async with fake_state(found) as engine:
        return await run(capsys, "state", "keys", *arguments, *engine)


async def test_keys_one_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = FakeState()
    for key in ("b", "a", "ab\n", "ä"):
        found.put("s", key, "1")
    assert (await keys(capsys, found, "s")).out == "b\na\nab\n\nä\n"
    assert (await keys(capsys, found, "s", "--prefix", "a", "--json")).out == '"a"\n"ab\\n"\n'
    assert (await keys(capsys, found, "none")).out == ""


async def test_more_keys_than_one_answer_holds(capsys: pytest.CaptureFixture[str]) -> None:
    found = FakeState()
    for at in range(3_000):
        found.put("s", f"{'x' if at % 3 else 'y'}{at:050}", "1")
    outcome = await keys(capsys, found, "s")
    assert outcome.out.splitlines() == list(found.scopes["s"])
    outcome = await keys(capsys, found, "s", "--prefix", "x", "--json")
    assert [json.loads(line) for line in outcome.out.splitlines()] == [
        key for key in found.scopes["s"] if key[0] == "x"
    ]
    assert found.calls["state::list_entries"] >= 4
