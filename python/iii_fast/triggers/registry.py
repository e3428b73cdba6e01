"""Who provides which trigger type, and which trigger is bound where. Knows no trigger type by name and no socket.

A trigger is *bound* to the engine's own type or to the newest worker that provides its type, or it is *parked*: its
type is not there, or the provider refused it. Whenever the provider of a type changes, its triggers move along.
A worker provides a type from ``TYPE_READY_S`` after it announced it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, TypeVar

from iii_fast.contracts import SessionId, Trigger, TriggerType
from iii_fast.errors import WireError
from iii_fast.jsontext import decode
from iii_fast.protocol import DEFAULT_NAMESPACE, Code, Kind
from iii_fast.triggers.registration import (
    Message,
    Registration,
    TypeKey,
    complete_error,
    error_text,
    read_registration,
    refusal,
)

logger = logging.getLogger(__name__)

Push: TypeAlias = Callable[[SessionId, bytes], None]
Later: TypeAlias = Callable[[float, Callable[[], None]], None]
"""Calls something in so many seconds."""

K = TypeVar("K")
J = TypeVar("J")
V = TypeVar("V")

TRIGGERS_PER_WORKER_MAX: Final = 10_000
TYPES_PER_WORKER_MAX: Final = 1_000
TYPE_READY_S: Final = 0.1
"""The Python SDK 0.25 announces a type before it has stored the handler (in another thread), and drops triggers that
come in between without a word. Far longer than that gap."""


@dataclass(slots=True, eq=False)
class Binding:
    """A registered trigger and where it is bound: a session, the engine's own type, or nowhere (parked)."""

    registration: Registration
    at: SessionId | Trigger | None = None


