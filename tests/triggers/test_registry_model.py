"""Whatever happens in whatever order: providers see a consistent set of triggers.

The model keeps the plain truth (who provides, newest last; which triggers exist, who was refused where) and compares
what every provider would hold if it followed the messages that it was sent.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from iii_fast.triggers.registry import Registry

SESSIONS = st.integers(1, 4)
TYPES = st.sampled_from(["a", "b"])
TRIGGERS = st.sampled_from(["t1", "t2", "t3"])
CONFIGS = st.integers(0, 1)


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(self.push, lambda _, ready: ready(), [])
        self.held: dict[int, dict[str, dict[str, Any]]] = {session: {} for session in range(1, 5)}
        self.providers: dict[str, list[int]] = {"a": [], "b": []}
        self.triggers: dict[str, tuple[int, str, int]] = {}
        self.refused: set[str] = set()
        self.told: list[tuple[int, str]] = []

    def push(self, session: int, message: bytes) -> None:
        """Each session follows the messages as a provider would."""
        read = json.loads(message)
        if read["type"] == "registertrigger":
            assert "config" in read
            self.held[session][read["id"]] = read
        elif read["type"] == "unregistertrigger":
            held = self.held[session].pop(read["id"], None)
            assert held is not None, "withdrawn from a provider that does not have it"
            assert held["trigger_type"] == read["trigger_type"]
        else:
            self.told.append((session, read["id"]))

    def send(self, session: int, kind: str, **fields: Any) -> None:
        self.told.clear()
        self.registry.message(session, kind, json.dumps({"type": kind, **fields}).encode())

    def provider_changed(self, type_id: str) -> None:
        self.refused -= {trigger for trigger, (_, kind, _) in self.triggers.items() if kind == type_id}

    @rule(session=SESSIONS, type_id=TYPES)
    def register_type(self, session: int, type_id: str) -> None:
        self.send(session, "registertriggertype", id=type_id)
        stack = self.providers[type_id]
        self.providers[type_id] = [one for one in stack if one != session] + [session]
        self.provider_changed(type_id)

    @rule(session=SESSIONS, type_id=TYPES)
    def unregister_type(self, session: int, type_id: str) -> None:
        self.send(session, "unregistertriggertype", id=type_id)
        self.drop_provider(session, type_id)

    def drop_provider(self, session: int, type_id: str) -> None:
        stack = self.providers[type_id]
        if session not in stack:
            return
        if stack[-1] == session:
            self.provider_changed(type_id)
            # A provider that gives up a type forgets its triggers.
            kept = {id_: one for id_, one in self.held[session].items() if one["trigger_type"] != type_id}
            self.held[session] = kept
        stack.remove(session)

    @rule(session=SESSIONS, trigger=TRIGGERS, type_id=TYPES, config=CONFIGS)
    def register(self, session: int, trigger: str, type_id: str, config: int) -> None:
        owner = self.triggers.get(trigger)
        self.send(session, "registertrigger", id=trigger, trigger_type=type_id, function_id="f", config=config)
        if owner is not None and owner[0] != session:
            assert self.told == [(session, trigger)]
            return
        assert self.told == []
        self.triggers[trigger] = (session, type_id, config)
        self.refused.discard(trigger)

    @rule(session=SESSIONS, trigger=TRIGGERS)
    def unregister(self, session: int, trigger: str) -> None:
        self.send(session, "unregistertrigger", id=trigger)
        if self.triggers.get(trigger, (0,))[0] == session:
            del self.triggers[trigger]
            self.refused.discard(trigger)

    @rule(session=SESSIONS, trigger=TRIGGERS)
    def refuse(self, session: int, trigger: str) -> None:
        """A provider refuses what it has; from others it means nothing."""
        holds = trigger in self.held[session]
        self.send(session, "triggerregistrationresult", id=trigger, error={"code": "X", "message": "no"})
        if holds:
            del self.held[session][trigger]
            self.refused.add(trigger)
            assert self.told == [(self.triggers[trigger][0], trigger)]
        else:
            assert self.told == []

    @rule(session=SESSIONS)
    def close(self, session: int) -> None:
        self.registry.closed(session)
        for trigger in [one for one, (owner, _, _) in self.triggers.items() if owner == session]:
            del self.triggers[trigger]
            self.refused.discard(trigger)
        for type_id in self.providers:
            self.drop_provider(session, type_id)
        self.held[session] = {}

    @invariant()
    def providers_hold_exactly_what_they_should(self) -> None:
        expected: dict[int, dict[str, tuple[str, int]]] = {session: {} for session in self.held}
        for trigger, (_, type_id, config) in self.triggers.items():
            if self.providers[type_id] and trigger not in self.refused:
                expected[self.providers[type_id][-1]][trigger] = (type_id, config)
        found = {
            session: {trigger: (one["trigger_type"], one["config"]) for trigger, one in held.items()}
            for session, held in self.held.items()
        }
        assert found == expected

    @invariant()
    def nothing_is_left_behind(self) -> None:
        assert {one.id for one in self.registry.triggers()} == set(self.triggers)
        registry = self.registry
        if not self.triggers:
            assert not registry._bindings_of
            assert not registry._bindings_to
        if not any(self.providers.values()):
            assert not registry._providers
            assert not registry._types_of


RegistryMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRegistry = RegistryMachine.TestCase
