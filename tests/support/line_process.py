"""A child process that speaks in lines: started, watched, waited for, ended. Synchronous, so that fixtures of any scope
can own one; a thread reads the lines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


class LineProcess:
    """Runs ``command`` and collects what it writes to stdout and stderr, line by line, in ``lines``."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(env or {})},
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def write_line(self, line: str) -> None:
        """Sends one line to the process's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait_for(self, wanted: Callable[[str], bool], timeout_s: float, start: int = 0) -> str:
        """The first line from index ``start`` on that is ``wanted``; fails when the process ends or time is up."""
        deadline = time.monotonic() + timeout_s
        seen = start
        with self._changed:
            while True:
                fresh = self.lines[seen:]
                seen += len(fresh)
                found = next((line for line in fresh if wanted(line)), None)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    state = "ended" if self._ended else f"said nothing of the kind in {timeout_s} s"
                    raise AssertionError(f"{' '.join(self.command)} {state}; its output:\n" + "\n".join(self.lines))
                self._changed.wait(left)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to this process only."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """The exit status, once the process has ended by itself and all its output is in ``lines``."""
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    def stop(self) -> None:
        """Ends the process, politely first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # a killed process has not read all of it
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
