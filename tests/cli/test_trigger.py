"""``iii-fast trigger`` against a real WebSocket on loopback: what it sends, prints, and how it fails."""

from __future__ import annotations

import json
import socket
from functools import partial
from typing import Any

import pytest
import trio
from trio_websocket import WebSocketConnection

from tests.cli.fake_engine import Script, fake_engine, result_of
from tests.cli.outcome import Outcome, run


async def trigger(capsys: pytest.CaptureFixture[str], script: Script, *arguments: str) -> Outcome:
    async with fake_engine(script) as port:
        return await run(capsys, "trigger", *arguments, "--address", "127.0.0.1", "--port", str(port))


def answering(seen: list[dict[str, Any]], **outcome: Any) -> Script:
    async def script(connection: WebSocketConnection, message: dict[str, Any]) -> None:
        seen.append(message)
        await connection.send_message(result_of(message, **outcome))

    return script


async def test_the_result_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[dict[str, Any]] = []
    outcome = await trigger(
        capsys, answering(seen, result={"new_value": {"a": [1, 2.50]}}), "state::set", "key=k", "n=1"
    )
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == '{\n  "new_value": {\n    "a": [\n      1,\n      2.5\n    ]\n  }\n}\n'
    assert len(seen) == 1
    invocation_id = seen[0].pop("invocation_id")
    assert len(invocation_id) == 36
    assert seen[0] == {"type": "invokefunction", "function_id": "state::set", "data": {"key": "k", "n": 1}}


async def test_no_result_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = await trigger(capsys, answering([]), "f")
    assert (outcome.status, outcome.out) == (0, "null\n")


@pytest.mark.parametrize("form", [["f", "--json", "[1]"], ["--function-id=f", "--payload=[1]"]])
async def test_both_generations_of_the_command(capsys: pytest.CaptureFixture[str], form: list[str]) -> None:
    seen: list[dict[str, Any]] = []
    assert (await trigger(capsys, answering(seen, result=1), *form)).out == "1\n"
    assert (seen[0]["function_id"], seen[0]["data"]) == ("f", [1])


async def test_options_may_stand_between_the_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[dict[str, Any]] = []
    await trigger(capsys, answering(seen), "f", "a=1", "--json", '{"b":2,"a":9}', "c=x", "-n", "team")
    assert seen[0]["data"] == {"b": 2, "a": 1, "c": "x"}
    assert seen[0]["namespace"] == "team"


async def test_the_default_namespace_is_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[dict[str, Any]] = []
    await trigger(capsys, answering(seen), "f", "--namespace", "default")
    assert "namespace" not in seen[0]


async def test_iii_url_names_the_engine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_engine(answering([], result="here")) as port:
        monkeypatch.setenv("III_URL", f"ws://127.0.0.1:{port}")
        assert (await run(capsys, "t", "f")).out == '"here"\n'


async def test_an_error_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"code": "function_not_found", "message": "Function f not found in namespace default."}
    outcome = await trigger(capsys, answering([], error=error), "f")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "error function_not_found: Function f not found in namespace default.\n"


async def test_a_stack_trace_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"code": "E", "message": "m", "stacktrace": "at line 1"}
    assert (await trigger(capsys, answering([], error=error), "f")).err == "error E: m\nat line 1\n"


async def test_an_error_of_another_shape_is_shown_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = await trigger(capsys, answering([], error=["odd"], result=1), "f")
    assert (outcome.status, outcome.err) == (1, 'error UNKNOWN: ["odd"]\n')


async def test_other_messages_are_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    async def script(connection: WebSocketConnection, message: dict[str, Any]) -> None:
        await connection.send_message('{"type":"ping"}')
        await connection.send_message("[]")
        await connection.send_message(result_of({**message, "invocation_id": "other"}, result="not mine"))
        await connection.send_message(result_of(message, result="mine"))

    assert (await trigger(capsys, script, "f")).out == '"mine"\n'


async def test_numbers_and_members_are_printed_as_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    raw = '{"big":123456789012345678901234567890,"huge":1e400,"same":1,"same":2}'

    async def script(connection: WebSocketConnection, message: dict[str, Any]) -> None:
        await connection.send_message(result_of(message, result=0).replace('"result": 0', f'"result": {raw}'))

    out = (await trigger(capsys, script, "f")).out
    assert "".join(out.split()) == raw


async def test_a_large_result_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    text = "x" * (5 << 20)
    assert json.loads((await trigger(capsys, answering([], result=text), "f")).out) == text


async def test_time_runs_out(capsys: pytest.CaptureFixture[str]) -> None:
    async def script(_connection: WebSocketConnection, _message: dict[str, Any]) -> None:
        await trio.sleep_forever()

    outcome = await trigger(capsys, script, "f", "--timeout-ms", "50")
    assert outcome.status == 1
    assert outcome.err == "error TIMEOUT: f gave no result within 50 ms (--timeout-ms)\n"


async def test_an_engine_that_closes_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def script(connection: WebSocketConnection, _message: dict[str, Any]) -> None:
        await connection.aclose(1012, "restarting")

    outcome = await trigger(capsys, script, "f")
    assert outcome.status == 1
    assert outcome.err.endswith(" closed the connection before the result came (1012 restarting)\n")


async def test_a_message_that_is_not_json_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def script(connection: WebSocketConnection, _message: dict[str, Any]) -> None:
        await connection.send_message("{")

    outcome = await trigger(capsys, script, "f")
    assert outcome.status == 1
    assert outcome.err.startswith("the engine sent a message that is not JSON: ")


async def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, so that nobody else gets the port, but not listening
        port = taken.getsockname()[1]
        outcome = await run(capsys, "trigger", "f", "--address", "127.0.0.1", "--port", str(port))
    assert outcome.status == 1
    assert outcome.err == (
        f"no engine answers at ws://127.0.0.1:{port} (Connection refused): start one with `iii-fast serve`, "
        "or name where it is with --address and --port (or III_URL)\n"
    )


async def test_something_else_listens(capsys: pytest.CaptureFixture[str]) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        outcome = await run(capsys, "trigger", "f", "--address", "127.0.0.1", "--port", str(port))
        nursery.cancel_scope.cancel()
    assert outcome.status == 1
    assert outcome.err == f"ws://127.0.0.1:{port} answers with HTTP status 404, it is no iii engine\n"


async def test_somebody_who_never_shakes_hands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iii_fast.cli.client.HANDSHAKE_S", 0.05)

    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        outcome = await run(capsys, "trigger", "f", "--address", "127.0.0.1", "--port", str(port))
        nursery.cancel_scope.cancel()
    assert outcome.status == 1
    assert outcome.err == f"ws://127.0.0.1:{port} does not answer as a WebSocket within 0.05 s, it is no iii engine\n"
