"""Nothing that was acknowledged is lost, and nothing else is made up."""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.writers import Writers

SEED: Final = int(os.environ.get("III_FAST_SEED", "1"))


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_ledger_agrees_with_an_engine_that_runs(backend: str) -> None:
    writers = Writers(SEED, sdk="pypi-0.25.0")
    with EngineProcess(backend) as engine:
        for _ in range(3):
            await writers.write(engine, 400, None)
            await writers.audit(engine.worker)
