"""Engines on a data directory: settings with which small tests meet rotation and snapshots, and refused starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.deadlines import START_S
from tests.support.engine_process import DURABLE, EngineProcess

DURABLE_BACKENDS: Final = sorted(DURABLE)
SEGMENT_BYTES: Final = 1 << 20
"""The smallest there is: some hundred writes fill one."""

CONFIGURATION: Final = """\
workers:
  - name: state
    config:
      adapter:
        name: kv
        config:
          {{file_path: {directory}, sync: {sync}, {more}segment_bytes: {segment_bytes}, history_bytes_max: 500000}}
"""


class Durable:
    """A directory and how engines are to use it; each ``start`` is a new engine on it."""

    def __init__(self, place: Path, backend: str, *arguments: str, sync: str = "always") -> None:
        self.directory = place / "data"
        self.backend = backend
        self._configuration = place / "config.yaml"
        more = "sync_interval_ms: 10, " if sync == "interval" else ""
        text = CONFIGURATION.format(directory=self.directory, sync=sync, more=more, segment_bytes=SEGMENT_BYTES)
        self._configuration.write_text(text)
        self._arguments = ["-c", str(self._configuration), "--data-dir", str(self.directory), *arguments]

    def start(self, *more: str, env: Mapping[str, str] | None = None) -> EngineProcess:
        """A running engine."""
        return EngineProcess(self.backend, *self._arguments, *more, env=env)

    def refused(self, *more: str) -> str:
        """Starts an engine that must end by itself with status 1; all that it said."""
        ports = ["--host", "127.0.0.1", "--port", "0", "--http-port", "0"]
        command = [sys.executable, "-m", "iii_fast", "serve", "--backend", self.backend, *ports]
        ended = subprocess.run(
            [*command, *self._arguments, *more], capture_output=True, text=True, timeout=START_S, check=False
        )
        said = ended.stdout + ended.stderr
        assert ended.returncode == 1, f"status {ended.returncode}:\n{said}"
        assert "Traceback" not in said
        return said

    def files(self, pattern: str = "*") -> list[Path]:
        """Files of the directory by name."""
        return sorted(self.directory.glob(pattern))
