"""A real ``redis-server`` on a port that was free, of which nothing is left behind; and engines with state in it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.deadlines import START_S
from tests.support.engine_process import EngineProcess
from tests.support.polling import eventually

MISSING: Final = "redis-server is not installed: `make redis` installs it"
STARTS_MAX: Final = 5
CONFIG: Final = """\
workers:
- name: iii-state
  config:
    adapter: {{name: redis, config: {{redis_url: '{url}'}}}}
"""


class RedisServer:
    """One server; nothing of it is on a disk. ``stop`` and ``start`` may take turns: the port stays."""

    def __init__(self, *options: str) -> None:
        assert shutil.which("redis-server"), MISSING
        self._options = options
        self._directory = tempfile.TemporaryDirectory(prefix="iii-fast-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        for _ in range(STARTS_MAX):
            self.port = _free_port()
            if self.start():
                return
        raise AssertionError(self.log())

    @property
    def url(self) -> str:
        """What a configuration names it with."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """It runs."""
        assert self._process is not None
        return self._process

    def start(self) -> bool:
        """Starts it, empty, and waits until it answers; false when somebody else had the port."""
        log = self.path("log")
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = ["redis-server", *settings, "--dir", self._directory.name, "--logfile", str(log), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if eventually(self._is_decided, timeout_s=START_S):
            return True
        self.stop()
        return False

    def _is_decided(self) -> bool:
        """Whether it runs, once that is known."""
        if self.process.poll() is not None:
            return False
        assert self._answers(), self.log()
        return True

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                # An error is an answer as well: a password is wanted.
                return connection.recv(16)[:1] in (b"+", b"-")
        except OSError:
            return False

    def command(self, *words: str) -> str:
        """What ``redis-cli`` prints."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=True, timeout=START_S
        )
        return done.stdout.strip()

    def path(self, name: str) -> Path:
        """For a file that goes with it."""
        return Path(self._directory.name, name)

    def log(self) -> str:
        """What it has logged."""
        path = self.path("log")
        return path.read_text("utf-8", "replace") if path.exists() else "no log"

    def stop(self) -> None:
        """Ends it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def engine(self, *arguments: str, url: str | None = None, more: str = "") -> EngineProcess:
        """An engine that keeps state here; ``more`` goes to the end of the block of ``iii-state``."""
        path = self.path(f"engine-{time.monotonic_ns()}.yaml")
        path.write_text(CONFIG.format(url=url or self.url) + more)
        return EngineProcess("native", "-c", str(path), *arguments, env={"III_FAST_IN_MEMORY": "false"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._directory.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
