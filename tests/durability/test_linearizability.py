"""Per key, and over several keys where a call names several, state behaves as if one thing happened at a time.

Concurrent clients record what they saw; the checker looks for an order that explains it. Every failure names its seed.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support import linearizability
from tests.support.contenders import ALL, SINGLE, Contenders
from tests.support.engine_process import EngineProcess
from tests.support.state_spec import SWAP, TRANSACT, Done, History, State, step

SEED: Final = int(os.environ.get("III_FAST_SEED", "1"))
ENGINES: Final = {
    "native": ("native", "--loops", "1"),
    "native, 3 loops": ("native", "--loops", "3"),
    "reference": ("reference",),
}
engines = pytest.mark.parametrize("command", ENGINES.values(), ids=ENGINES.keys())


def assert_explained(done: list[Done], seed: int) -> None:
    verdict = linearizability.check(done, State(), step)
    assert verdict.possible, f"seed {seed}: {verdict.explain()}"


def assert_contended(history: History) -> None:
    """The check is worth something: calls overlapped, and conditions held and failed."""
    swaps = [one.answer["swapped"] for one in history.done if one.function_id == SWAP and one.answer != "open"]
    assert {True, False} == set(swaps)
    overlapping = sum(a.returned > b.called for a, b in zip(history.done, history.done[1:], strict=False))
    assert overlapping > len(history.done) / 2


@engines
@pytest.mark.deadline(60)
async def test_each_key_changes_in_one_order(command: tuple[str, ...]) -> None:
    with EngineProcess(*command) as engine:
        clients = Contenders(SEED, ["a", "b", "c"], SINGLE)
        await clients.run(engine.worker, 1200)
    assert_contended(clients.history)
    for one_key in clients.history.by_key():
        assert_explained(one_key, SEED)


@engines
@pytest.mark.deadline(60)
async def test_several_keys_change_and_are_read_at_one_instant(command: tuple[str, ...]) -> None:
    with EngineProcess(*command) as engine:
        clients = Contenders(SEED, ["a", "b", "c"], ALL)
        await clients.run(engine.worker, 500)
    assert_contended(clients.history)
    committed = [one.answer["committed"] for one in clients.history.done if one.function_id == TRANSACT]
    assert {True, False} == set(committed)
    assert_explained(clients.history.done, SEED)
