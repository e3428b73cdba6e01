"""Engines for the contract tests: each backend, and the native one also with two reactors."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.engine_process import EngineProcess

VARIANTS = {
    "native": ("native",),
    "native-2-loops": ("native", "--loops", "2"),
    "reference": ("reference",),
}

StartEngine = Callable[..., EngineProcess]


@pytest.fixture(scope="session", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Which engine."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def engine(variant: str) -> Generator[EngineProcess]:
    """A running engine, shared by tests: use unique names in it and leave it running."""
    with EngineProcess(*VARIANTS[variant]) as started:
        yield started


@pytest.fixture
def start_engine(variant: str, tmp_path: Path) -> Generator[StartEngine]:
    """Starts engines of the test's own, with ``limits`` by their names in ``contracts.Limits``, and ``shutdown_ms``."""
    with ExitStack() as stack:

        def start(shutdown_ms: int = 10_000, **limits: Any) -> EngineProcess:
            workers = [{"name": name} for name in ("iii-state", "iii-http", "iii-cron", "iii-queue")]
            settings = {"workers": workers, "limits": limits, "shutdown_ms": shutdown_ms}
            config = tmp_path / "engine.yaml"
            config.write_text(yaml.safe_dump(settings))
            return stack.enter_context(EngineProcess(*VARIANTS[variant], "-c", str(config)))

        yield start
