"""The version of the package as it is installed: the one answer for the command, health checks and ``__version__``."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version, or a text that says so when the package runs from a folder without being installed."""
    try:
        return metadata.version("iii-fast")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
