"""A started engine: ``iii-fast serve`` as a person runs it, on ports that the system chose.

The engine announces its addresses in one log line; how that line looks is known here and nowhere else in the tests.
It keeps state in a directory of its own, which goes with it.
"""

from __future__ import annotations

import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from tests.support.deadlines import START_S
from tests.support.line_process import LineProcess

BACKENDS: Final = ("native", "reference")
DURABLE: Final = frozenset({"native", "reference"})
"""Backends whose engines keep state in files unless a test says otherwise."""
PLACES: Final = frozenset({"--data-dir", "--in-memory", "III_FAST_DATA_DIR", "III_FAST_IN_MEMORY"})
"""Flags and variables that say where state is kept."""
LISTENING: Final = re.compile(r"worker=wss?://([^:\s]+):(\d+)(?:\s+http=https?://([^:\s]+):(\d+))?")

BUG: Final = re.compile(r"\bbug\b|Traceback|panicked", re.IGNORECASE)

Address = tuple[str, int]


class EngineProcess:
    """One engine. ``worker`` and ``http`` are its addresses (host, port); leave the context and it has ended well."""

    def __init__(self, backend: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        ports = ["--host", "127.0.0.1", "--port", "0", "--http-port", "0"]
        command = [sys.executable, "-m", "iii_fast", "serve", "--backend", backend, *ports, *arguments]
        with ExitStack() as stack:
            if not has_place(arguments, env or {}):
                command += _place(backend, stack)
            self._start(command, env)
            self._cleanup = stack.pop_all()
        self._good_status = 0

    def _start(self, command: Sequence[str], env: Mapping[str, str] | None) -> None:
        self.process = LineProcess(command, env)
        try:
            line = self.process.wait_for(lambda line: LISTENING.search(line) is not None, START_S)
        except BaseException:
            self.process.stop()
            raise
        found = LISTENING.search(line)
        assert found is not None
        self._scheme = "wss" if "worker=wss://" in line else "ws"
        self.worker: Address = (found[1], int(found[2]))
        self.http: Address = (found[3] or found[1], int(found[4] or 0))

    @property
    def url(self) -> str:
        """What an SDK is given."""
        return f"{self._scheme}://{self.worker[0]}:{self.worker[1]}"

    def http_url(self, path: str) -> str:
        """The address of an http trigger's route."""
        return f"http://{self.http[0]}:{self.http[1]}/{path.lstrip('/')}"

    def kill(self) -> None:
        """Ends it without a word, as a crash would."""
        self.process.process.kill()
        self.process.process.wait()
        self._good_status = -signal.SIGKILL

    def fails(self, status: int) -> None:
        """It has ended, or will, with ``status``, and that is right."""
        self._good_status = status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            self.process.stop()
            if kind is None:
                self._check_its_end()

    def _check_its_end(self) -> None:
        """Whatever tests did to it, an engine ends with status 0 unless it is killed, and never reports its own bug."""
        status, output = self.process.process.returncode, "\n".join(self.process.lines[-100:])
        assert status == self._good_status, f"the engine ended with {status}:\n{output}"
        assert not any(BUG.search(line) for line in self.process.lines), output


def has_place(arguments: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether flags or variables say where state is kept."""
    return bool(PLACES & {*env, *(argument.partition("=")[0] for argument in arguments)})


def _place(backend: str, stack: ExitStack) -> list[str]:
    """Flags for a place of its own, which ``stack`` removes."""
    if backend not in DURABLE:
        return ["--in-memory"]
    return ["--data-dir", stack.enter_context(tempfile.TemporaryDirectory(prefix="iii-fast-"))]
