"""Builds the engine, wires its parts, serves, drains and shuts down. The only file that knows everyone.

Above a backend sit the broker (invokes functions), the registry (binds triggers), the trigger types and the builtins;
``ControlPlane`` takes what the backend hands up to the one whose business it is.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import trio

from iii_fast import data_directory
from iii_fast._backend import create_backend
from iii_fast.broker import Broker, Function, answer
from iii_fast.builtins import channels, health, log, queues
from iii_fast.builtins.functions import STATE_FUNCTIONS, Functions
from iii_fast.builtins.watch import Watches
from iii_fast.builtins.workers import Workers
from iii_fast.clock import SystemClock, Timetable
from iii_fast.config import Settings
from iii_fast.config.version import version
from iii_fast.contracts import Backend, Call, Clock, ExchangeId, Outcome, SessionId, TriggerType
from iii_fast.errors import ConfigError, StorageError, WireError
from iii_fast.transport.listening import address, is_public, open_listeners
from iii_fast.triggers import TriggerTypes, create
from iii_fast.triggers.registry import Registry

logger = logging.getLogger(__name__)

Address: TypeAlias = tuple[str, int]
Handler: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]

RESTART: Final = (1012, "engine restart")
"""Close code and reason at shutdown: today's SDKs reconnect on it."""
UPGRADES_MAX: Final = 256
"""Connections beyond the backend's own limit that may wait for their HTTP refusal; more are closed at once."""
POLL_S: Final = 0.02
FAILURE_POLL_S: Final = 1.0
"""How soon the log tells that state cannot be written any more; callers are told at once."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where an engine listens; several addresses when it serves IPv4 and IPv6. ``http`` is empty when switched off."""

    worker: list[Address] = field(default_factory=list)
    http: list[Address] = field(default_factory=list)


class ControlPlane:
    """Implements ``contracts.Control``: dispatches, and keeps one broken call from ending the loop."""

    def __init__(
        self,
        backend: Backend,
        functions: dict[str, Function],
        broker: Broker,
        registry: Registry,
        types: TriggerTypes,
        workers: Workers,
        watches: Watches,
    ) -> None:
        self._backend = backend
        self._functions = functions
        self._broker = broker
        self._registry = registry
        self._types = types
        self._workers = workers
        self._watches = watches

    def called(self, call: Call) -> None:
        """Answers a function of the control plane, or takes an invocation into a queue."""
        outcome = answer(self._function(call), call)
        if call.invocation_id is not None:
            self._backend.settle(call.session, call.invocation_id, call.function_id, outcome)
        elif isinstance(outcome, WireError):
            logger.debug("Void call of %s failed: %s", call.function_id, outcome)

    def _function(self, call: Call) -> Function:
        if call.queue is not None:
            return lambda call: queues.enqueue_action(self._types.queue, call)
        return self._functions[call.function_id]

    def message(self, session: SessionId, kind: str, message: bytes) -> None:
        """A registration message of a worker."""
        self._guarded(lambda: self._registry.message(session, kind, message), kind)

    def settled(self, ticket: int, outcome: Outcome) -> None:
        """An invocation of the engine's own has an outcome."""
        self._guarded(lambda: self._broker.settled(ticket, outcome), "settled")

    def changed(self, scope: str, key: str, event: bytes) -> None:
        """A watched scope changed."""
        if self._types.state is not None:
            state = self._types.state
            self._guarded(lambda: state.changed(scope, key, event), "changed")

    def advanced(self) -> None:
        """The change feed may have more."""
        self._guarded(self._watches.advanced, "advanced")

    def requested(self, exchange: ExchangeId, route: int, request: bytes, left_ms: int) -> None:
        """An http request that its trigger decides about."""
        if self._types.http is not None:
            http = self._types.http
            self._guarded(lambda: http.requested(exchange, route, request, left_ms), "requested")

    def left(self, exchange: ExchangeId) -> None:
        """Nobody waits for the answer to such a request any more."""
        if self._types.http is not None:
            http = self._types.http
            self._guarded(lambda: http.left(exchange), "left")

    def closed(self, session: SessionId, worker_id: str, reason: str) -> None:
        """A worker is gone."""
        logger.info("Worker %s is gone: %s", worker_id, reason)
        self._guarded(lambda: self._registry.closed(session), "closed")
        self._guarded(lambda: self._watches.closed(session), "closed")
        self._workers.forget(session)

    def _guarded(self, work: Callable[[], None], what: str) -> None:
        try:
            work()
        except Exception:
            logger.exception("Bug in the engine while handling %s", what)


