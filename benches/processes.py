"""The processes of a measurement: engines, the bare echo and the load generator, each on its core.

Only this file starts processes and reads ``/proc``.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benches.workloads import HTTP, HTTP_MEMORY, Workload
from tests.support.engine_process import EngineProcess, has_place
from tests.support.line_process import LineProcess

ROOT: Final = Path(__file__).resolve().parents[1]
START_S: Final = 20.0
LAST_LINES: Final = 20


class BenchError(Exception):
    """A measurement could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where servers and the load generator run; ``None``: wherever the kernel likes."""

    server: int | None = None
    load: int | None = None

    @classmethod
    def pinned(cls) -> Cores:
        """The first two cores this process may use. With one core both share it."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1 if len(usable) > 1 else 0])


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers, by the ``name`` that the tables have. An engine took ``start_s`` to listen.

    Without a ``process`` somebody else has started it. ``options`` tell the load generator what it speaks to. ``level``
    is what a write has come to when it is answered: ``memory``, or a level of ``sync``. ``http``: HOST:PORT of its http
    listener; what speaks only http has no ``url``. ``worker_pid``: the process that serves, if it is another one.
    """

    name: str
    url: str
    process: LineProcess | None
    start_s: float = 0.0
    options: tuple[str, ...] = ()
    level: str = ""
    http: str = ""
    worker_pid: int | None = None

    @property
    def pid(self) -> int:
        """The number of the process that serves."""
        if self.process is None:
            raise BenchError(f"{self.name} was not started here")
        return self.worker_pid or self.process.process.pid

    def last_words(self) -> str:
        """Whether it lives, and the end of its log: for the report of a failure."""
        if self.process is None:
            return f"{self.name} at {self.url} was not started here"
        status = self.process.process.poll()
        state = "still runs" if status is None else f"has ended with status {status}"
        return f"{self.name} {state}; the end of its log:\n" + "\n".join(self.process.lines[-LAST_LINES:])

    def rss_bytes(self) -> int:
        """Memory of the process that is in RAM now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        if found is None:
            raise BenchError(f"{self.name} has ended")
        return int(found[1]) * 1024


@contextmanager
def affinity(core: int | None) -> Iterator[None]:
    """What is started inside inherits the core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@functools.cache
def build(package: str) -> str:
    """Builds a crate (release); returns the path of its program, or else of its library.

    Raises ``BenchError`` when it does not build.
    """
    if shutil.which("cargo") is None:
        raise BenchError(f"cargo is not on the path: {package} is written in Rust and built here. Install Rust")
    command = ["cargo", "build", "--release", "--locked", "--package", package, "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if built.returncode:
        raise BenchError(f"{package} does not build:\n{built.stderr}")
    messages = (json.loads(line) for line in built.stdout.splitlines())
    files = [
        file for message in messages for file in (message.get("executable"), *message.get("filenames", [])) if file
    ]
    return str([file for file in files if Path(file).suffix in ("", ".so")][-1])


def load_binary() -> str:
    """The load generator."""
    return build("iii-fast-load")


@contextmanager
def engine(
    backend: str,
    cores: Cores,
    *arguments: str,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    killed: bool = False,
    level: str = "memory",
) -> Iterator[Server]:
    """A started engine, called ``name`` or else as its backend. It has ended when the context is left: well, or killed.

    Without another place among the ``arguments`` its state is in memory, so that no disk is measured; ``level`` says
    in the tables what the arguments bring about.
    """
    place = () if has_place(arguments, env or {}) else ("--in-memory",)
    with affinity(cores.server):
        begin = time.monotonic()
        try:
            process = EngineProcess(backend, *arguments, *place, env=env)
        except AssertionError as error:
            raise BenchError(f"the engine did not start: {error}") from error
        start_s = time.monotonic() - begin
    with process:
        http = f"{process.http[0]}:{process.http[1]}"
        yield Server(name or backend, process.url, process.process, start_s, level=level, http=http)
        if killed:
            process.kill()


def older_engine(checkout: Path, cores: Cores) -> AbstractContextManager[Server]:
    """The native engine of another checkout, with state in memory; builds without any other place take no flag for it.

    Raises ``BenchError`` when it is not built there.
    """
    package = checkout / "python"
    if not list(package.glob("iii_fast/_core*.so")):
        raise BenchError(f"{checkout} has no built engine: expected {package}/iii_fast/_core*.so (make build)")
    env = {"PYTHONPATH": str(package.absolute()), "III_FAST_IN_MEMORY": "true"}
    return engine("native", cores, name="older", env=env)


@contextmanager
def echo(cores: Cores) -> Iterator[Server]:
    """The bare echo: answers of the engine's size without looking into a message."""
    with affinity(cores.server):
        process = LineProcess([load_binary(), "echo"])
    with process:
        line = process.wait_for(lambda line: line.startswith("listening "), START_S)
        yield Server("echo", line.split("worker=")[1], process, options=("--echo", "true"))


