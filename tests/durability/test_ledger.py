"""Nothing that was acknowledged is lost, and nothing else is made up, whatever ends the engine.

Several writers keep ledgers; at a moment that the seed chooses the engine is killed (``kill -9``), told to end, or
loses its power, and is started again on what it left. ``III_FAST_CRASH_ROUNDS`` sets how many ends there are in all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from tests.support.deadlines import ANSWER_S
from tests.support.durable import DURABLE_BACKENDS, Durable
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.power_loss import PowerLoss
from tests.support.writers import Writers

ROUNDS: Final = int(os.environ.get("III_FAST_CRASH_ROUNDS", "20"))
SEED: Final = int(os.environ.get("III_FAST_SEED", "1"))
EXTRA_ROUNDS: Final = 5
"""So many more until something was at stake when the power went."""
ROUND_S: Final = 20.0
"""The longest that one round may take on a loaded machine."""


@dataclass(frozen=True)
class Campaign:
    """Rounds on one directory; ``share`` is how many of 20 rounds are of this kind."""

    name: str
    command: tuple[str, ...]
    sync: str
    share: int
    sdk: str | None = None

    @property
    def rounds(self) -> int:
        return max(1, self.share * ROUNDS // 20)


CAMPAIGNS: Final = (
    Campaign("native-always", ("native",), "always", 4),
    Campaign("native-3-loops-always", ("native", "--loops", "3"), "always", 3, "pypi-0.25.0"),
    Campaign("native-interval", ("native",), "interval", 3),
    Campaign("native-3-loops-never", ("native", "--loops", "3"), "never", 3),
    Campaign("reference-always", ("reference",), "always", 2),
    Campaign("reference-interval", ("reference",), "interval", 1),
    Campaign("reference-never", ("reference",), "never", 1),
)
POWER_LOSSES: Final = (
    Campaign("native-always", ("native", "--loops", "3"), "always", 1),
    Campaign("native-never", ("native", "--loops", "3"), "never", 2),
    Campaign("reference-always", ("reference",), "always", 1),
    Campaign("reference-never", ("reference",), "never", 1),
)


def campaigns(of: tuple[Campaign, ...]) -> pytest.MarkDecorator:
    marked = [
        pytest.param(one, id=one.name, marks=pytest.mark.deadline(30 + ROUND_S * (one.rounds + EXTRA_ROUNDS)))
        for one in of
        if one.command[0] in DURABLE_BACKENDS
    ]
    return pytest.mark.parametrize("campaign", marked)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_ledger_agrees_with_an_engine_that_runs(backend: str) -> None:
    writers = Writers(SEED, sdk="pypi-0.25.0")
    with EngineProcess(backend) as engine:
        for _ in range(3):
            await writers.write(engine, 400, None)
            await writers.audit(engine.worker)


def terminate(engine: EngineProcess) -> None:
    engine.process.signal(signal.SIGTERM)


@contextmanager
def telling(number: int) -> Iterator[None]:
    """Failures tell where they are found again."""
    try:
        yield
    except Exception as error:
        error.add_note(f"III_FAST_SEED={SEED}, round {number}")
        raise


@campaigns(CAMPAIGNS)
async def test_what_was_acknowledged_outlives_the_engine(campaign: Campaign, tmp_path: Path) -> None:
    random = Random(f"{SEED} {campaign.name}")
    durable = Durable(tmp_path, *campaign.command, sync=campaign.sync)
    writers = Writers(random.randrange(1 << 32), sdk=campaign.sdk)
    for number in range(campaign.rounds + 1):
        with telling(number), await trio.to_thread.run_sync(durable.start) as engine:
            await writers.audit(engine.worker)
            if number < campaign.rounds:
                end = partial(terminate, engine) if number % 4 == 2 else engine.kill
                await writers.write(engine, random.randint(20, 1500), end)
                await trio.to_thread.run_sync(engine.process.wait, ANSWER_S)


@campaigns(POWER_LOSSES)
async def test_what_was_acknowledged_outlives_the_power(campaign: Campaign, tmp_path: Path) -> None:
    """At a level below `always` it is what asked to be durable; there is a lot that did not, and is cut off or torn."""
    random = Random(f"{SEED} power {campaign.name}")
    durable = Durable(tmp_path, *campaign.command, sync=campaign.sync)
    is_always = campaign.sync == "always"
    writers = Writers(random.randrange(1 << 32), durable_share=0.0 if is_always else 0.02)
    power = PowerLoss(tmp_path)
    at_stake, struck = 0, True
    for number in count():
        with telling(number), await trio.to_thread.run_sync(lambda: durable.start(env=power.environment)) as engine:
            await writers.audit(engine.worker, durable_only=struck and not is_always)
            # A write that asked to be durable may have been the last one in every round so far.
            enough = is_always or at_stake > 0 or number == campaign.rounds + EXTRA_ROUNDS
            if number >= campaign.rounds and enough:
                break
            await writers.write(engine, random.randint(20, 1500), engine.kill)
            struck = number % 3 != 1  # sometimes there is only the kill, and the next engine goes on in between
            if struck:
                at_stake += await trio.to_thread.run_sync(power.strike, durable.directory, random)
    assert is_always or at_stake > 0
