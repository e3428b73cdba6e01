"""The trigger registry, message by message."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from iii_fast.contracts import Trigger
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.triggers import registry as registry_module
from iii_fast.triggers.registry import Registry

PROVIDER, OTHER_PROVIDER, CONSUMER, STRANGER = 1, 2, 3, 4


class OwnType:
    """A trigger type of the engine that refuses configs that are numbers."""

    ids: tuple[str, ...] = ("own", "own:alias")

    def __init__(self) -> None:
        self.bound: list[Trigger] = []

    def bind(self, trigger: Trigger) -> None:
        if isinstance(trigger.config, int):
            raise WireError(Code.TRIGGER_REGISTRATION_FAILED, "numbers are not welcome")
        self.bound.append(trigger)

    def unbind(self, trigger: Trigger) -> None:
        self.bound.remove(trigger)

    async def run(self, **_: Any) -> None:
        raise NotImplementedError("the registry only binds")

    async def drain(self) -> None:
        raise NotImplementedError("the registry only binds")


class Bench:
    """A registry, its own type, and what it sent to whom since the last look."""

    def __init__(self) -> None:
        self.own = OwnType()
        self._sent: list[tuple[int, dict[str, Any]]] = []
        self.waiting: list[Callable[[], None]] | None = None
        self.registry = Registry(self._push, self._later, [self.own])

    def _push(self, session: int, message: bytes) -> None:
        self._sent.append((session, json.loads(message)))

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        assert delay_s == registry_module.TYPE_READY_S
        if self.waiting is None:
            call()
        else:
            self.waiting.append(call)

    def send(self, session: int, kind: str, **fields: Any) -> None:
        self.raw(session, kind, json.dumps({"type": kind, **fields}).encode())

    def raw(self, session: int, kind: str, message: bytes) -> None:
        self.registry.message(session, kind, message)

    def sent(self) -> list[tuple[int, dict[str, Any]]]:
        sent, self._sent = self._sent, []
        return sent

    def provide(self, session: int, type_id: str = "custom", **fields: Any) -> None:
        self.send(session, "registertriggertype", id=type_id, description="d", **fields)

    def register(self, session: int = CONSUMER, **fields: Any) -> None:
        defaults = {"id": "t", "trigger_type": "custom", "function_id": "f", "config": {"a": 1}}
        self.send(session, "registertrigger", **(defaults | fields))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def registered(trigger_id: str = "t", **fields: Any) -> dict[str, Any]:
    defaults = {"id": trigger_id, "trigger_type": "custom", "function_id": "f", "config": {"a": 1}}
    return {"type": "registertrigger", **(defaults | fields)}


WITHDRAWN = {"type": "unregistertrigger", "id": "t", "trigger_type": "custom"}


# Worker-provided types


def test_a_known_type_gets_the_trigger_and_the_registrant_no_ack(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register(metadata={"m": 1})
    assert bench.sent() == [(PROVIDER, registered(metadata={"m": 1}))]


def test_config_is_always_there_and_keeps_its_text(bench: Bench) -> None:
    texts: list[bytes] = []
    registry = Registry(lambda session, message: texts.append(message), lambda _, ready: ready(), [])
    registry.message(PROVIDER, "registertriggertype", b'{"type":"registertriggertype","id":"custom"}')
    head = b'{"type":"registertrigger","id":"t","trigger_type":"custom","function_id":"f"'
    registry.message(CONSUMER, "registertrigger", head + b"}")
    registry.message(CONSUMER, "registertrigger", head + b',"config":{"x" : 1.0e2, "x":99999999999999999999}}')
    assert texts[0] == head + b',"config":null}'
    assert texts[2] == head + b',"config":{"x" : 1.0e2, "x":99999999999999999999}}'


def test_an_unknown_type_parks_silently_and_binds_when_it_appears(bench: Bench) -> None:
    bench.register()
    assert bench.sent() == []
    bench.provide(PROVIDER)
    assert bench.sent() == [(PROVIDER, registered())]


def test_a_provider_error_parks_and_is_forwarded_with_gaps_filled(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.send(
        PROVIDER, "triggerregistrationresult", id="t", trigger_type="custom", function_id="f", error={"code": "X"}
    )
    refusal = {"type": "triggerregistrationresult", "id": "t", "trigger_type": "custom", "function_id": "f"}
    assert bench.sent() == [(CONSUMER, refusal | {"error": {"code": "X", "message": ""}})]
    bench.send(CONSUMER, "unregistertrigger", id="t")
    assert bench.sent() == [], "the provider does not have it, so there is nothing to withdraw"


def test_a_refused_trigger_is_offered_again_when_the_type_is_registered_again(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.send(PROVIDER, "triggerregistrationresult", id="t", error={"code": "X", "message": "m"})
    bench.sent()
    bench.provide(PROVIDER)
    assert bench.sent() == [(PROVIDER, registered())]


@pytest.mark.parametrize("fields", [{}, {"error": None}])
def test_a_success_result_means_nothing(bench: Bench, fields: dict[str, Any]) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.send(PROVIDER, "triggerregistrationresult", id="t", **fields)
    bench.send(CONSUMER, "unregistertrigger", id="t")
    assert bench.sent() == [(PROVIDER, WITHDRAWN)]


def test_results_count_only_from_the_provider(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.send(STRANGER, "triggerregistrationresult", id="t", error={"code": "X", "message": "m"})
    assert bench.sent() == []


def test_provider_gone_and_back(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.registry.closed(PROVIDER)
    assert bench.sent() == []
    bench.provide(OTHER_PROVIDER)
    assert bench.sent() == [(OTHER_PROVIDER, registered())]


def test_a_displaced_provider_is_told_and_gets_the_triggers_back(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.provide(OTHER_PROVIDER)
    assert bench.sent() == [(PROVIDER, WITHDRAWN), (OTHER_PROVIDER, registered())]
    bench.registry.closed(OTHER_PROVIDER)
    assert bench.sent() == [(PROVIDER, registered())]


def test_a_displaced_provider_that_leaves_changes_nothing(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.provide(OTHER_PROVIDER)
    bench.register()
    bench.sent()
    bench.registry.closed(PROVIDER)
    assert bench.sent() == []
    bench.registry.closed(OTHER_PROVIDER)
    bench.provide(STRANGER)
    assert bench.sent() == [(STRANGER, registered())]


def test_unregistering_a_type_parks_its_triggers(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.send(STRANGER, "unregistertriggertype", id="custom")
    bench.send(PROVIDER, "unregistertriggertype", id="custom", description="as Node sends it")
    assert bench.sent() == []
    bench.provide(PROVIDER)
    assert bench.sent() == [(PROVIDER, registered())]


# The moment between announcing a type and providing it


def test_a_type_is_provided_a_moment_after_it_was_announced(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.waiting = []
    bench.provide(OTHER_PROVIDER)
    bench.register(id="2")
    assert bench.sent() == [(PROVIDER, registered("2"))], "the one before serves until then"
    bench.waiting.pop()()
    assert len(bench.sent()) == 4, "both move"


def test_a_type_announced_again_in_that_moment_is_provided_once(bench: Bench) -> None:
    bench.register()
    bench.waiting = []
    bench.provide(PROVIDER)
    bench.provide(PROVIDER)
    [ready] = bench.waiting
    ready()
    assert bench.sent() == [(PROVIDER, registered())]


@pytest.mark.parametrize("how", ["unregister", "close"])
def test_who_leaves_in_that_moment_provides_nothing(bench: Bench, how: str) -> None:
    bench.register()
    bench.waiting = []
    bench.provide(PROVIDER)
    if how == "close":
        bench.registry.closed(PROVIDER)
    else:
        bench.send(PROVIDER, "unregistertriggertype", id="custom")
        bench.provide(PROVIDER)
    bench.waiting[0]()
    assert bench.sent() == []
    for ready in bench.waiting[1:]:
        ready()
        assert bench.sent() == [(PROVIDER, registered())]


# Triggers


def test_an_identical_repeat_is_suppressed(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.register()
    assert bench.sent() == []


def test_the_same_id_with_another_config_replaces(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.register(config={"a": 2})
    assert bench.sent() == [(PROVIDER, WITHDRAWN), (PROVIDER, registered(config={"a": 2}))]


def test_a_repeat_of_a_refused_trigger_is_offered_again(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.send(PROVIDER, "triggerregistrationresult", id="t", error={"code": "X", "message": "m"})
    bench.sent()
    bench.register()
    assert bench.sent() == [(PROVIDER, registered())]


def test_only_its_registrant_may_unregister_or_replace_a_trigger(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.send(STRANGER, "unregistertrigger", id="t", trigger_type="custom")
    assert bench.sent() == []
    bench.register(STRANGER, config=2)
    [(session, told)] = bench.sent()
    assert session == STRANGER
    assert told["error"]["code"] == Code.TRIGGER_REGISTRATION_FAILED
    bench.send(CONSUMER, "unregistertrigger", id="t")
    assert bench.sent() == [(PROVIDER, WITHDRAWN)]


def test_a_successor_may_register_what_a_closed_connection_had(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register()
    bench.sent()
    bench.registry.closed(CONSUMER)
    bench.register(STRANGER)
    assert bench.sent() == [(PROVIDER, WITHDRAWN), (PROVIDER, registered())]


def test_unknown_ids_are_ignored(bench: Bench) -> None:
    bench.send(CONSUMER, "unregistertrigger", id="nope")
    bench.send(CONSUMER, "unregistertrigger")
    bench.send(CONSUMER, "triggerregistrationresult", id="nope", error={"code": "X", "message": "m"})
    bench.send(CONSUMER, "unregistertriggertype", id="nope")
    bench.registry.closed(99)
    assert bench.sent() == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"trigger_type": 5}, "Invalid registertrigger: field `trigger_type` is a number, expected a string"),
        ({"trigger_type": None}, "Invalid registertrigger: field `trigger_type` is null, expected a string"),
        ({"function_id": {}}, "Invalid registertrigger: field `function_id` is an object, expected a string"),
        ({"function_id": ""}, "Invalid registertrigger: field `function_id` is empty, expected a string"),
        ({"namespace": True}, "Invalid registertrigger: field `namespace` is a boolean, expected a string"),
    ],
)
def test_malformed_registrations_with_an_id_are_answered(bench: Bench, fields: dict[str, Any], text: str) -> None:
    bench.register(**fields)
    [(session, told)] = bench.sent()
    assert session == CONSUMER
    assert told["id"] == "t"
    assert {type(told[name]) for name in ("trigger_type", "function_id")} == {str}
    assert told["error"] == {"code": "trigger_registration_failed", "message": text}


def test_a_missing_field_is_named(bench: Bench) -> None:
    bench.send(CONSUMER, "registertrigger", id="t", trigger_type="custom")
    assert bench.sent()[0][1]["error"]["message"].startswith("Invalid registertrigger: field `function_id` is missing")


@pytest.mark.parametrize("trigger_id", [None, 5, ""])
def test_malformed_registrations_without_an_id_are_ignored(bench: Bench, trigger_id: Any) -> None:
    bench.register(id=trigger_id)
    assert bench.sent() == []


def test_of_duplicate_members_the_last_counts(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.raw(
        CONSUMER, "registertrigger", b'{"id":"x","id":"t","trigger_type":"custom","function_id":"f","config":{"a":1}}'
    )
    assert bench.sent() == [(PROVIDER, registered())]


def test_triggers_of_one_worker_are_limited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "TRIGGERS_PER_WORKER_MAX", 2)
    for number in range(2):
        bench.register(id=str(number))
    assert bench.sent() == []
    bench.register(id="2")
    assert "has 2 triggers" in bench.sent()[0][1]["error"]["message"]
    bench.register(id="1", config="replacing is fine at the limit")
    bench.register(STRANGER, id="2")
    assert bench.sent() == []


def test_types_of_one_worker_are_limited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "TYPES_PER_WORKER_MAX", 1)
    bench.provide(PROVIDER, "one")
    bench.provide(PROVIDER, "custom")
    bench.register()
    assert bench.sent() == []
    bench.provide(OTHER_PROVIDER, "custom")
    assert bench.sent() == [(OTHER_PROVIDER, registered())]


# Namespaces


@pytest.mark.parametrize("name", ["namespace", "trigger_namespace"])
def test_default_explicit_and_absent_are_equal(bench: Bench, name: str) -> None:
    bench.provide(PROVIDER, namespace="default")
    for value in ("default", None):
        bench.register(**{name: value})
    assert bench.sent() == [(PROVIDER, registered())], "the second is an identical repeat"


@pytest.mark.parametrize("name", ["namespace", "trigger_namespace"])
@pytest.mark.parametrize("value", ["", " \t"])
def test_a_blank_namespace_is_refused(bench: Bench, name: str, value: str) -> None:
    bench.register(**{name: value})
    [(_, told)] = bench.sent()
    assert told["error"] == {
        "code": "INVALID_NAMESPACE",
        "message": f"`{name}` is empty: it was named and left blank. Give it a name, or omit it to use `default`.",
    }


def test_another_trigger_namespace_is_another_type(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register(trigger_namespace="team")
    assert bench.sent() == []
    bench.provide(OTHER_PROVIDER, namespace="team")
    assert bench.sent() == [(OTHER_PROVIDER, registered(trigger_namespace="team"))]


def test_the_namespace_of_the_function_is_forwarded(bench: Bench) -> None:
    bench.provide(PROVIDER)
    bench.register(namespace="team")
    assert bench.sent() == [(PROVIDER, registered(namespace="team"))]


# Types of the engine


def test_the_engines_types_bind_and_unbind(bench: Bench) -> None:
    bench.register(trigger_type="own:alias", metadata=[1])
    [bound] = bench.own.bound
    assert (bound.id, bound.trigger_type, bound.config, bound.metadata, bound.session) == (
        "t",
        "own:alias",
        {"a": 1},
        b"[1]",
        CONSUMER,
    )
    bench.registry.closed(CONSUMER)
    assert bench.own.bound == []
    assert bench.sent() == []


def test_what_the_engines_type_refuses_is_told_and_gone(bench: Bench) -> None:
    bench.register(trigger_type="own", config=5)
    refusal = {"type": "triggerregistrationresult", "id": "t", "trigger_type": "own", "function_id": "f"}
    error = {"code": "trigger_registration_failed", "message": "numbers are not welcome"}
    assert bench.sent() == [(CONSUMER, refusal | {"error": error})]
    bench.register(STRANGER, trigger_type="own")
    assert len(bench.own.bound) == 1, "the id is free again"


def test_a_worker_cannot_displace_an_engine_type(bench: Bench) -> None:
    bench.provide(PROVIDER, "own")
    bench.register(trigger_type="own")
    bench.registry.closed(PROVIDER)
    assert bench.sent() == []
    assert len(bench.own.bound) == 1


def test_a_trigger_for_another_namespace_is_parked(bench: Bench) -> None:
    bench.register(trigger_type="own", namespace="team")
    assert (bench.own.bound, bench.sent()) == ([], [])
    bench.send(CONSUMER, "unregistertrigger", id="t")
    bench.register(trigger_type="own", trigger_namespace="team")
    assert (bench.own.bound, bench.sent()) == ([], [])


def test_a_trigger_type_that_nobody_provides_is_named_once_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for number in range(3):
        bench.register(id=str(number), trigger_type="subscribe")
    bench.register(id="other", trigger_type="stream")
    assert [record.getMessage() for record in caplog.records] == [
        "Trigger '0' is parked: nobody provides trigger type 'subscribe'",
        "Trigger 'other' is parked: nobody provides trigger type 'stream'",
    ]
    caplog.clear()
    bench.provide(PROVIDER, "subscribe")
    assert caplog.text == ""
    bench.registry.closed(PROVIDER)
    assert [record.getMessage() for record in caplog.records] == [
        "3 triggers are parked: nobody provides trigger type 'subscribe' any more"
    ]
