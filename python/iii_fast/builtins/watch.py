"""``state::watch`` and ``state::unwatch``: functions that are told every change, in order (docs/state.md, 15 and 16).

Each watch is one task, which reads the backend's change feed from where its function has got to: nothing is kept for
a watch that waits, and a slow function holds up nobody. It ends with ``unwatch``, its connection, or its function.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from typing import Final

import trio

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Backend, Call, Changes, Invoker, SessionId
from iii_fast.errors import WireError
from iii_fast.jsontext import encode
from iii_fast.protocol import Code

logger = logging.getLogger(__name__)

WATCHES_PER_CONNECTION_MAX: Final = 1_000
"""Far above real use; each may hold one piece of the feed while it is delivered."""
CHANGES_MAX: Final = 100
CHANGES_BYTES_MAX: Final = 1_000_000
"""What goes into one invocation, if changes of one position do not ask for more."""
HANDLER_S_MAX: Final = 30.0
RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 10.0
POSITION_MAX: Final = 9_007_199_254_740_991
"""The largest integer that every JSON reader keeps exactly."""


@dataclass(slots=True, eq=False)
class _Watch:
    """One watch. ``position``: up to there its function knows everything."""

    session: SessionId
    function_id: str
    scope: str | None
    prefix: str | None
    position: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    cancel_scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def ended(self) -> bool:
        return self.cancel_scope.cancel_called


class Watches:
    """The two functions and the tasks behind them; ``run`` is the parent of the tasks."""

    def __init__(self, invoker: Invoker, backend: Backend) -> None:
        self._invoker = invoker
        self._backend = backend
        self._by_session: dict[SessionId, dict[str, _Watch]] = {}
        self._nursery: trio.Nursery | None = None
        self._advance = trio.Event()
        self._stopped = False

    # Functions

    def functions(self) -> dict[str, Function]:
        """Function ids and what answers them."""
        return {"state::watch": self.watch, "state::unwatch": self.unwatch}

    def watch(self, call: Call) -> bytes:
        """``{"watch_id":W,"position":P}``. Raises ``WireError``: ``HISTORY_LOST`` for a ``since`` that is not known."""
        assert self._nursery is not None, "Watches.run has not started"
        fields = Fields(call, "function_id", "scope", "prefix", "since")
        function_id = fields.string("function_id")
        if not self._is_provided(function_id, call.session):
            raise fields.error(f'field `function_id`: this connection has not registered "{function_id}"')
        scope, prefix = fields.optional_string("scope"), fields.optional_string("prefix")
        if prefix is not None and scope is None:
            raise fields.error("field `prefix`: needs `scope`")
        since = fields.optional_integer("since", 0, POSITION_MAX)
        own = self._by_session.get(call.session, {})
        if len(own) >= WATCHES_PER_CONNECTION_MAX:
            text = f"This connection has {len(own)} watches, the limit is {WATCHES_PER_CONNECTION_MAX}."
            raise WireError(Code.TOO_MANY_WATCHES, text)
        position = self._backend.begin_feed()
        if since is not None:
            self._backend.read_changes(since, scope, prefix, 1, 1)  # raises when it is not known
            position = since
        watch = _Watch(call.session, function_id, scope, prefix, position)
        self._by_session.setdefault(call.session, {})[watch.id] = watch
        self._nursery.start_soon(self._follow, watch)
        return encode({"watch_id": watch.id, "position": position})

    def unwatch(self, call: Call) -> bytes:
        """``{"removed":B}``; a watch of another connection counts as none."""
        watch_id = Fields(call, "watch_id").string("watch_id")
        watch = self._by_session.get(call.session, {}).get(watch_id)
        if watch is not None:
            self._end(watch)
        return encode({"removed": watch is not None})

    # What the engine tells

    def advanced(self) -> None:
        """There may be more in the feed."""
        self._advance.set()
        self._advance = trio.Event()

    def closed(self, session: SessionId) -> None:
        """A worker is gone, and its watches with it."""
        for watch in list(self._by_session.get(session, {}).values()):
            self._end(watch)

    def stop(self) -> None:
        """Begins no more deliveries; those under way finish."""
        self._stopped = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delivers until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # One watch

    def _end(self, watch: _Watch) -> None:
        watch.cancel_scope.cancel()
        own = self._by_session.get(watch.session, {})
        own.pop(watch.id, None)
        if not own:
            self._by_session.pop(watch.session, None)

    async def _follow(self, watch: _Watch) -> None:
        with watch.cancel_scope:
            try:
                await self._feed(watch)
            except Exception:
                logger.exception("Bug in the engine in a watch of %s", watch.function_id)
        self._end(watch)

    async def _feed(self, watch: _Watch) -> None:
        """Delivers until the history of changes has left this watch behind."""
        try:
            while True:
                changes = self._read(watch)
                if changes.items:
                    await self._deliver(watch, _body(watch, changes))
                elif changes.position == watch.position:
                    await self._advance.wait()
                watch.position = changes.position
                await trio.lowlevel.checkpoint()
        except WireError as error:
            await self._tell_end(watch, error)

    def _read(self, watch: _Watch) -> Changes:
        return self._backend.read_changes(watch.position, watch.scope, watch.prefix, CHANGES_MAX, CHANGES_BYTES_MAX)

    async def _deliver(self, watch: _Watch, body: bytes) -> None:
        """Invokes the function with the same until it succeeds."""
        pause_s = RETRY_S
        while True:
            error = await self._invoke(watch, body)
            if error is None:
                return
            if pause_s == RETRY_S:
                logger.warning("Watch %s: %s failed, it gets the same again: %s", watch.id, watch.function_id, error)
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S_MAX)

    async def _invoke(self, watch: _Watch, body: bytes) -> WireError | None:
        # What is under way when a watch ends goes on for a moment, and must not begin anything.
        if self._stopped or watch.ended:
            await trio.sleep_forever()
        # Another connection may have taken the function over since.
        if not self._is_provided(watch.function_id, watch.session):
            self._end(watch)
            await trio.lowlevel.checkpoint()
        try:
            await self._invoker.invoke(watch.function_id, body, timeout_s=HANDLER_S_MAX)
        except WireError as error:
            return error
        return None

    async def _tell_end(self, watch: _Watch, error: WireError) -> None:
        position = self._backend.begin_feed()
        told = {"code": error.code, "message": error.message}
        logger.warning("Watch %s of %s ends: %s", watch.id, watch.function_id, error)
        await self._invoke(watch, encode({"watch_id": watch.id, "error": told, "position": position}))

    def _is_provided(self, function_id: str, session: SessionId) -> bool:
        return self._backend.provider(function_id) == session


def _body(watch: _Watch, changes: Changes) -> bytes:
    head = encode({"watch_id": watch.id})[:-1]
    return b'%b,"changes":[%b],"position":%d}' % (head, b",".join(changes.items), changes.position)
