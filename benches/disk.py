"""The disk under the data directory, measured without an engine; and the directory of a measured engine."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches import workloads
from benches.processes import BenchError, Server
from benches.workloads import Workload

MARK_BYTES: Final = 28
COMMIT_HEAD_BYTES: Final = 20
POLL_S: Final = 0.002
WATCH_S: Final = 0.05
QUIET_S: Final = 0.1
"""Snapshots lie in a file per part: between two parts there is no unfinished file for a moment."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Where one engine keeps its state, and with which settings."""

    path: Path
    arguments: tuple[str, ...]

    def _files(self) -> Iterator[tuple[str, int]]:
        """Names of the files, and the bytes that each takes on the disk."""
        for entry in os.scandir(self.path):
            try:
                yield entry.name, entry.stat().st_blocks * 512
            except FileNotFoundError:
                continue  # it was there a moment ago

    def bytes_used(self) -> int:
        """What all files take on the disk together."""
        return sum(size for _, size in self._files())

    def snapshot_runs(self) -> bool:
        """Whether a part of a snapshot is being written."""
        return any(name.startswith("snapshot-") and name.endswith(".tmp") for name in os.listdir(self.path))

    def wait_for_snapshot(self, *, runs: bool, quiet_s: float = QUIET_S, timeout_s: float = 300.0) -> None:
        """Returns when one has begun, or (``runs`` false) when none has been there for ``quiet_s``."""
        deadline = time.monotonic() + timeout_s
        since = time.monotonic()
        while True:
            now = time.monotonic()
            if self.snapshot_runs():
                since = now
                if runs:
                    return
            elif not runs and now - since >= quiet_s:
                return
            if now > deadline:
                raise BenchError(f"no snapshot {'began' if runs else 'ended'} within {timeout_s:.0f} s")
            time.sleep(POLL_S)


@contextmanager
def data_directory(below: Path, **settings: Any) -> Iterator[DataDirectory]:
    """A new directory and the flags of an engine that keeps its state there with the ``settings`` of adapter ``kv``."""
    with tempfile.TemporaryDirectory(prefix="iii-fast-bench-", dir=below) as place:
        path, file = Path(place) / "data", Path(place) / "iii-config.yaml"
        path.mkdir()
        adapter = {"name": "kv", "config": {"file_path": str(path), **settings}}
        file.write_text(json.dumps({"workers": [{"name": "state", "config": {"adapter": adapter}}]}))
        yield DataDirectory(path, ("-c", str(file), "--data-dir", str(path)))


@dataclass(slots=True)
class Largest:
    """The most that was seen while watching."""

    disk_bytes: int = 0
    rss_bytes: int = 0


@contextmanager
def watched(directory: DataDirectory, server: Server) -> Iterator[Largest]:
    """Inside, a thread looks at the sizes of the files and of the process many times a second."""
    largest, over = Largest(), threading.Event()

    def watch() -> None:
        ends = False
        while not ends:
            ends = over.wait(WATCH_S)
            largest.disk_bytes = max(largest.disk_bytes, directory.bytes_used())
            largest.rss_bytes = max(largest.rss_bytes, server.rss_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        over.set()
        thread.join()


def batch_bytes(workload: Workload, scope: str) -> int:
    """Bytes of a batch of one set as docs/storage.md has it: mark, and commit of one operation."""
    value = workload.value_bytes or 0
    names = 1 + len(scope) + 1 + len(workloads.key(0))
    return MARK_BYTES + COMMIT_HEAD_BYTES + 2 + names + (1 if value < 128 else 2) + value


def append_and_sync(file: Path, size: int, *, seconds: float, ops: int | None) -> dict[str, Any]:
    """Appends ``size`` bytes and syncs them (fdatasync), again and again, as who writes one at a time must.

    Returns a report like the load generator's. Ends after ``ops``, or else after ``seconds``.
    """
    took: list[float] = []
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    try:
        begin = time.perf_counter()
        while len(took) < ops if ops is not None else time.perf_counter() - begin < seconds:
            before = time.perf_counter()
            os.write(descriptor, bytes(size))
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - before)
        return report(len(took), time.perf_counter() - begin, took)
    finally:
        os.close(descriptor)
        file.unlink()


def report(ops: int, seconds: float, took: list[float]) -> dict[str, Any]:
    """What was measured here, in the form of the load generator's reports."""
    in_order = sorted(took)
    quantiles = {f"p{percent}_us": in_order[(len(took) - 1) * percent // 100] * 1e6 for percent in (50, 99) if took}
    faults = {"errors": 0, "error_samples": [], "unanswered": 0, "unanswered_ids": []}
    rate = {"ops": ops, "seconds": seconds, "ops_per_second": ops / seconds, "generator_busy": 0.0}
    return rate | quantiles | faults
