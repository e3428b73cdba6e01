"""What ``iii-fast --version`` prints: the package's version and which backends can be started here."""

from __future__ import annotations

import importlib.util
import platform

import trio

from iii_fast._backend import EXTENSION
from iii_fast.config.version import version


def text() -> str:
    """A line per fact, first the version."""
    built = importlib.util.find_spec(EXTENSION) is not None
    return "\n".join(
        (
            f"iii-fast {version()}",
            f"  backend native: {'available' if built else f'not built ({EXTENSION} is missing)'}",
            "  backend reference: available",
            f"  python {platform.python_version()}, trio {trio.__version__}",
        )
    )
