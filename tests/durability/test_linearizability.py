"""Per key, and over several keys where a call names several, state behaves as if one thing happened at a time.

Concurrent clients record what they saw; the checker looks for an order that explains it. Every failure names its seed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from tests.support import linearizability
from tests.support.contenders import ALL, SINGLE, Contenders
from tests.support.deadlines import ANSWER_S
from tests.support.durable import DURABLE_BACKENDS, Durable
from tests.support.engine_process import EngineProcess
from tests.support.state_spec import SWAP, TRANSACT, Done, History, State, step

SEED: Final = int(os.environ.get("III_FAST_SEED", "1"))
HISTORIES: Final = max(1, int(os.environ.get("III_FAST_CRASH_ROUNDS", "20")) // 20)
"""How many of each kind."""
ENGINES: Final = {
    "native": ("native", "--loops", "1"),
    "native, 3 loops": ("native", "--loops", "3"),
    "reference": ("reference",),
}
DURABLE: Final = {name: command for name, command in ENGINES.items() if command[0] in DURABLE_BACKENDS}
engines = pytest.mark.parametrize("command", ENGINES.values(), ids=ENGINES.keys())
seeds = pytest.mark.parametrize("seed", range(SEED, SEED + HISTORIES))


def assert_explained(done: list[Done], seed: int) -> None:
    verdict = linearizability.check(done, State(), step)
    assert verdict.possible, f"III_FAST_SEED={seed}: {verdict.explain()}"


def assert_contended(history: History) -> None:
    """The check is worth something: calls overlapped, and conditions held and failed."""
    swaps = [one.answer["swapped"] for one in history.done if one.function_id == SWAP and one.answer != "open"]
    assert {True, False} == set(swaps)
    overlapping = sum(a.returned > b.called for a, b in zip(history.done, history.done[1:], strict=False))
    assert overlapping > len(history.done) / 2


@engines
@seeds
@pytest.mark.deadline(60)
async def test_each_key_changes_in_one_order(command: tuple[str, ...], seed: int) -> None:
    with EngineProcess(*command) as engine:
        clients = Contenders(seed, ["a", "b", "c"], SINGLE)
        await clients.run(engine.worker, 1200)
    assert_contended(clients.history)
    for one_key in clients.history.by_key():
        assert_explained(one_key, seed)


@engines
@seeds
@pytest.mark.deadline(60)
async def test_several_keys_change_and_are_read_at_one_instant(command: tuple[str, ...], seed: int) -> None:
    with EngineProcess(*command) as engine:
        clients = Contenders(seed, ["a", "b", "c"], ALL)
        await clients.run(engine.worker, 500)
    assert_contended(clients.history)
    committed = [one.answer["committed"] for one in clients.history.done if one.function_id == TRANSACT]
    assert {True, False} == set(committed)
    assert_explained(clients.history.done, seed)


def told_to_end(engine: EngineProcess) -> None:
    engine.process.signal(signal.SIGTERM)


@pytest.mark.parametrize("command", DURABLE.values(), ids=DURABLE.keys())
@pytest.mark.parametrize("end", [told_to_end, EngineProcess.kill], ids=["told to end", "killed"])
@seeds
@pytest.mark.deadline(90)
async def test_one_order_explains_all_over_restarts(
    command: tuple[str, ...], seed: int, end: Callable[[EngineProcess], None], tmp_path: Path
) -> None:
    durable, random = Durable(tmp_path, *command), Random(seed)
    clients = Contenders(seed, ["a", "b", "c"], ALL)
    for _ in range(3):
        last = random.randint(30, 150)
        with await trio.to_thread.run_sync(durable.start) as engine:

            def ends(number: int, engine: EngineProcess = engine, last: int = last) -> None:
                if number == last:
                    end(engine)

            await clients.look(engine.worker)
            await clients.run(engine.worker, 10 * last, ends)
            await trio.to_thread.run_sync(engine.process.wait, ANSWER_S)
        if end is EngineProcess.kill:
            clients.history.crashed()
        else:
            clients.history.ended()
    with await trio.to_thread.run_sync(durable.start) as engine:
        await clients.look(engine.worker)
    assert_explained(clients.history.done, seed)