@contextmanager
def bare_relay(cores: Cores, pairs: int) -> Iterator[Server]:
    """The bare relay: passes bytes on between ``pairs`` of connections without looking into them."""
    with affinity(cores.server):
        process = LineProcess([load_binary(), "bare-relay", "--pairs", str(pairs)])
    with process:
        line = process.wait_for(lambda line: line.startswith("listening "), START_S)
        yield Server("bare relay", line.split("worker=")[1], process, options=("--bare", "true"))


NAPS: Final = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
print("awake", flush=True)
while True:
    time.sleep(50e-6)
"""


@contextmanager
def awake_processors() -> Iterator[None]:
    """Inside, a timer goes off on each processor some ten thousand times a second.

    On some virtual machines a processor hears that the disk is done only when something makes it look, at the latest
    the kernel's tick (4 ms, say). Spinning does not make it look, a timer does.
    """
    with ExitStack() as stack:
        for core in sorted(os.sched_getaffinity(0)):
            napping = stack.enter_context(LineProcess([sys.executable, "-c", NAPS, str(core)]))
            napping.wait_for(lambda line: line == "awake", START_S)
        yield


def serve(name: str, cores: Cores) -> AbstractContextManager[Server]:
    """The server of that name as a context manager."""
    return echo(cores) if name == "echo" else engine(name, cores)


def _command(server: Server, workload: Workload, scope: str) -> list[str]:
    where = ["--url", server.url] if server.url and workload.command != HTTP_MEMORY else []
    if workload.command in {HTTP, HTTP_MEMORY}:
        where += ["--http", server.http]
    pid = [] if server.process is None or workload.command == HTTP_MEMORY else ["--pid", str(server.pid)]
    return [load_binary(), *workload.arguments(scope), *where, *pid, *server.options]


def run_load(
    server: Server, workload: Workload, scope: str, cores: Cores, extra: Sequence[str] = (), timeout_s: float = 600.0
) -> dict[str, Any]:
    """Runs the load generator to its end and returns its report.

    Wrong and missing answers are in the report. Raises ``BenchError`` when there is none.
    """
    command = [*_command(server, workload, scope), *extra]
    try:
        with affinity(cores.load):
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        what = f"{workload.name} on {server.name}: no end within {timeout_s:.0f} s"
        raise BenchError(f"{what}; {server.last_words()}") from error
    if done.returncode not in (0, 1):
        what = f"{workload.name} on {server.name}: the load generator failed ({done.returncode})"
        raise BenchError(f"{what}; {server.last_words()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


class PhasedLoad:
    """A load generator that goes on until it is stopped, and reports a phase when it is told to begin the next."""

    def __init__(self, process: LineProcess, timeout_s: float) -> None:
        self._process = process
        self._seen = 0
        self._wait_for("measuring", timeout_s)

    def _wait_for(self, beginning: str, timeout_s: float) -> str:
        line = self._process.wait_for(lambda line: line.startswith(beginning), timeout_s, self._seen)
        self._seen = self._process.lines.index(line, self._seen) + 1
        return line

    def end_phase(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """The report of the phase that ends now; the next one begins. Errors are those of the whole run so far."""
        self._process.write_line("")
        report: dict[str, Any] = json.loads(self._wait_for("{", timeout_s))
        return report

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is sent; what was under way counts in the phase in which it goes on."""
        process = self._process.process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)


@contextmanager
def phased_load(
    server: Server, workload: Workload, scope: str, cores: Cores, timeout_s: float = 600.0
) -> Iterator[PhasedLoad]:
    """Inside, the load runs in phases, the first of which begins when all keys are stored."""
    with affinity(cores.load):
        process = LineProcess([*_command(server, replace(workload, ops=None), scope), "--phases", "true"])
    with process:
        yield PhasedLoad(process, timeout_s)


@contextmanager
def held_connections(server: Server, workload: Workload, cores: Cores, timeout_s: float = 120.0) -> Iterator[None]:
    """Inside, that many idle connections stand."""
    with affinity(cores.load):
        process = LineProcess(_command(server, workload, ""))
    with process:
        process.wait_for(lambda line: line.startswith("{"), timeout_s)
        yield
