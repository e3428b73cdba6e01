"""``iii-fast state watch`` as a process against a scripted worker port: lines, acknowledgements, reconnects, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from tests.cli.fake_engine import REGISTERED, result_of


@dataclass
class Watcher:
    """One connection of the command, seen from the engine."""

    connection: WebSocketConnection
    function_id: str = ""
    question: dict[str, Any] = field(default_factory=dict)

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.connection.get_message())
        return message

    async def begin(self, **outcome: Any) -> None:
        """Takes the registration and the call of ``state::watch``, and answers it."""
        registration = await self.receive()
        assert registration["type"] == "registerfunction"
        self.function_id = registration["id"]
        call = await self.receive()
        assert call["function_id"] == "state::watch"
        self.question = call["data"]
        assert self.question.pop("function_id") == self.function_id
        await self.connection.send_message(result_of(call, **outcome))

    async def tell(self, data: str, invocation_id: str = "i") -> None:
        """Invokes the command's function."""
        body = f'"invocation_id":"{invocation_id}","function_id":"{self.function_id}","data":{data}'
        await self.connection.send_message(f'{{"type":"invokefunction",{body}}}')

    async def acknowledged(self, invocation_id: str = "i") -> None:
        """Waits for the success of that invocation."""
        answer = await self.receive()
        expected = {"invocation_id": invocation_id, "function_id": self.function_id}
        assert answer == {"type": "invocationresult", **expected}


Play: TypeAlias = Callable[[Watcher], Awaitable[None]]


class Command:
    """The running command; its lines come one by one."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffers = {"stdout": b"", "stderr": b""}

    async def line(self, name: str = "stdout") -> str:
        """The next line of ``stdout`` or ``stderr``; ``""`` at its end."""
        stream: trio.abc.ReceiveStream = getattr(self.process, name)
        while b"\n" not in self._buffers[name]:
            data = await stream.receive_some()
            if not data:
                return self._buffers[name].decode()
            self._buffers[name] += data
        line, _, self._buffers[name] = self._buffers[name].partition(b"\n")
        return line.decode()

    async def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return await self.process.wait()


@asynccontextmanager
async def watching(plays: list[Play], *arguments: str) -> AsyncGenerator[Command]:
    """Runs the command; each of its connections is served by the next of ``plays``."""
    left = list(plays)

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.send_message(REGISTERED)
        try:
            await left.pop(0)(Watcher(connection))
            await connection.get_message()
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        command = [sys.executable, "-m", "iii_fast", "state", "watch", *arguments]
        start = partial(
            trio.run_process,
            [*command, "--address", f"127.0.0.1:{server.port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        process = await nursery.start(start)
        async with process.stdout, process.stderr:
            yield Command(process)
        nursery.cancel_scope.cancel()


def change(position: int, more: str = "") -> str:
    return f'{{"position":{position},"type":"updated","scope":"s","key":"k","value":{position}.50{more}}}'


def batch(*changes: str, position: int) -> str:
    return f'{{"watch_id":"w","changes":[{",".join(changes)}],"position":{position}}}'


async def test_a_line_for_each_change_and_a_position_at_the_end() -> None:
    asked: list[dict[str, Any]] = []

    async def play(watcher: Watcher) -> None:
        await watcher.begin(result={"watch_id": "w", "position": 6})
        asked.append(watcher.question)
        await watcher.tell(batch(change(7), change(8, ',"expires_at":\n9'), position=9))
        await watcher.acknowledged()
        await watcher.tell(batch(change(10), position=10), "j")
        await watcher.acknowledged("j")

    async with watching([play], "s", "--prefix", "k") as command:
        assert await command.line() == change(7)
        assert await command.line() == change(8, ',"expires_at": 9')
        assert await command.line() == change(10)
        assert await command.interrupt() == 0
        assert await command.line("stderr") == "position 10; go on with --since 10"
        assert (await command.line("stderr"), await command.line()) == ("", "")
    assert asked == [{"scope": "s", "prefix": "k"}]


async def test_it_goes_on_where_it_was_after_the_connection_was_lost() -> None:
    asked: list[dict[str, Any]] = []

    async def first(watcher: Watcher) -> None:
        await watcher.begin(result={"watch_id": "w", "position": 3})
        asked.append(watcher.question)
        await watcher.tell(batch(change(4), change(5), position=5))
        await watcher.acknowledged()
        await watcher.connection.aclose(1012, "restarting")

    async def second(watcher: Watcher) -> None:
        await watcher.begin(result={"watch_id": "w2", "position": 5})
        asked.append(watcher.question)
        await watcher.tell(batch(change(5), change(6), position=6))

    async with watching([first, second], "--since", "3") as command:
        assert [await command.line() for _ in range(3)] == [change(4), change(5), change(6)]
        lost = await command.line("stderr")
        assert lost.endswith("(1012 restarting); trying again, from position 5")
        assert await command.interrupt() == 0
        assert await command.line("stderr") == "position 6; go on with --since 6"
    assert asked == [{"since": 3}, {"since": 5}]


@pytest.mark.parametrize("late", [False, True])
async def test_a_lost_history_ends_it(late: bool) -> None:
    error = {"code": "HISTORY_LOST", "message": "read the entries and watch from position 9"}

    async def play(watcher: Watcher) -> None:
        if not late:
            await watcher.begin(error=error)
            return
        await watcher.begin(result={"watch_id": "w", "position": 3})
        await watcher.tell(json.dumps({"watch_id": "w", "error": error, "position": 9}))

    async with watching([play], "--since", "3") as command:
        assert await command.process.wait() == 1
        assert await command.line("stderr") == f"error HISTORY_LOST: {error['message']}", "and no hint to go on there"


async def test_nobody_reads_the_lines_any_more() -> None:
    async def play(watcher: Watcher) -> None:
        await watcher.begin(result={"watch_id": "w", "position": 3})
        await watcher.tell(batch(change(4), position=4))
        await watcher.acknowledged()
        stopped.set()
        await go_on.wait()
        await watcher.tell(batch(change(5), position=5))

    stopped, go_on = trio.Event(), trio.Event()
    async with watching([play]) as command:
        assert await command.line() == change(4)
        await stopped.wait()
        await command.process.stdout.aclose()
        go_on.set()
        assert await command.process.wait() == 1
        assert await command.line("stderr") == "position 4; go on with --since 4"
        assert await command.line("stderr") == ""


async def test_no_engine_at_first_ends_it() -> None:
    process = await trio.run_process(
        [sys.executable, "-m", "iii_fast", "state", "watch", "--address", "no.such.host.invalid"],
        capture_stderr=True,
        check=False,
    )
    assert process.returncode == 1
    assert b"start one with `iii-fast serve`" in process.stderr
