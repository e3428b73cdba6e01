"""What an engine is compared with: other programs that people would otherwise run, each in its usual configuration.

What is not installed is told by ``missing``; nobody is left out silently.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from benches.processes import START_S, BenchError, Cores, Server, affinity
from tests.support.line_process import LineProcess

MEMORY, INTERVAL, ALWAYS = "memory", "interval", "always"
"""Levels of durability, in the words of the engine's ``sync``; ``memory``: the process is all there is."""

REDIS, NATS, UVICORN, GRANIAN = "Redis", "NATS KV", "uvicorn", "granian"
FOREIGN: Final = frozenset({REDIS, NATS, UVICORN, GRANIAN})
PROGRAMS: Final = {REDIS: "redis-server", NATS: "nats-server", UVICORN: "uvicorn", GRANIAN: "granian"}
WHENCE: Final = {REDIS: "make redis"}
EXTRA: Final = "pip install 'iii-fast[bench]'"


def program(name: str) -> str | None:
    """Where the contender's program is: beside this Python, or else on the path."""
    own = Path(sys.executable).parent / PROGRAMS[name]
    return str(own) if own.is_file() else shutil.which(PROGRAMS[name])


def missing(name: str) -> str | None:
    """Why the contender cannot be started here; ``None``: it can."""
    if program(name) is not None:
        return None
    return f"{name}: {PROGRAMS[name]} is not installed ({WHENCE.get(name, EXTRA)})"


def version(name: str) -> str:
    """What the program says about its version, in one line."""
    with LineProcess([_program(name), "--version"]) as process:
        process.wait(START_S)
        return process.lines[0] if process.lines else "unknown"


def _program(name: str) -> str:
    found = program(name)
    if found is None:
        raise BenchError(str(missing(name)))
    return found


@contextmanager
def _started(
    command: list[str], cores: Cores, ready: str, timeout_s: float = START_S
) -> Iterator[tuple[LineProcess, str]]:
    """The process, and the line in which it says that it is ready."""
    with affinity(cores.server):
        process = LineProcess(command)
    with process:
        try:
            line = process.wait_for(lambda line: ready in line, timeout_s)
        except AssertionError as error:
            raise BenchError(str(error)) from error
        yield process, line


@contextmanager
def redis(cores: Cores, below: Path, level: str) -> Iterator[Server]:
    """Redis: without files, or with an append-only file that is synced each second or before each answer.

    It listens on a port that was free a moment ago: it cannot be asked to choose one.
    """
    with tempfile.TemporaryDirectory(prefix="iii-fast-bench-", dir=below) as place:
        fsync = {INTERVAL: "everysec", ALWAYS: "always"}.get(level)
        durable = ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
        port = str(_free_port())
        command = [_program(REDIS), "--port", port, "--bind", "127.0.0.1", "--dir", place, "--save", "", *durable]
        with _started(command, cores, "Ready to accept connections") as (process, _):
            yield Server(REDIS, f"redis://127.0.0.1:{port}", process, level=level)


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def nats(cores: Cores, below: Path, level: str) -> Iterator[Server]:
    """NATS with JetStream: buckets in memory, or in files that are synced each second or before each answer."""
    with tempfile.TemporaryDirectory(prefix="iii-fast-bench-", dir=below) as place:
        sync = {INTERVAL: "1s", ALWAYS: "always"}.get(level)
        jetstream = {"store_dir": place, **({"sync_interval": sync} if sync else {})}
        file = Path(place) / "nats.json"
        file.write_text(json.dumps({"listen": "127.0.0.1:-1", "max_payload": 8 << 20, "jetstream": jetstream}))
        with _started([_program(NATS), "-c", str(file)], cores, "Server is ready") as (process, _):
            listening = next(line for line in process.lines if "client connections on" in line)
            options = ("--in-files", "true") if sync else ()
            yield Server(NATS, f"nats://{listening.split()[-1]}", process, options=options, level=level)


APP: Final = "benches.http_app"


@contextmanager
def granian(cores: Cores) -> Iterator[Server]:
    """granian with one worker, which is a process of its own. Its port is chosen as Redis's is."""
    address = f"127.0.0.1:{(port := _free_port())}"
    command = [_program(GRANIAN), "--interface", "rsgi", "--workers", "1", "--port", str(port), f"{APP}:rsgi"]
    with _started(command, cores, "Started worker-1 runtime-1") as (process, _):
        spawned = next(line for line in process.lines if "Spawning worker-1 with PID" in line)
        yield Server(GRANIAN, "", process, http=address, worker_pid=int(spawned.split()[-1]))


@contextmanager
def uvicorn(cores: Cores) -> Iterator[Server]:
    """uvicorn with one process, and what it is fastest with."""
    fast = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--lifespan", "off", "--ws", "none"]
    with _started([_program(UVICORN), "--port", "0", *fast, f"{APP}:asgi"], cores, "Uvicorn running on") as started:
        process, line = started
        yield Server(UVICORN, "", process, http=line.split("http://")[1].split()[0])


Store = Callable[[Cores, Path, str], AbstractContextManager[Server]]
STORES: Final[dict[str, Store]] = {REDIS: redis, NATS: nats}
HTTP: Final[dict[str, Callable[[Cores], AbstractContextManager[Server]]]] = {GRANIAN: granian, UVICORN: uvicorn}
