"""Runs a command in this process, beside a fake engine, and keeps what it came to."""

from __future__ import annotations

import pytest
import trio

from iii_fast.cli import main


class Outcome:
    """What a command came to: exit status, and what it wrote."""

    def __init__(self, status: int, captured: tuple[str, str]) -> None:
        self.status = status
        self.out, self.err = captured


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    """Runs ``iii-fast`` with ``arguments``."""
    # The command has an event loop of its own, so it runs in a thread beside the fake engine's.
    status = await trio.to_thread.run_sync(main, arguments)
    return Outcome(status, capsys.readouterr())
