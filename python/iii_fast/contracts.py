"""The seams of the engine: what a backend offers, what the control plane offers back, what a trigger type is.

Only Protocols and the plain data that crosses them live here. A *backend* is the data plane: it owns the
worker connections, the function registry, pending invocations and state. The *control plane* decides everything that is
not per message. Payloads cross as ``bytes`` of JSON text (UTF-8) and are not parsed on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import trio

from iii_fast.errors import WireError

SessionId: TypeAlias = int
Outcome: TypeAlias = bytes | WireError | None
"""What an invocation came to: result bytes, ``None`` for no result, or an error."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of http clients; all but the last two are of each connection. Reasons are in ARCHITECTURE.md.

    A request that takes longer than ``leave_ms`` ends when its client closes or half-closes the connection.
    A connection that ends is still read for a while (``linger``): closing at once would reset it and destroy the last
    response before the client has read it. With more than ``outbox_bytes_max`` waiting for a client its next request is
    not begun. Requests beyond ``requests_max`` wait for a place.
    """

    head_bytes_max: int = 64 << 10
    body_bytes_max: int = 1 << 20
    outbox_bytes_max: int = 256 << 10
    head_ms: int = 10_000
    body_ms: int = 30_000
    idle_ms: int = 75_000
    write_ms: int = 30_000
    leave_ms: int = 1_000
    linger_ms: int = 2_000
    linger_bytes_max: int = 4 << 20
    request_ms: int = 30_000
    connections_max: int = 4_096
    requests_max: int = 1_024


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the data plane. Units are in the names; reasons are in ARCHITECTURE.md, section Limits."""

    message_bytes_max: int = 64 << 20
    value_bytes_max: int | None = None
    outbox_throttle_bytes: int = 8 << 20
    outbox_bytes_max: int = 160 << 20
    invocations_in_flight_max: int = 100_000
    # Registrations of functions are kept as they came: how many of one worker, and how long each.
    functions_per_worker_max: int = 10_000
    registration_bytes_max: int = 1 << 20
    connections_max: int = 10_000
    handshake_ms: int = 10_000
    ping_interval_ms: int = 20_000
    silence_ms: int = 60_000
    stall_ms: int = 30_000
    close_ms: int = 5_000
    # Of the native backend with one loop; 0: never.
    busy_poll_us: int = 25
    stripes: int = 64
    # Quotas of state (docs/state.md, 14).
    key_bytes_max: int | None = None
    scope_bytes_max: int | None = None
    total_bytes_max: int | None = None
    # Changes that wait for the disk; whoever adds to them is not read beyond that.
    log_bytes_max: int = 64 << 20
    http: HttpLimits = HttpLimits()


SyncLevel: TypeAlias = Literal["always", "interval", "never"]


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """A database of a Redis server. ``user`` and ``password`` are as in its ``AUTH``."""

    host: str
    port: int = 6379
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate chain, its own certificate first, and the private key, without a password."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Cors:
    """Whose pages may read http responses, and the methods that they may use; ``None`` is every one.

    Origins are as browsers write them: in lower case, without the default port (``https://shop.example``).
    """

    origins: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None


EVERY_PAGE: Final = Cors()


@dataclass(frozen=True, slots=True)
class Storage:
    """How state is kept (docs/storage.md). ``directory`` ``None`` is in memory only; then the rest means nothing.

    ``salvage``: start from a damaged directory with what is intact. ``redis``: state is kept there
    instead (docs/state.md, With Redis).
    """

    directory: Path | None = None
    sync: SyncLevel = "always"
    sync_interval_ms: int = 1_000
    segment_bytes: int = 64 << 20
    history_bytes_max: int = 16 << 20
    salvage: bool = False
    redis: RedisPlace | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found in the directory. ``torn_bytes`` were cut off its end, ``dropped_bytes`` given up by salvage.

    ``salvaged`` is where salvage put the files as they were, ``None`` when it had nothing to do. It gives up no bytes
    when files are missing.
    """

    entries: int = 0
    position: int = 0
    bytes_read: int = 0
    torn_bytes: int = 0
    dropped_bytes: int = 0
    salvaged: Path | None = None


@dataclass(frozen=True, slots=True)
class RedisStats:
    """The connections to a Redis server: its address without the password, and calls that wait for it."""

    address: str
    connected: bool
    pending: int


@dataclass(frozen=True, slots=True)
class StorageStats:
    """State at rest. ``synced`` and ``acknowledged`` are positions.

    ``failure`` is why nothing can be written now. ``snapshot_failure`` is why the last snapshot could not be: nothing
    is lost by that, but the files grow until one succeeds.
    """

    kind: Literal["memory", "file", "redis"] = "memory"
    sync: SyncLevel | None = None
    keys: int = 0
    live_bytes: int = 0
    disk_bytes: int = 0
    position: int = 0
    acknowledged: int = 0
    synced: int = 0
    failure: str | None = None
    snapshot_failure: str | None = None
    redis: RedisStats | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """A piece of the change feed: JSON texts of the changes in order, and the position up to which it goes."""

    items: list[bytes]
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """An invocation of a function that the control plane provides, handed up by the backend.

    ``invocation_id`` is ``None`` when nobody waits (void). ``queue`` is set when the caller's action was ``enqueue``:
    then ``function_id`` is the target to run later and the answer is a receipt.
    """

    session: SessionId
    invocation_id: str | None
    function_id: str
    data: bytes
    metadata: bytes | None = None
    queue: str | None = None
    traceparent: str | None = None
    baggage: str | None = None


ExchangeId: TypeAlias = tuple[int, int]
"""One http request under way: its connection, and its number there."""


@dataclass(frozen=True, slots=True)
class Route:
    """A bound ``http`` trigger. ``id`` is any number, unique among routes.

    The backend calls the function of a ``direct`` route by itself; it asks ``Control.requested`` about others.
    ``method`` is in upper case. ``metadata`` is JSON text.
    """

    id: int
    method: str
    api_path: str
    function_id: str
    metadata: bytes | None = None
    direct: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """A request's answer: what a function's ``result`` means (JSON text).

    ``document``: the body of the response object is sent as JSON, whatever its content type says.
    """

    result: bytes | None
    document: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A request's answer: an error envelope."""

    status: int
    code: str
    message: str


