"""The published SDKs that the tests run workers on, and where ``make`` has installed them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.support.line_process import ROOT
from tests.support.steered_worker import SteeredWorker

CACHE: Final = ROOT / ".cache"
SOURCES: Final = ROOT / "tests" / "compat"


def installed(path: Path) -> str:
    """The path, which must exist."""
    assert path.exists(), f"{path.relative_to(ROOT)} is missing: run `make compat-sdks`"
    return str(path)


def node_program(name: str, text: str) -> str:
    """Puts a Node program beside the installed packages, from where it finds them; the path."""
    installed(CACHE / "node" / "node_modules")
    program = CACHE / "node" / name
    fresh = program.with_suffix(f".{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(program)  # whole at once: tests run in parallel
    return str(program)


def _node(package: str, register_style: str) -> list[str]:
    source = SOURCES / "node" / "steered_worker.mjs"
    return ["node", node_program(source.name, source.read_text()), package, register_style]


def _python(version: str) -> list[str]:
    python = installed(CACHE / f"python-sdk-{version}" / "bin" / "python")
    return [python, "-u", str(SOURCES / "python" / "steered_worker.py")]


def _rust() -> list[str]:
    return [installed(CACHE / "rust-sdk" / "debug" / "steered-worker")]


COMMANDS: Final[dict[str, Callable[[], list[str]]]] = {
    "npm-0.9.0": lambda: _node("iii-sdk", "object"),
    "npm-0.11.6": lambda: _node("iii-sdk-0.11", "string"),
    "npm-0.22.1": lambda: _node("iii-sdk-0.22", "string"),
    "pypi-0.11.6": lambda: _python("0.11.6"),
    "pypi-0.25.0": lambda: _python("0.25.0"),
    "crate-0.25.0": _rust,
}
SDKS: Final = tuple(COMMANDS)
WITH_METADATA: Final = ("npm-0.22.1", "pypi-0.25.0", "crate-0.25.0")
"""Those whose ``trigger`` carries metadata."""

HEARS_UNBIND: Final = ("npm-0.22.1", "pypi-0.25.0", "crate-0.25.0")
"""Those that read ``unregistertrigger``."""


def worker(sdk: str, url: str, env: Mapping[str, str] | None = None) -> SteeredWorker:
    """Starts a worker on ``sdk``, connected to the engine at ``url``."""
    return SteeredWorker(COMMANDS[sdk](), url, env)
