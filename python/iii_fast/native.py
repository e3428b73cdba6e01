"""The native backend: Trio's side of the Rust data plane.

With one loop the reactor turns inside Trio: a task waits until the reactor's descriptor is readable and then lets it
serve everything that is ready in one call without the interpreter. With more, each reactor blocks in a thread of its
own and only the calls for Python come to the Trio loop. Both ways Python sees calls in one order, from one queue.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any, Final, Literal

import trio

from iii_fast import _core
from iii_fast.contracts import (
    EVERY_PAGE,
    Call,
    Changes,
    Control,
    Cors,
    ExchangeId,
    FunctionInfo,
    HttpAnswer,
    Limits,
    Outcome,
    Recovered,
    RedisStats,
    Refused,
    Route,
    SessionId,
    Stats,
    Storage,
    StorageStats,
    TlsFiles,
    WorkerInfo,
)
from iii_fast.errors import ConfigError, WireError, worker_error
from iii_fast.protocol import Code
from iii_fast.transport import tls as tls_files
from iii_fast.transport.handshake import HandshakeError, upgrade
from iii_fast.transport.tls import TlsStream

log = logging.getLogger(__name__)

CALLS_TAKEN_MAX: Final = 64
"""Calls taken from the data plane at once."""
CALLS_S: Final = 0.005
"""How long calls may keep the loop from everything else."""
REDIS_POLL_S: Final = 0.5
"""How often it is looked whether Redis has gone away or come back, for the log."""
IN_MEMORY: Final = Storage()


class NativeBackend:
    """``contracts.Backend`` on the Rust extension.

    ``loops``: reactors, 1 to 256. ``echo_path``: a path whose connections get every message back (conformance tests).
    Raises ``ConfigError`` when the files of ``tls`` or ``http_tls`` cannot be used.
    """

    name: Literal["native"] = "native"

    def __init__(
        self,
        limits: Limits,
        loops: int = 1,
        echo_path: str | None = None,
        *,
        storage: Storage = IN_MEMORY,
        tls: TlsFiles | None = None,
        http_tls: TlsFiles | None = None,
        cors: Cors = EVERY_PAGE,
    ) -> None:
        self._limits = limits
        self._storage = storage
        self._identity = None if tls is None else _identity(tls)
        self._http_identity = None if http_tls is None else _identity(http_tls)
        redis = None if storage.redis is None else astuple(storage.redis)
        self._core = _core.Core(limits, loops, storage.history_bytes_max, redis, cors)
        self._reactors = self._core.take_reactors()
        self._routes = {"/": "worker", "/otel": "telemetry"}
        if echo_path is not None:
            self._routes[echo_path] = "echo"
        self._admitted: set[trio.SocketStream] = set()
        self._closing = False
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._next_reactor = 0

    # --- running -------------------------------------------------------------------------------------------------

    async def open(self) -> Recovered:
        """Loads what the storage holds."""
        if self._storage.directory is None:
            await trio.lowlevel.checkpoint()
            return Recovered()
        entries, position, torn_bytes, dropped_bytes, salvaged = await trio.to_thread.run_sync(
            self._core.open_storage, self._storage
        )
        return Recovered(entries, position, self._core.storage()[2], torn_bytes, dropped_bytes, salvaged)

    async def serve(self, control: Control, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the reactors until cancelled; then what they have written goes to the disk."""
        async with trio.open_nursery() as nursery:
            if self._storage.directory is not None:
                nursery.start_soon(self._run_storage)
            try:
                await self._run_reactors(_handlers(control), task_status)
            finally:
                self._core.stop_storage()

    async def _run_storage(self) -> None:
        # Shielded: it ends when everybody who writes has ended, and it has written that.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._core.run_storage, limiter=trio.CapacityLimiter(1))

    async def _run_reactors(self, handlers: _Handlers, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            if len(self._reactors) == 1:
                nursery.start_soon(self._run_turns, self._reactors[0], handlers)
            else:
                nursery.start_soon(self._run_calls, handlers)
                for reactor in self._reactors:
                    nursery.start_soon(_run_in_thread, reactor)
            if self._storage.redis is not None:
                nursery.start_soon(self._tell_of_redis)
            task_status.started()

    async def _tell_of_redis(self) -> None:
        """Logs when Redis goes away and when it is back."""
        told = None
        while True:
            _, connected, _, failure = self._core.redis() or ("", True, 0, None)
            if failure is not None and told is None:
                log.warning("State cannot be reached: %s", failure)
                told = failure
            elif connected and told is not None:
                log.warning("State can be reached again: Redis is back")
                told = None
            await trio.sleep(REDIS_POLL_S)

    async def _run_turns(self, reactor: _core.Reactor, handlers: _Handlers) -> None:
        descriptor, turn = reactor.fileno(), reactor.turn
        wait_readable, checkpoint = trio.lowlevel.wait_readable, trio.lowlevel.checkpoint
        while True:
            await wait_readable(descriptor)
            # Both, each time: sockets are served between two portions of calls.
            while any([turn(), self._handle_calls(handlers)]):
                await checkpoint()

    async def _run_calls(self, handlers: _Handlers) -> None:
        descriptor = self._core.fileno()
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            while self._handle_calls(handlers):
                await trio.lowlevel.checkpoint()

    def _handle_calls(self, handlers: _Handlers) -> bool:
        """Handles calls for about ``CALLS_S``; true when there are more."""
        if not self._waiting:
            self._waiting.extend(self._core.take_calls(CALLS_TAKEN_MAX))
            if not self._waiting:
                return False
        until = time.monotonic() + CALLS_S
        while self._waiting and time.monotonic() < until:
            kind, *arguments = self._waiting.popleft()
            try:
                handlers[kind](*arguments)
            except Exception:
                log.exception("control plane failed on a call; this is a bug of iii-fast", extra={"call": kind})
        if not self._waiting:
            self._core.handled()
        return True

    # --- connections ---------------------------------------------------------------------------------------------

    async def accept(self, stream: trio.SocketStream) -> None:
        """Upgrades the connection and gives its socket to a reactor, with the encryption as far as it has come."""
        tls = None if self._identity is None else self._identity.connection()
        spoken = stream if tls is None else TlsStream(stream, tls)
        try:
            with trio.move_on_after(self._limits.handshake_ms / 1000) as scope:
                upgraded = await upgrade(spoken, self._routes, lambda: self._admit(stream))
            if scope.cancelled_caught:
                log.info("handshake not finished within %d ms", self._limits.handshake_ms)
            elif not self._closing:  # nobody would say goodbye to it
                self._adopt(stream, self._routes[upgraded.path], upgraded.leftover, tls)
        except HandshakeError as error:
            log.debug("connection refused: %s", error)
        finally:
            self._admitted.discard(stream)
            trio.lowlevel.notify_closing(stream.socket)
            stream.socket.close()

    def _admit(self, stream: trio.SocketStream) -> bool:
        """Whether there is room for one more connection; its place is kept while its 101 is on the way."""
        if self._core.stats()[0] + len(self._admitted) >= self._limits.connections_max:
            return False
        self._admitted.add(stream)
        return True

    def _adopt(self, stream: trio.SocketStream, purpose: str, leftover: bytes, tls: _core.TlsConnection | None) -> None:
        socket = stream.socket
        host, port, *_ = socket.getpeername()
        reactor = self._reactors[self._next_reactor]
        self._next_reactor = (self._next_reactor + 1) % len(self._reactors)
        trio.lowlevel.notify_closing(socket)
        reactor.adopt(socket.detach(), leftover, purpose, f"{host}:{port}", int(time.time() * 1000), tls)

    # --- commands ------------------------------------------------------------------------------------------------

    def define(self, function_ids: Sequence[str]) -> None:
        self._core.define(list(function_ids))

    def invoke(
        self,
        ticket: int,
        function_id: str,
        data: bytes,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
    ) -> None:
        self._core.invoke(ticket, function_id, data, metadata, traceparent, baggage)

    def forget(self, ticket: int) -> None:
        self._core.forget(ticket)

    def settle(self, session: SessionId, invocation_id: str, function_id: str, outcome: Outcome) -> None:
        if isinstance(outcome, WireError):
            self._core.settle_error(
                session, invocation_id, function_id, str(outcome.code), outcome.message, outcome.stacktrace
            )
        else:
            self._core.settle_result(session, invocation_id, function_id, outcome)

    def push(self, session: SessionId, message: bytes) -> None:
        self._core.push(session, message)

    def close(self, session: SessionId, code: int, reason: str) -> None:
        self._core.close(session, code, reason)

    def close_all(self, code: int, reason: str) -> None:
        self._closing = True
        self._core.close_all(code, reason)

    def set_peer_message_max(self, session: SessionId, message_bytes_max: int) -> None:
        self._core.set_peer_message_max(session, message_bytes_max)

    def watch(self, scope: str | None) -> None:
        self._core.watch(scope)

    def unwatch(self, scope: str | None) -> None:
        self._core.unwatch(scope)

    def begin_feed(self) -> int:
        if self._storage.redis is not None:
            raise WireError(Code.NOT_SUPPORTED, "state::watch is not supported while state is kept in Redis")
        return self._core.begin_feed()

    def read_changes(
        self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int
    ) -> Changes:
        return Changes(*self._core.read_changes(since, scope, prefix, count_max, bytes_max))

    # --- http ----------------------------------------------------------------------------------------------------

    async def serve_http(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Lets the first reactor accept clients, for all of them, until cancelled."""
        for listener in listeners:
            self._core.http_listen(os.dup(listener.socket.fileno()), self._http_identity)
        try:
            await trio.sleep_forever()
        finally:
            self._core.http_unlisten()
            for listener in listeners:
                listener.socket.close()

    def bind_route(self, route: Route) -> None:
        bind_route(self._core, route)

    def unbind_route(self, route_id: int) -> None:
        self._core.unbind_route(route_id)

    def proceed(self, exchange: ExchangeId) -> None:
        self._core.http_proceed(exchange)

    def answer(self, exchange: ExchangeId, answer: HttpAnswer) -> None:
        answer_http(self._core, exchange, answer)

    def stop_http(self) -> None:
        self._core.http_stop()

    # --- looking -------------------------------------------------------------------------------------------------

    def provider(self, function_id: str) -> SessionId | None:
        return self._core.provider(function_id)

    def functions(self) -> list[FunctionInfo]:
        return [FunctionInfo(*row) for row in self._core.functions()]

    def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo(*row) for row in self._core.workers()]

    def stats(self) -> Stats:
        storage, http_connections = self._storage_stats(), self._core.http_connections()
        return Stats(*self._core.stats(), storage=storage, http_connections=http_connections)

    def _storage_stats(self) -> StorageStats:
        if (redis := self._core.redis()) is not None:
            address, connected, pending, failure = redis
            return StorageStats("redis", failure=failure, redis=RedisStats(address, connected, pending))
        keys, live_bytes, disk_bytes, position, acknowledged, synced, failure, _, snapshot_failure = (
            self._core.storage()
        )
        is_file = self._storage.directory is not None
        return StorageStats(
            kind="file" if is_file else "memory",
            sync=self._storage.sync if is_file else None,
            keys=keys,
            live_bytes=live_bytes,
            disk_bytes=disk_bytes,
            position=position,
            acknowledged=acknowledged,
            synced=synced,
            failure=failure,
            snapshot_failure=snapshot_failure,
        )


def _identity(files: TlsFiles) -> _core.TlsIdentity:
    try:
        return _core.TlsIdentity(*tls_files.load(files))
    except ValueError as error:
        raise ConfigError(f"TLS certificate {files.certificate} and key {files.key}: {error}") from None


_Handlers = dict[str, Callable[..., Any]]


def _handlers(control: Control) -> _Handlers:
    """What to do with each kind of call that the extension hands up."""

    def called(*fields: Any) -> None:
        control.called(Call(*fields))

    def failed(ticket: int, code: str, message: str) -> None:
        control.settled(ticket, WireError(code, message))

    def failed_object(ticket: int, error: bytes) -> None:
        control.settled(ticket, worker_error(error))

    return {
        "called": called,
        "message": control.message,
        "settled": control.settled,
        "failed": failed,
        "failed_object": failed_object,
        "changed": control.changed,
        "advanced": control.advanced,
        "requested": control.requested,
        "left": control.left,
        "warned": log.warning,
        "closed": control.closed,
    }


def bind_route(core: _core.Core | _core.Harness, route: Route) -> None:
    """Makes a route serve. Raises ``WireError``."""
    try:
        core.bind_route(route.id, route.method, route.api_path, route.function_id, route.metadata, route.direct)
    except ValueError as error:
        raise WireError(Code.TRIGGER_REGISTRATION_FAILED, str(error)) from None


def answer_http(core: _core.Core | _core.Harness, exchange: ExchangeId, answer: HttpAnswer) -> None:
    """Answers a request."""
    if isinstance(answer, Refused):
        core.http_refuse(exchange, answer.status, answer.code, answer.message)
    else:
        core.http_answer(exchange, answer.result, answer.document)


async def _run_in_thread(reactor: _core.Reactor) -> None:
    """Runs a reactor in a thread of its own; on cancellation it is told to stop and waited for."""
    async with trio.open_nursery() as nursery:
        finished = trio.Event()
        nursery.start_soon(_stop_when_cancelled, reactor, finished)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(reactor.run, limiter=trio.CapacityLimiter(1))
        finished.set()


async def _stop_when_cancelled(reactor: _core.Reactor, finished: trio.Event) -> None:
    try:
        await finished.wait()
    finally:
        reactor.stop()