class Registry:
    """Trigger types and triggers. ``push`` sends a message to a worker; ``types`` are the engine's own."""

    def __init__(self, push: Push, later: Later, types: Iterable[TriggerType]) -> None:
        self._push = push
        self._later = later
        self._own = {TypeKey(DEFAULT_NAMESPACE, type_id): kind for kind in types for type_id in kind.ids}
        self._providers: dict[TypeKey, list[SessionId]] = {}
        self._types_of: dict[SessionId, dict[TypeKey, None]] = {}
        self._announced: dict[tuple[SessionId, TypeKey], int] = {}
        self._announcements = itertools.count()
        self._bindings: dict[str, Binding] = {}
        self._bindings_of: dict[SessionId, dict[str, Binding]] = {}
        self._bindings_to: dict[TypeKey, dict[str, Binding]] = {}

    def message(self, session: SessionId, kind: str, message: bytes) -> None:
        """Handles one registration message of a worker."""
        read = Message(kind, message)
        match kind:
            case Kind.REGISTER_TRIGGER:
                self._register(session, read)
            case Kind.UNREGISTER_TRIGGER:
                self._unregister(session, read)
            case Kind.REGISTER_TRIGGER_TYPE:
                self._register_type(session, read)
            case Kind.UNREGISTER_TRIGGER_TYPE:
                self._unregister_type(session, read)
            case Kind.TRIGGER_REGISTRATION_RESULT:
                self._result(session, read)

    def closed(self, session: SessionId) -> None:
        """Cleans up after a worker: its triggers first, so that they do not move to another provider on the way."""
        for binding in list(self._bindings_of.get(session, {}).values()):
            self._remove(binding)
        for key in list(self._types_of.get(session, {})):
            self._withdraw(session, key)

    def triggers(self) -> list[Registration]:
        """All registered triggers, oldest first."""
        return [binding.registration for binding in self._bindings.values()]

    # Triggers

    def _register(self, session: SessionId, message: Message) -> None:
        try:
            registration = read_registration(session, message)
            old = self._bindings.get(registration.id)
            self._check(registration, old)
        except WireError as error:
            self._refuse_message(session, message, error)
            return
        if old is not None:
            if old.registration == registration and old.at is not None:
                return
            self._remove(old)
        binding = Binding(registration)
        self._bindings[registration.id] = binding
        self._bindings_of.setdefault(session, {})[registration.id] = binding
        self._bindings_to.setdefault(registration.type, {})[registration.id] = binding
        self._bind(binding)

    def _check(self, registration: Registration, old: Binding | None) -> None:
        if old is not None:
            if old.registration.session != registration.session:
                raise WireError(
                    Code.TRIGGER_REGISTRATION_FAILED, f"Trigger `{registration.id}` belongs to another connection."
                )
        elif len(self._bindings_of.get(registration.session, ())) >= TRIGGERS_PER_WORKER_MAX:
            raise WireError(
                Code.TRIGGER_REGISTRATION_FAILED, f"This connection has {TRIGGERS_PER_WORKER_MAX} triggers, the limit."
            )

    def _refuse_message(self, session: SessionId, message: Message, error: WireError) -> None:
        trigger_id = message.readable("id")
        logger.warning("Trigger registration %r of session %s refused: %s", trigger_id, session, error)
        if trigger_id:
            texts = message.readable("trigger_type"), message.readable("function_id")
            self._push(session, refusal(trigger_id, *texts, error_text(error)))

    def _unregister(self, session: SessionId, message: Message) -> None:
        binding = self._bindings.get(message.readable("id"))
        if binding is None:
            return
        if binding.registration.session != session:
            logger.warning("Session %s may not unregister trigger %r", session, binding.registration.id)
            return
        self._remove(binding)

    def _result(self, session: SessionId, message: Message) -> None:
        """Parks what its provider refused, and tells the registrant why."""
        binding = self._bindings.get(message.readable("id"))
        error = message.raw("error")
        if error is None or binding is None or binding.at != session:
            return
        binding.at = None
        registration = binding.registration
        self._push(registration.session, registration.refusal(complete_error(error)))

    def _remove(self, binding: Binding) -> None:
        self._unbind(binding)
        registration = binding.registration
        del self._bindings[registration.id]
        _discard(self._bindings_of, registration.session, registration.id)
        _discard(self._bindings_to, registration.type, registration.id)

    def _bind(self, binding: Binding) -> None:
        registration = binding.registration
        own = self._own.get(registration.type)
        if own is not None:
            self._bind_own(binding, own)
        elif providers := self._providers.get(registration.type):
            binding.at = providers[-1]
            self._push(providers[-1], registration.to_provider())
        elif len(self._bindings_to[registration.type]) == 1:
            # Once per type: a worker may bring thousands before the provider is there.
            logger.info("Trigger %r is parked: nobody provides trigger type %r", registration.id, registration.type.id)

    def _bind_own(self, binding: Binding, own: TriggerType) -> None:
        registration = binding.registration
        if registration.namespace != DEFAULT_NAMESPACE:
            logger.warning(
                "Trigger %r is parked: namespace %r has no functions", registration.id, registration.namespace
            )
            return
        trigger = Trigger(
            registration.id,
            registration.type.id,
            registration.function_id,
            decode(registration.config),
            registration.session,
            registration.metadata,
        )
        try:
            own.bind(trigger)
        except WireError as error:
            self._remove(binding)
            logger.warning("Trigger %r of session %s refused: %s", registration.id, registration.session, error)
            self._push(registration.session, registration.refusal(error_text(error)))
            return
        binding.at = trigger

    def _unbind(self, binding: Binding) -> None:
        at, binding.at = binding.at, None
        if isinstance(at, Trigger):
            self._own[binding.registration.type].unbind(at)
        elif at is not None:
            self._push(at, binding.registration.withdrawal())

    # Trigger types

    def _register_type(self, session: SessionId, message: Message) -> None:
        try:
            key = TypeKey(message.namespace("namespace"), message.string("id"))
        except WireError as error:
            logger.warning("Trigger type of session %s refused: %s", session, error)
            return
        if key in self._own:
            logger.warning("Session %s may not provide %r: it is a trigger type of the engine", session, key.id)
            return
        mine = self._types_of.setdefault(session, {})
        if key not in mine and len(mine) >= TYPES_PER_WORKER_MAX:
            logger.warning("Session %s already provides %d trigger types, the limit", session, len(mine))
            return
        mine[key] = None
        if (session, key) not in self._announced:
            number = self._announced[session, key] = next(self._announcements)
            self._later(TYPE_READY_S, partial(self._type_ready, session, key, number))

    def _type_ready(self, session: SessionId, key: TypeKey, number: int) -> None:
        if self._announced.get((session, key)) != number:
            return
        del self._announced[session, key]
        providers = self._providers.setdefault(key, [])
        if session in providers:
            providers.remove(session)
        providers.append(session)
        self._move(key)

    def _unregister_type(self, session: SessionId, message: Message) -> None:
        try:
            key = TypeKey(message.namespace("namespace"), message.string("id"))
        except WireError as error:
            logger.warning("unregistertriggertype of session %s ignored: %s", session, error)
            return
        if key in self._types_of.get(session, ()):
            self._withdraw(session, key)

    def _withdraw(self, session: SessionId, key: TypeKey) -> None:
        """Ends one worker's part as a provider; the one before it gets the triggers back."""
        _discard(self._types_of, session, key)
        self._announced.pop((session, key), None)
        providers = self._providers.get(key, [])
        if session not in providers:
            return
        was_current = providers[-1] == session
        providers.remove(session)
        if not providers:
            del self._providers[key]
        if was_current:
            for binding in self._bindings_to.get(key, {}).values():
                # It said itself, or by leaving, that it is no provider any more: there is nobody to tell.
                binding.at = None
            self._move(key)

    def _move(self, key: TypeKey) -> None:
        """Takes every trigger of a type to its current provider, also those that a provider refused before."""
        current = self._providers.get(key, [None])[-1]
        bindings = list(self._bindings_to.get(key, {}).values())
        if current is None and bindings:
            logger.info("%d triggers are parked: nobody provides trigger type %r any more", len(bindings), key.id)
        for binding in bindings:
            if binding.at != current:
                self._unbind(binding)
            if current is not None:
                self._bind(binding)


def _discard(index: dict[K, dict[J, V]], outer: K, inner: J) -> None:
    """Removes an entry and, when it was the last one, its group: an index does not outgrow what it indexes."""
    group = index[outer]
    del group[inner]
    if not group:
        del index[outer]