class Engine:
    """One engine. ``serve`` runs it; ``shut_down`` ends it in an orderly way.

    ``backend`` defaults to the one that the settings name. Raises ``BackendMissingError`` and ``ConfigError``.
    """

    def __init__(self, settings: Settings, backend: Backend | None = None, clock: Clock | None = None) -> None:
        self._settings = settings
        self._backend = backend or create_backend(
            settings.backend,
            settings.limits,
            settings.loops,
            settings.storage,
            tls=settings.tls,
            http_tls=settings.http.tls if settings.http.enabled else None,
            cors=settings.http.cors,
        )
        self._clock = clock = clock or SystemClock()
        self._timetable = Timetable()
        functions: dict[str, Function] = {}
        self._broker = Broker(self._backend, functions)
        self._types = create(settings, self._broker, self._backend, clock)
        workers = Workers(self._backend)
        self._watches = Watches(self._broker, self._backend)
        functions.update(self._builtins(workers, functions, clock))
        self._backend.define(list(functions))
        registry = Registry(self._backend.push, self._timetable.after, self._types.all())
        self._control = ControlPlane(
            self._backend, functions, self._broker, registry, self._types, workers, self._watches
        )
        self._stop = trio.Event()
        self._accepting_scopes: list[trio.CancelScope] = []
        self._upgrading = 0
        self._undrained: set[str] = set()

    def _builtins(self, workers: Workers, functions: dict[str, Function], clock: Clock) -> dict[str, Function]:
        found = workers.functions()
        found |= Functions(self._backend, workers, lambda: [*functions, *STATE_FUNCTIONS]).functions()
        found |= health.functions(self._backend, clock, version(), lambda: self._broker.waiting)
        found |= log.functions()
        found |= channels.functions()
        found |= self._watches.functions()
        if self._types.queue is not None:
            found |= queues.functions(self._types.queue)
        return found

    def shut_down(self) -> None:
        """Ends ``serve``: accept nobody, finish what is in flight, say goodbye. Safe to call again."""
        self._stop.set()

    async def serve(self, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until ``shut_down``, then returns; reports its addresses when it accepts connections.

        Raises ``ConfigError`` when an address cannot be listened on, ``StorageError`` when the state's files cannot be
        used, or could not be written to the end.
        """
        await self._open()
        async with AsyncExitStack() as stack:
            # Outside the nursery, so that an address in use is told as it is and not inside an exception group.
            worker = await self._listen(stack, self._settings.host, self._settings.port)
            http: list[trio.SocketListener] = []
            if self._types.http is not None:
                http = await self._listen(stack, self._settings.http.host, self._settings.http.port)
            await self._run(worker, http, task_status)
        storage = self._backend.stats().storage
        # What Redis has acknowledged is there, whether or not it can be reached now.
        if storage.failure is not None and storage.kind != "redis":
            raise StorageError(f"state could not be written to the end: {storage.failure}")

    async def _run(
        self,
        worker: list[trio.SocketListener],
        http: list[trio.SocketListener],
        task_status: trio.TaskStatus[Bound],
    ) -> None:
        # The backend ends last, when nobody is left who could write: then it takes everything to the disk.
        async with trio.open_nursery() as outer:
            await outer.start(self._backend.serve, self._control)
            await self._run_above(worker, http, task_status)
            outer.cancel_scope.cancel()

    async def _run_above(
        self,
        worker: list[trio.SocketListener],
        http: list[trio.SocketListener],
        task_status: trio.TaskStatus[Bound],
    ) -> None:
        """Everything that stands on the backend."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._timetable.run)
            if self._settings.storage.directory is not None:
                nursery.start_soon(self._tell_failures)
            await nursery.start(self._watches.run)
            for kind in self._types.all():
                await nursery.start(kind.run)
            nursery.start_soon(self._accept_all, self._accept_worker, worker, nursery)
            if http:
                nursery.start_soon(self._accept_http, http)
            bound = Bound([address(one) for one in worker], [address(one) for one in http])
            self._announce(bound)
            task_status.started(bound)
            await self._stop.wait()
            await self._finish()
            nursery.cancel_scope.cancel()

    async def _open(self) -> None:
        """Loads the state and tells what was found. Raises ``StorageError``."""
        directory = self._settings.storage.directory
        if directory is None:
            await self._backend.open()
            return
        await trio.to_thread.run_sync(data_directory.refuse_foreign, directory)
        before = self._clock.monotonic()
        recovered = await self._backend.open()
        data_directory.tell_recovered(recovered, directory, self._clock.monotonic() - before)

    async def _tell_failures(self) -> None:
        """Logs failing snapshots, their success after that, and once that state cannot be written any more."""
        told = None
        while (storage := self._backend.stats().storage).failure is None:
            if storage.snapshot_failure != told:
                told = storage.snapshot_failure
                if told is None:
                    logger.warning("Snapshots are written again")
                else:
                    logger.error("NO SNAPSHOT COULD BE WRITTEN, the journal grows until one can: %s", told)
            await trio.sleep(FAILURE_POLL_S)
        logger.critical("STATE CANNOT BE WRITTEN ANY MORE: %s", storage.failure)

    async def _listen(self, stack: AsyncExitStack, host: str, port: int) -> list[trio.SocketListener]:
        try:
            listeners = await open_listeners(host, port)
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        for listener in listeners:
            await stack.enter_async_context(listener)
        return listeners

    def _announce(self, bound: Bound) -> None:
        scheme = "ws" if self._settings.tls is None else "wss"
        text = f"Serving worker={_url(scheme, bound.worker[0])}"
        if bound.http:
            text += f" http={_url('http' if self._settings.http.tls is None else 'https', bound.http[0])}"
        logger.info(text, extra={"backend": self._backend.name, "loops": self._settings.loops, "version": version()})
        data_directory.tell_place(self._settings.storage)
        hosts = [self._settings.host, self._settings.http.host] if bound.http else [self._settings.host]
        for host in filter(is_public, dict.fromkeys(hosts)):
            logger.warning("LISTENING ON %s WITHOUT AUTHENTICATION: whoever reaches this port can call anything", host)

    # Connections

    async def _accept_all(self, handler: Handler, listeners: list[trio.SocketListener], nursery: trio.Nursery) -> None:
        async def guarded(stream: trio.SocketStream) -> None:
            try:
                await handler(stream)
            except OSError:
                logger.debug("Connection lost while it was accepted", exc_info=True)
            except Exception:
                logger.exception("Bug in the engine on one connection")

        with trio.CancelScope() as scope:
            self._accepting_scopes.append(scope)
            await trio.serve_listeners(guarded, listeners, handler_nursery=nursery)

    async def _accept_http(self, listeners: list[trio.SocketListener]) -> None:
        with trio.CancelScope() as scope:
            self._accepting_scopes.append(scope)
            await self._backend.serve_http(listeners)

    async def _accept_worker(self, stream: trio.SocketStream) -> None:
        if self._upgrading >= self._settings.limits.connections_max + UPGRADES_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._upgrading += 1
        try:
            await self._backend.accept(stream)
        finally:
            self._upgrading -= 1

    # Shutdown

    async def _finish(self) -> None:
        logger.info("Shutting down: no new connections, finishing what is in flight")
        for scope in self._accepting_scopes:
            scope.cancel()
        self._watches.stop()
        with trio.move_on_after(self._settings.shutdown_ms / 1000) as limit:
            await self._drain()
            # What ended last may have written state or enqueued something.
            await self._drain()
        if limit.cancelled_caught:
            logger.warning("Not finished within %d ms: %s", self._settings.shutdown_ms, ", ".join(self._unfinished()))
        self._backend.close_all(*RESTART)
        with trio.move_on_after(self._settings.limits.close_ms / 1000):
            await self._until(lambda: self._backend.stats().connections == 0)
        logger.info("Shut down")

    async def _drain(self) -> None:
        async with trio.open_nursery() as nursery:
            self._backend.stop_http()
            nursery.start_soon(self._until, lambda: self._backend.stats().http_connections == 0)
            for kind in self._types.all():
                nursery.start_soon(self._drain_type, kind)
            nursery.start_soon(self._until, lambda: self._backend.stats().invocations_in_flight == 0)
            written = self._backend.stats().storage.position
            nursery.start_soon(self._until, lambda: self._acknowledged(written))

    def _acknowledged(self, position: int) -> bool:
        """Whether the writes up to ``position`` have been answered, so that no goodbye comes before such an answer."""
        storage = self._backend.stats().storage
        return storage.acknowledged >= position or storage.failure is not None or storage.kind != "file"

    async def _drain_type(self, kind: TriggerType) -> None:
        self._undrained.add(kind.ids[0])
        await kind.drain()
        self._undrained.discard(kind.ids[0])

    def _unfinished(self) -> list[str]:
        """What a drain that was cut short has left."""
        stats = self._backend.stats()
        counts = {"HTTP requests": stats.http_connections, "invocations": stats.invocations_in_flight}
        left = [f"{what} ({count})" for what, count in counts.items() if count]
        return left + [f"runs of {name} triggers" for name in sorted(self._undrained)]

    @staticmethod
    async def _until(done: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not done():  # noqa: ASYNC110 - a backend has counters, not events; this runs only at the end
            await trio.sleep(POLL_S)


async def serve_until_signal(engine: Engine) -> None:
    """Serves until SIGTERM or SIGINT; a second one ends without waiting for anything."""
    failure: ConfigError | StorageError | None = None
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_shut_down_on_signal, engine, signals, nursery.cancel_scope)
            try:
                await engine.serve()
            except (ConfigError, StorageError) as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _shut_down_on_signal(engine: Engine, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    first = True
    async for number in signals:
        logger.info("Received %s", signal.Signals(number).name)
        if not first:
            scope.cancel()
            return
        engine.shut_down()
        first = False


def run(settings: Settings) -> None:
    """Builds an engine and serves until it is told to end.

    Raises ``BackendMissingError``, ``ConfigError`` and ``StorageError``.
    """

    async def main() -> None:
        await serve_until_signal(Engine(settings))

    trio.run(main, strict_exception_groups=True)


def _url(scheme: str, bound: Address) -> str:
    host, port = bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
