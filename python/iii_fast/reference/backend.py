"""The reference backend: ``contracts.Backend`` over ``core``, on Trio and trio-websocket.

The one file of the reference that knows everyone. Connections run in the task that accepted them.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from typing import Final, Literal

import trio

from iii_fast.contracts import (
    EVERY_PAGE,
    Changes,
    Control,
    Cors,
    ExchangeId,
    FunctionInfo,
    HttpAnswer,
    Limits,
    Outcome,
    Recovered,
    Route,
    SessionId,
    Stats,
    Storage,
    StorageStats,
    TlsFiles,
    WorkerInfo,
)
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.connection import Connection, Session
from iii_fast.reference.core import Core
from iii_fast.reference.files import Files
from iii_fast.reference.history import Filter
from iii_fast.reference.http_listener import HttpListener
from iii_fast.reference.journal import Journal
from iii_fast.reference.opening import open_journal
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.payload import Payload
from iii_fast.reference.session import TelemetrySession, WorkerSession
from iii_fast.transport.tls import SslCipher, TlsStream
from iii_fast.transport.tls import context as ssl_context

log = logging.getLogger(__name__)

_CALLS_PER_TURN: Final = 256  # then other tasks get their turn
_EXPIRY_S: Final = 0.5  # how often what is due is looked for; nobody sees it meanwhile
_EXPIRED_PER_TURN: Final = 256
_IN_MEMORY: Final = Storage()


class ReferenceBackend:
    """The data plane in plain Python. State is kept in memory when ``storage`` has no directory."""

    name: Literal["reference"] = "reference"

    def __init__(
        self,
        limits: Limits,
        *,
        storage: Storage = _IN_MEMORY,
        tls: TlsFiles | None = None,
        http_tls: TlsFiles | None = None,
        cors: Cors = EVERY_PAGE,
    ) -> None:
        self._limits = limits
        self._storage = storage
        self._tls = None if tls is None else ssl_context(tls)
        self._core = Core(limits, self._storage, monotonic_ms=lambda: trio.current_time() * 1000, cors=cors)
        self._http = HttpListener(self._core.http, None if http_tls is None else ssl_context(http_tls))
        self._nursery: trio.Nursery | None = None
        self._journal: Journal | None = None
        self._sessions = itertools.count(1)
        self._connections: set[Connection] = set()

    # --- running ---------------------------------------------------------------------------------------------------

    async def open(self) -> Recovered:
        """Loads what the storage holds. Raises ``StorageError``."""
        directory = self._storage.directory
        if directory is None:
            await trio.lowlevel.checkpoint()
            return Recovered()
        log, entries = self._core.log, self._core.state.entries
        self._journal, recovered = await trio.to_thread.run_sync(
            open_journal, Files(directory), self._storage, log, entries, self._limits.log_bytes_max
        )
        return recovered

    async def serve(self, control: Control, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Gives calls to ``control``, writes to the files and removes what has expired, until cancelled.

        Then everything that was written goes to the disk before it returns.
        """
        async with trio.open_nursery() as self._nursery:
            nursery = self._nursery
            if self._journal is not None:
                nursery.start_soon(self._journal.run)
            nursery.start_soon(self._expire)
            nursery.start_soon(self._http.run)
            await self._give_calls(control, task_status)

    async def _expire(self) -> None:
        while True:
            await trio.sleep(_EXPIRY_S)
            while self._core.state.expire_due(_EXPIRED_PER_TURN) == _EXPIRED_PER_TURN:
                await trio.lowlevel.checkpoint()

    async def _give_calls(self, control: Control, task_status: trio.TaskStatus[None]) -> None:
        calls = self._core.calls
        waiting = trio.Event()
        calls.wake = lambda: waiting.set()
        waiting.set()  # calls may wait already
        task_status.started()
        while True:
            await waiting.wait()
            waiting = trio.Event()
            for _ in range(_CALLS_PER_TURN):
                call = calls.pop()
                if call is None:
                    break
                try:
                    call.give(control)
                except Exception:
                    log.exception("control plane failed on a call; this is a bug of iii-fast")
            else:
                waiting.set()
                await trio.lowlevel.checkpoint()

    async def accept(self, stream: trio.SocketStream) -> None:
        """Upgrades the connection and serves it; returns when it is closed."""
        host, port, *_ = stream.socket.getpeername()
        address = f"{host}:{port}"
        spoken = stream if self._tls is None else TlsStream(stream, SslCipher(self._tls))
        connection = Connection(spoken, self._limits, lambda path, outbox: self._open_session(path, outbox, address))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.drop()
            await trio.aclose_forcefully(stream)

    def _open_session(self, path: str, outbox: Outbox, address: str) -> Session | tuple[int, str]:
        if path.startswith("/ws/channels/"):
            return 404, "Channel not found"
        if path not in ("/", "/otel"):
            return 404, "Not Found"
        if len(self._connections) > self._limits.connections_max:
            return 503, "Too many connections"
        if path == "/otel":
            return TelemetrySession(self._core)
        peer = self._core.connect(next(self._sessions), outbox, address, int(time.time() * 1000))
        return WorkerSession(self._core, peer)

    # --- commands --------------------------------------------------------------------------------------------------

    def define(self, function_ids: Sequence[str]) -> None:
        """Reserves the ids that the control plane provides."""
        self._core.registry.define(function_ids)

    def invoke(
        self,
        ticket: int,
        function_id: str,
        data: bytes,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
    ) -> None:
        """Invokes a function of a worker or of the state API."""
        payload = Payload(
            data.decode(),
            None if metadata is None else metadata.decode(),
            None if traceparent is None else json_text.string_text(traceparent),
            None if baggage is None else json_text.string_text(baggage),
        )
        self._core.invoke(ticket, function_id, payload)

    def forget(self, ticket: int) -> None:
        """Nobody waits for ``ticket`` any more."""
        self._core.forget(ticket)

    def settle(self, session: SessionId, invocation_id: str, function_id: str, outcome: Outcome) -> None:
        """Answers a ``Call``."""
        self._core.settle(session, invocation_id, function_id, outcome)

    def push(self, session: SessionId, message: bytes) -> None:
        """Sends one wire message to a worker."""
        self._core.push(session, message.decode())

    def close(self, session: SessionId, code: int, reason: str) -> None:
        """Starts the close handshake with one worker."""
        peer = self._core.directory.get(session)
        if peer is not None:
            peer.outbox.close(code, reason)

    def close_all(self, code: int, reason: str) -> None:
        """Starts the close handshake with every connection."""
        for connection in list(self._connections):
            connection.outbox.close(code, reason)

    def set_peer_message_max(self, session: SessionId, message_bytes_max: int) -> None:
        """Sets the largest message this peer can receive."""
        peer = self._core.directory.get(session)
        if peer is not None:
            peer.message_bytes_max = message_bytes_max

    def watch(self, scope: str | None) -> None:
        """Starts change events for a scope, or for all."""
        self._core.state.watch(scope)

    def unwatch(self, scope: str | None) -> None:
        """Ends one ``watch``."""
        self._core.state.unwatch(scope)

    # --- http ------------------------------------------------------------------------------------------------------

    async def serve_http(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Accepts http clients until cancelled."""
        assert self._nursery is not None, "serve() runs"
        await self._http.serve(listeners, self._nursery)

    def bind_route(self, route: Route) -> None:
        """Makes a route serve. Raises ``WireError``."""
        self._core.http.bind(route)

    def unbind_route(self, route_id: int) -> None:
        """Takes a route out."""
        self._core.http.unbind(route_id)

    def proceed(self, exchange: ExchangeId) -> None:
        """Calls the function of a request that was ``requested``."""
        self._core.http.proceed(exchange)

    def answer(self, exchange: ExchangeId, answer: HttpAnswer) -> None:
        """Answers such a request."""
        self._core.http.answer(exchange, answer)

    def stop_http(self) -> None:
        """Begins no further request."""
        self._core.http.stop()

    # --- the change feed -------------------------------------------------------------------------------------------

    def begin_feed(self) -> int:
        """Makes sure that changes are remembered from now on."""
        return self._core.begin_feed()

    def read_changes(
        self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int
    ) -> Changes:
        """Acknowledged changes after ``since``. Raises ``WireError`` (``HISTORY_LOST``)."""
        return self._core.log.read_changes(since, Filter(scope, prefix), count_max, bytes_max)

    # --- looking ---------------------------------------------------------------------------------------------------

    def provider(self, function_id: str) -> SessionId | None:
        """The connection whose function this is."""
        function = self._core.registry.find(function_id)
        return None if function is None else function.peer.session

    def functions(self) -> list[FunctionInfo]:
        """All functions that workers registered, sorted by id."""
        return [
            FunctionInfo(function.id, function.peer.session, function.peer.worker_id, function.registration.encode())
            for function in self._core.registry.workers_functions()
        ]

    def workers(self) -> list[WorkerInfo]:
        """All live worker connections, oldest first."""
        return [
            WorkerInfo(peer.session, peer.worker_id, peer.address, peer.connected_at_ms, len(peer.executing))
            for peer in self._core.directory.all()
        ]

    def stats(self) -> Stats:
        """Counters, cheap to read."""
        counters = self._core.counters
        return Stats(
            connections=len(self._connections),
            invocations_in_flight=len(self._core.invocations),
            http_connections=len(self._core.http.connections),
            messages_in=counters.messages_in,
            messages_ignored=counters.messages_ignored,
            telemetry_frames=counters.telemetry_frames,
            telemetry_bytes=counters.telemetry_bytes,
            storage=self._storage_stats(),
        )

    def _storage_stats(self) -> StorageStats:
        log, entries = self._core.log, self._core.state.entries
        journal = self._journal
        return StorageStats(
            kind="memory" if journal is None else "file",
            sync=None if journal is None else self._storage.sync,
            disk_bytes=0 if journal is None else journal.disk_bytes,
            keys=entries.count,
            live_bytes=entries.bytes,
            position=log.position,
            acknowledged=log.acknowledged,
            synced=log.synced,
            failure=log.failure,
            snapshot_failure=None if journal is None else journal.snapshot_failure,
        )
