"""The change feed on stdout: watches, prints, and goes on where it was after the connection was lost."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from typing import Final

import trio

from iii_fast import jsontext
from iii_fast.cli.client import converse
from iii_fast.cli.session import Invocation, NoEngineError, Session
from iii_fast.errors import WireError
from iii_fast.protocol import Code

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0


@dataclass(slots=True)
class Feed:
    """What is watched. ``filters`` are members of ``state::watch``; ``position`` is the last one that was printed."""

    url: str
    filters: dict[str, str]
    position: int | None
    timeout_ms: int
    begun: bool = False


def run(feed: Feed) -> None:
    """Prints changes until Ctrl-C; then tells the position. Raises ``NoEngineError`` when there is no engine at first,
    ``WireError`` when the engine refuses to watch or ends it."""
    try:
        trio.run(_watch, feed)
    except* KeyboardInterrupt:  # in a group when it hit a nursery
        pass
    finally:
        if feed.position is not None:
            print(f"position {feed.position}; go on with --since {feed.position}", file=sys.stderr)


async def _watch(feed: Feed) -> None:
    pause_s = FIRST_PAUSE_S
    while True:
        connected_at = trio.current_time()
        try:
            await converse(feed.url, lambda session: _follow(session, feed), timeout_ms=feed.timeout_ms)
        except NoEngineError as error:
            if not feed.begun:
                raise
            print(f"{error}; trying again, from position {feed.position}", file=sys.stderr)
        except WireError as error:
            if error.code == Code.HISTORY_LOST:
                feed.position = None  # nothing can be gone on with
            raise
        pause_s = FIRST_PAUSE_S if trio.current_time() - connected_at > LONGEST_PAUSE_S else pause_s
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _follow(session: Session, feed: Feed) -> None:
    """Prints what comes over one connection. Raises ``NoEngineError`` when that has ended."""
    function_id = f"iii-fast::watch::{uuid.uuid4()}"
    invocations = await session.register(function_id)
    question: dict[str, str | int] = {"function_id": function_id, **feed.filters}
    if feed.position is not None:
        question["since"] = feed.position
    answer = dict(jsontext.members(await session.call("state::watch", jsontext.encode(question))) or ())
    if feed.position is None:
        feed.position = _position(answer.get("position"))
    feed.begun = True
    async for invocation in invocations:
        await _print(invocation, feed)
        await invocation.succeed()
    raise session.lost()


async def _print(invocation: Invocation, feed: Feed) -> None:
    """Prints the changes of one invocation. Raises ``WireError`` when it says that the watch has ended."""
    told = dict(jsontext.members(invocation.data) or ())
    error = told.get("error")
    if error is not None:
        body = jsontext.decode(error)
        raise WireError(str(body.get("code", Code.UNKNOWN)), str(body.get("message", "")))
    position = _position(told.get("position"))
    lines = []
    for change in jsontext.elements(told.get("changes", b"[]")) or ():
        at = _position(dict(jsontext.members(change) or ()).get("position"))
        # What was printed and not acknowledged comes again.
        if feed.position is None or at > feed.position:
            lines.append(change.replace(b"\n", b" ").replace(b"\r", b" ").decode() + "\n")
    if lines:
        await trio.to_thread.run_sync(_write, "".join(lines))
    feed.position = position


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _position(text: bytes | None) -> int:
    found = None if text is None else jsontext.decode(text)
    if not isinstance(found, int):
        raise WireError(Code.UNKNOWN, "the engine sent a change without its position")
    return found
