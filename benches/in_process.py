"""One session of each backend without sockets, bytes to bytes: masked frames in, frames out.

The native one is the production code below the reactor, the reference is its session behind the WebSocket library that
it uses. Also here: what the answers must be, worked out with a dict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import Message, TextMessage

from benches import workloads
from benches.workloads import Operation
from iii_fast import _core
from iii_fast.contracts import Limits
from iii_fast.reference.core import Core
from iii_fast.reference.log import Log
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.session import WorkerSession
from iii_fast.reference.state import State
from iii_fast.reference.state_quotas import Quotas

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

BATCH: Final = 16
"""Frames that come in one read: what a connection with 16 invocations in flight looks like."""


class InProcessSession(Protocol):
    """One worker connection of a backend."""

    def feed(self, frames: bytes) -> bytes:
        """Serves what came in one read and returns what would be written."""


class NativeSession:
    """The Rust core."""

    def __init__(self) -> None:
        self._harness = _core.Harness(Limits())
        self._session = self._harness.connect()
        self._harness.take(self._session)

    def feed(self, frames: bytes) -> bytes:
        return self._harness.feed(self._session, frames)


class ReferenceSession:
    """The pure-Python core."""

    def __init__(self) -> None:
        core = Core(Limits())
        self._outbox = Outbox()
        self._session = WorkerSession(core, core.connect(1, self._outbox, "127.0.0.1:1", 0))
        self._outbox.pop()
        self._frames = _open(ConnectionType.SERVER)

    def feed(self, frames: bytes) -> bytes:
        self._frames.receive_data(frames)
        for event in self._frames.events():
            assert isinstance(event, Message)
            self._session.receive(event.data)
        out = bytearray()
        while (reply := self._outbox.pop()) is not None:
            out += self._frames.send(TextMessage(reply))
        return bytes(out)


SESSIONS: Final[dict[str, Callable[[], InProcessSession]]] = {"native": NativeSession, "reference": ReferenceSession}


Step = tuple[str, str, str | None]
"""Scope, key, and what is set; ``None``: a get."""


def steps(operations: Iterable[Operation]) -> list[Step]:
    """Operations as arguments of a map."""
    return [(one.scope, one.key, None if one.value is None else one.value.decode()) for one in operations]


def found_by(operations: Sequence[Operation]) -> list[bytes]:
    """What the gets must find, where there always is a value."""
    before = values_read(operations)
    return [value for operation, value in zip(operations, before, strict=True) if operation.value is None]


def native_map(steps: Iterable[Step]) -> list[bytes | None]:
    """Every step on the Rust map, one call from Python each; returns what the gets found."""
    state = _core.StateMap(Limits().stripes)
    found = []
    for scope, key, value in steps:
        if value is None:
            found.append(state.get(scope, key))
        else:
            state.set(scope, key, value)
    return found


def reference_map(steps: Iterable[Step]) -> list[bytes | None]:
    """Every step on the dict of the reference; returns what the gets found."""
    state = State(Log(0), Quotas(), lambda: 0, lambda scope, key, event: None)
    found = []
    for scope, key, value in steps:
        if value is None:
            entry = state.get(scope, key, 0)
            found.append(None if entry is None else entry.value.encode())
        else:
            batch = state.begin(0, durable=False)
            batch.set(scope, key, value, None)
            state.commit(batch)
    return found


MAPS: Final[dict[str, Callable[[Iterable[Step]], list[bytes | None]]]] = {
    "native": native_map,
    "reference": reference_map,
}


def _open(side: ConnectionType) -> Connection:
    connection = Connection(side)
    assert connection.state is ConnectionState.OPEN
    return connection


def reads(messages: Iterable[bytes], batch: int = BATCH) -> list[bytes]:
    """Text messages as masked frames, ``batch`` of them in each read."""
    client = _open(ConnectionType.CLIENT)
    frames = [client.send(TextMessage(message.decode())) for message in messages]
    return [b"".join(frames[start : start + batch]) for start in range(0, len(frames), batch)]


def messages(written: Iterable[bytes]) -> list[bytes]:
    """The messages in what was written, unmasked and whole."""
    client = _open(ConnectionType.CLIENT)
    for frames in written:
        client.receive_data(frames)
    found: list[bytes] = []
    parts = ""
    for event in client.events():
        assert isinstance(event, TextMessage)
        parts += event.data
        if event.message_finished:
            found.append(parts.encode())
            parts = ""
    return found


def digest(answers: Iterable[bytes]) -> str:
    """A hash over all answers and their borders."""
    whole = hashlib.sha256()
    for answer in answers:
        whole.update(len(answer).to_bytes(8, "big") + answer)
    return whole.hexdigest()


def values_read(operations: Iterable[Operation]) -> list[bytes]:
    """What a map must answer: per operation the value that was there, ``null`` for none."""
    stored: dict[tuple[str, str], bytes] = {}
    answers = []
    for operation in operations:
        place = operation.scope, operation.key
        answers.append(stored.get(place, b"null"))
        if operation.value is not None:
            stored[place] = operation.value
    return answers


def results(operations: Sequence[Operation]) -> list[bytes]:
    """The wire messages that answer ``workloads.invocation`` of the operations, numbered in order."""
    return [
        _result(operation, workloads.invocation_id(number), before)
        for number, (operation, before) in enumerate(zip(operations, values_read(operations), strict=True))
    ]


def _result(operation: Operation, invocation_id: str, before: bytes) -> bytes:
    head = (
        f'{{"type":"invocationresult","invocation_id":"{invocation_id}",'
        f'"function_id":"{operation.function_id}","result":'
    )
    value = operation.value
    result = before if value is None else b'{"old_value":' + before + b',"new_value":' + value + b"}"
    return head.encode() + result + b"}"


Prepared = TypeVar("Prepared")
Answers = TypeVar("Answers")


def timed(
    benchmark: BenchmarkFixture, prepare: Callable[[], Prepared], run: Callable[[Prepared], Answers], rounds: int
) -> Answers:
    """Times ``run`` on something freshly prepared in each round; returns the answers of the last one."""
    pedantic: Callable[..., Answers] = benchmark.pedantic
    return pedantic(run, setup=lambda: ((prepare(),), {}), rounds=rounds)


def time_session(benchmark: BenchmarkFixture, backend: str, reads: Sequence[bytes]) -> list[bytes]:
    """Times one session of a backend serving all reads; returns what it wrote."""
    rounds = 20 if backend == "native" else 5
    return timed(benchmark, SESSIONS[backend], lambda session: [session.feed(read) for read in reads], rounds)