HttpAnswer: TypeAlias = Answered | Refused


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One registered function of a worker; ``registration`` is the ``registerfunction`` message as it came."""

    function_id: str
    session: SessionId
    worker_id: str
    registration: bytes


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One live worker connection. ``connected_at_ms`` is Unix time."""

    session: SessionId
    worker_id: str
    address: str
    connected_at_ms: int
    invocations_in_flight: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters since start, for health checks and logs."""

    connections: int = 0
    invocations_in_flight: int = 0
    messages_in: int = 0
    messages_ignored: int = 0
    telemetry_frames: int = 0
    telemetry_bytes: int = 0
    storage: StorageStats = StorageStats()
    http_connections: int = 0


class Control(Protocol):
    """What a backend calls. Each method is synchronous, returns quickly and does not raise."""

    def called(self, call: Call) -> None:
        """A function of the control plane was invoked, or an invocation is to be enqueued."""

    def message(self, session: SessionId, kind: str, message: bytes) -> None:
        """A message about triggers or trigger types arrived: ``kind`` is its ``type``, ``message`` all of it."""

    def settled(self, ticket: int, outcome: Outcome) -> None:
        """The invocation that ``Backend.invoke`` started with ``ticket`` has come to ``outcome``. Exactly once each."""

    def changed(self, scope: str, key: str, event: bytes) -> None:
        """A watched scope changed; ``event`` is the state event (JSON). Per key, in commit order."""

    def advanced(self) -> None:
        """There may be more in the change feed than before. Only after ``Backend.begin_feed``; told once for many."""

    def requested(self, exchange: ExchangeId, route: int, request: bytes, left_ms: int) -> None:
        """An http request for a route that is not direct; ``request`` is the request object (JSON).

        It must be given to ``Backend.proceed`` or ``Backend.answer`` within ``left_ms``: the backend does not look
        after its time until then.
        """

    def left(self, exchange: ExchangeId) -> None:
        """The client of a request that was ``requested`` is gone: nobody waits for the answer."""

    def closed(self, session: SessionId, worker_id: str, reason: str) -> None:
        """A worker is gone: its functions and pending invocations are already cleaned up. Last word of a session.

        ``reason`` is for the log: the peer's close code, ``connection lost``, a liveness limit with its name, ...
        """


class Backend(Protocol):
    """The data plane. All methods are called from the Trio thread; the synchronous ones never block."""

    @property
    def name(self) -> Literal["native", "reference"]:
        """Which one this is."""

    def define(self, function_ids: Sequence[str]) -> None:
        """Reserves the ids that the control plane provides; workers cannot replace them. Call before ``serve``."""

    async def open(self) -> Recovered:
        """Loads what the storage holds; call once, before ``serve``. Raises ``StorageError``."""

    async def serve(self, control: Control, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the data plane until cancelled, calling ``control``. Then everything written so far goes to the disk."""

    async def accept(self, stream: trio.SocketStream) -> None:
        """Performs the WebSocket upgrade on a fresh connection of the worker port and takes the connection over."""

    def invoke(
        self,
        ticket: int,
        function_id: str,
        data: bytes,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
    ) -> None:
        """Invokes a function of a worker or of the state API; ``Control.settled`` gets the outcome.

        A function that does not exist settles with ``function_not_found``.
        """

    def forget(self, ticket: int) -> None:
        """Nobody waits for ``ticket`` any more; a late result is dropped and ``settled`` is not called."""

    def settle(self, session: SessionId, invocation_id: str, function_id: str, outcome: Outcome) -> None:
        """Answers a ``Call``. Does nothing when the caller is gone."""

    def push(self, session: SessionId, message: bytes) -> None:
        """Sends one wire message to a worker. Does nothing when it is gone."""

    def close(self, session: SessionId, code: int, reason: str) -> None:
        """Starts the close handshake with one worker."""

    def set_peer_message_max(self, session: SessionId, message_bytes_max: int) -> None:
        """Sets the largest message this peer can receive; larger ones become ``payload_too_large`` errors."""

    def watch(self, scope: str | None) -> None:
        """Starts change events for a scope, or for all when ``None``. Counted: pair with ``unwatch``."""

    def unwatch(self, scope: str | None) -> None:
        """Ends one ``watch``."""

    def begin_feed(self) -> int:
        """Makes sure that changes are remembered from now on; returns the last acknowledged position."""

    def read_changes(
        self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int
    ) -> Changes:
        """Acknowledged changes after ``since`` (docs/state.md, 15); none when there are none yet.

        ``position`` also passes what the filter left out. Raises ``WireError`` ``HISTORY_LOST`` (16).
        """

    def provider(self, function_id: str) -> SessionId | None:
        """The connection whose function this is; none when no worker has registered it."""

    def functions(self) -> list[FunctionInfo]:
        """All functions that workers registered, sorted by id."""

    def workers(self) -> list[WorkerInfo]:
        """All live worker connections, oldest first."""

    def stats(self) -> Stats:
        """Counters, cheap to read."""

    def close_all(self, code: int, reason: str) -> None:
        """Starts the close handshake with every connection."""

    # --- http ---

    async def serve_http(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Accepts http clients until cancelled, then closes the listeners; those that are there are served on."""

    def bind_route(self, route: Route) -> None:
        """Makes a route serve, at once; the newest of several on one method and path does.

        Raises ``WireError`` (``trigger_registration_failed``) for a path that cannot be served.
        """

    def unbind_route(self, route_id: int) -> None:
        """Takes a route out; requests under way finish. The newest of those that are left serves."""

    def proceed(self, exchange: ExchangeId) -> None:
        """Calls the function of a request's route with the request object and answers with its result."""

    def answer(self, exchange: ExchangeId, answer: HttpAnswer) -> None:
        """Answers a request. Does nothing, as ``proceed``, when nobody waits for it any more."""

    def stop_http(self) -> None:
        """Begins no further request: connections end between two requests, or behind the response under way."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One binding of a trigger type and config to a function. ``config`` is parsed JSON, ``metadata`` JSON text."""

    id: str
    trigger_type: str
    function_id: str
    config: Any
    session: SessionId
    metadata: bytes | None = None
    message: bytes = field(default=b"{}", compare=False)


class Pending(Protocol):
    """An invocation that is under way."""

    async def outcome(self) -> bytes | None:
        """Waits for the result; await it once. Raises ``WireError``; being cancelled abandons the invocation."""


class Invoker(Protocol):
    """How triggers and builtins reach functions: the broker, seen from below."""

    def begin(
        self,
        function_id: str,
        data: bytes,
        *,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
    ) -> Pending:
        """Sends the invocation before it returns, so the order of calls is the order on the wire."""

    async def invoke(
        self, function_id: str, data: bytes, *, metadata: bytes | None = None, timeout_s: float | None = None
    ) -> bytes | None:
        """Invokes and waits. Raises ``WireError`` for every failure; ``TIMEOUT`` after ``timeout_s``."""

    def provides(self, function_id: str) -> bool:
        """Whether the engine itself provides a function; the others are workers'."""

    async def allows(self, condition_function_id: str | None, data: bytes) -> bool:
        """Asks a condition function: only the boolean ``false`` denies. Raises ``WireError`` when it fails."""


class TriggerType(Protocol):
    """One engine-provided kind of cause. One file each, same order: config, bind, unbind, run (fire), results."""

    ids: tuple[str, ...]

    def bind(self, trigger: Trigger) -> None:
        """Validates the config and starts firing. Raises ``WireError`` (``trigger_registration_failed``)."""

    def unbind(self, trigger: Trigger) -> None:
        """Stops firing. A run that is under way finishes."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fires until cancelled; its nursery is the parent of everything this type does in the background."""

    async def drain(self) -> None:
        """Fires nothing new and returns when what is under way has finished. Bounded by the caller."""


class Clock(Protocol):
    """Time as an argument: wall time for calendars, monotonic time for durations."""

    def now(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    async def sleep_until_wall(self, unix_time: float) -> None:
        """Sleeps until wall time reaches ``unix_time``, also when the wall clock is set."""
