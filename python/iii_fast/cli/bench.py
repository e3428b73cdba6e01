"""``iii-fast bench``: the benchmark suite of the source checkout that this package runs from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from iii_fast.cli.failure import fail

ROOT: Final = Path(__file__).resolve().parents[3]
"""The checkout, when the package runs from one (``make build``, ``pip install -e .``)."""


def main(arguments: Sequence[str]) -> None:
    """Runs the suite with the arguments and leaves with its status.

    Without a checkout, or without cargo in it, it leaves with status 1 and a text: the suite and its load generator are
    no part of the installed package.
    """
    if not (ROOT / "benches" / "__main__.py").is_file():
        fail(
            "the benchmarks are in the source checkout, and this iii-fast does not run from one "
            f"(expected benches/ in {ROOT}): clone it, `make build`, and run its .venv/bin/iii-fast bench"
        )
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-m", "benches", *arguments]
    try:
        status = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
