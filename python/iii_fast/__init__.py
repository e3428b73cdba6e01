"""iii-fast: an engine for iii workers.

``load_config`` reads a configuration file, ``Settings`` describes an engine, ``Engine`` runs one inside a Trio nursery.
What costs to import or to look up is fetched on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iii_fast.config import Configuration, Settings, load_config
from iii_fast.config.version import version
from iii_fast.contracts import Storage
from iii_fast.errors import BackendMissingError, ConfigError, StorageError, WireError

if TYPE_CHECKING:
    from iii_fast.engine import Engine

    __version__: str

__all__ = [
    "BackendMissingError",
    "ConfigError",
    "Configuration",
    "Engine",
    "Settings",
    "Storage",
    "StorageError",
    "WireError",
    "__version__",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from iii_fast.engine import Engine

        return Engine
    if name == "__version__":
        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
