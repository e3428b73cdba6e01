"""Who provides a function: a worker, the control plane, or the state API. Mirrors ``rust/core/src/registry.rs``.

Ids of the control plane and of state are reserved: a worker cannot take or remove them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iii_fast.reference import codec_json as json_text
from iii_fast.reference.peer import Peer
from iii_fast.reference.state_calls import STATE_FUNCTIONS


@dataclass(frozen=True, eq=False, slots=True)
class Function:
    """One function of a worker: its id as JSON text too, and the ``registerfunction`` message as it came."""

    id: str
    id_text: str
    peer: Peer
    registration: str


@dataclass(frozen=True, slots=True)
class TakenError(Exception):
    """The id cannot be registered. ``owner`` is ``None`` when it is built in."""

    owner: Peer | None


class TooManyError(Exception):
    """The worker has as many functions as one may have."""


class Registry:
    """All functions. ``per_worker_max`` bounds those of one worker."""

    def __init__(self, per_worker_max: int) -> None:
        self._per_worker_max = per_worker_max
        self._control: set[str] = set()
        self._functions: dict[str, Function] = {}

    def define(self, function_ids: Iterable[str]) -> None:
        """Reserves ids that the control plane provides."""
        self._control.update(function_ids)

    def find(self, function_id: str) -> Function | None:
        """The worker's function of this id."""
        return self._functions.get(function_id)

    def is_control(self, function_id: str) -> bool:
        """Whether the control plane provides ``function_id``."""
        return function_id in self._control

    def __contains__(self, function_id: str) -> bool:
        return function_id in self._functions or self._is_reserved(function_id)

    def register(self, function_id: str, peer: Peer, registration: str) -> None:
        """Registers or replaces a function of ``peer``. Raises ``TakenError`` and ``TooManyError``."""
        if self._is_reserved(function_id):
            raise TakenError(None)
        holder = self._functions.get(function_id)
        if holder is not None and holder.peer is not peer:
            raise TakenError(holder.peer)
        if holder is None and len(peer.functions) >= self._per_worker_max:
            raise TooManyError
        function = Function(function_id, json_text.string_text(function_id), peer, registration)
        self._functions[function_id] = function
        peer.functions[function_id] = function

    def unregister(self, function_id: str, peer: Peer) -> None:
        """Removes a function if ``peer`` provides it."""
        if peer.functions.pop(function_id, None) is not None:
            del self._functions[function_id]

    def remove_worker(self, peer: Peer) -> None:
        """Removes everything that a leaving worker registered."""
        for function_id in list(peer.functions):
            self.unregister(function_id, peer)

    def workers_functions(self) -> list[Function]:
        """All functions of workers, sorted by id."""
        return [self._functions[function_id] for function_id in sorted(self._functions)]

    def _is_reserved(self, function_id: str) -> bool:
        return function_id in self._control or function_id in STATE_FUNCTIONS
