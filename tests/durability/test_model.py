"""Any sequence of calls, restarts and kills: a durable engine answers and keeps what a dictionary would."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.durable import DURABLE_BACKENDS, Durable
from tests.support.engine_process import EngineProcess
from tests.support.pipelined import Pipelined, pipelined

ROUNDS: Final = int(os.environ.get("III_FAST_CRASH_ROUNDS", "20"))
EXAMPLES: Final = max(2, ROUNDS // 10)
STEPS: Final = 30

scopes = st.sampled_from(["one", "two"])
keys = st.sampled_from(["a", "b", "ключ"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
places = st.tuples(scopes, keys)
EXISTS_NOT: Final = object()
SLOW: Final = [HealthCheck.too_slow, HealthCheck.data_too_large]


class Engines:
    """Engines one after the other on a directory, as seen from a thread of its own."""

    def __init__(self, nursery: trio.Nursery, backend: str) -> None:
        self._nursery = nursery
        self._backend = backend
        self._place = tempfile.TemporaryDirectory()
        self._durable = Durable(Path(self._place.name), backend)
        self._engine: EngineProcess | None = None
        self._connection: Pipelined | None = None
        self._over = trio.Event()

    def start(self) -> None:
        """An engine on what the former one left, and a connection."""
        self._engine = self._durable.start()
        self._over = trio.from_thread.run_sync(trio.Event)
        self._connection = trio.from_thread.run(self._nursery.start, self._connect, self._engine.worker, self._over)

    async def _connect(
        self, address: tuple[str, int], over: trio.Event, *, task_status: trio.TaskStatus[Pipelined]
    ) -> None:
        async with pipelined(address) as connection:
            task_status.started(connection)
            await over.wait()

    def call(self, function_id: str, data: dict[str, Any]) -> Any:
        """The engine's answer."""
        assert self._connection is not None
        return trio.from_thread.run(self._connection.call, function_id, data)

    def end(self, politely: bool) -> None:
        """Tells the engine to end, or kills it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            with engine:
                if not politely:
                    engine.kill()
            trio.from_thread.run_sync(self._over.set)

    def forget(self) -> None:
        """Ends the engine and removes the directory."""
        self.end(politely=True)
        self._place.cleanup()


class Machine(RuleBasedStateMachine):
    """``state``: values by key, in insertion order, by scope."""

    def __init__(self, engines: Engines) -> None:
        super().__init__()
        self.state: dict[str, dict[str, Any]] = {"one": {}, "two": {}}
        self.last = 0
        self.engines = engines
        engines.start()

    def teardown(self) -> None:
        self.engines.forget()

    def _wrote(self, version: int | None) -> None:
        assert version is not None
        assert version > self.last
        self.last = version

    @rule(place=places, value=values, durable=st.booleans())
    def set(self, place: tuple[str, str], value: Any, durable: bool) -> None:
        scope, key = place
        answer = self.engines.call("state::set", {"scope": scope, "key": key, "value": value, "durable": durable})
        assert answer == {"old_value": self.state[scope].get(key), "new_value": value}
        self.state[scope][key] = value

    @rule(place=places)
    def delete(self, place: tuple[str, str]) -> None:
        scope, key = place
        assert self.engines.call("state::delete", {"scope": scope, "key": key}) == self.state[scope].pop(key, None)

    @rule(place=places, by=st.integers(-3, 3))
    def count(self, place: tuple[str, str], by: int) -> None:
        scope, key = place
        data = {"scope": scope, "key": key, "ops": [{"type": "increment", "path": "n", "by": by}]}
        old = self.state[scope].get(key, EXISTS_NOT)
        if old is not EXISTS_NOT and not (isinstance(old, dict) and type(old.get("n", 0)) is int):
            return
        answer = self.engines.call("state::update", data)
        if old is EXISTS_NOT:
            old, new = None, {"n": by}
        else:
            new = {**old, "n": old.get("n", 0) + by}
        assert answer == {"old_value": old, "new_value": new}
        self.state[scope][key] = new

    @rule(place=places, value=values, right=st.booleans())
    def swap(self, place: tuple[str, str], value: Any, right: bool) -> None:
        scope, key = place
        old = self.state[scope].get(key, EXISTS_NOT)
        expected = {} if (old is EXISTS_NOT) == right else {"expected": old if right else "never stored"}
        answer = self.engines.call("state::compare-and-set", {"scope": scope, "key": key, "value": value, **expected})
        assert answer["swapped"] == right
        if right:
            self._wrote(answer["version"])
            self.state[scope][key] = value
        assert answer["current"] == self.state[scope].get(key)

    @rule(items=st.lists(st.tuples(places, values), min_size=1, max_size=4))
    def set_many(self, items: list[tuple[tuple[str, str], Any]]) -> None:
        entries = [{"scope": scope, "key": key, "value": value} for (scope, key), value in items]
        answer = self.engines.call("state::set_many", {"entries": entries})
        assert answer["written"] == len(items)
        self._wrote(answer["version"])
        for (scope, key), value in items:
            self.state[scope][key] = value

    @rule(ops=st.lists(st.tuples(places, st.just(EXISTS_NOT) | values), min_size=1, max_size=4), right=st.booleans())
    def transact(self, ops: list[tuple[tuple[str, str], Any]], right: bool) -> None:
        sent = [
            {"type": "delete" if value is EXISTS_NOT else "set", "scope": scope, "key": key}
            | ({} if value is EXISTS_NOT else {"value": value})
            for (scope, key), value in ops
        ]
        checks = [{"scope": "one", "key": "never", **({"absent": True} if right else {"version": 1})}]
        answer = self.engines.call("state::transact", {"checks": checks, "ops": sent})
        assert answer["committed"] == right
        if not right:
            return
        changed = False
        for (scope, key), value in ops:
            if value is not EXISTS_NOT:
                self.state[scope][key], changed = value, True
            elif key in self.state[scope]:
                del self.state[scope][key]
                changed = True
        assert (answer["version"] is not None) == changed
        if changed:
            self._wrote(answer["version"])

    @rule(scope=scopes)
    def delete_scope(self, scope: str) -> None:
        answer = self.engines.call("state::delete_scope", {"scope": scope})
        assert answer["deleted"] == len(self.state[scope])
        self.state[scope].clear()

    @rule(politely=st.booleans())
    def end(self, politely: bool) -> None:
        self.engines.end(politely)
        self.engines.start()

    @invariant()
    def same(self) -> None:
        for scope, entries in self.state.items():
            page = self.engines.call("state::list_entries", {"scope": scope})
            assert [tuple(entry) for entry in page["entries"]] == list(entries.items())


@pytest.mark.parametrize("backend", DURABLE_BACKENDS)
@pytest.mark.deadline(60 + 30 * EXAMPLES)
async def test_an_engine_keeps_what_a_dictionary_keeps(backend: str, nursery: trio.Nursery) -> None:
    def run() -> None:
        chosen = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=SLOW)
        run_state_machine_as_test(lambda: Machine(Engines(nursery, backend)), settings=chosen)

    await trio.to_thread.run_sync(run, abandon_on_cancel=True)
