"""Settings of the engine and the files they come from. Depends only on ``contracts`` and ``errors``."""

from iii_fast.config.loader import Configuration, find_config, load_config, read_config
from iii_fast.config.overrides import VARIABLES, Overrides
from iii_fast.config.settings import (
    DEFAULT_DIRECTORY,
    DEFAULT_HTTP_PORT,
    DEFAULT_PORT,
    DEFAULT_QUEUE,
    BackendName,
    CronSettings,
    HttpSettings,
    QueueConfig,
    QueueKind,
    QueueSettings,
    Settings,
    StateSettings,
)

__all__ = [
    "DEFAULT_DIRECTORY",
    "DEFAULT_HTTP_PORT",
    "DEFAULT_PORT",
    "DEFAULT_QUEUE",
    "VARIABLES",
    "BackendName",
    "Configuration",
    "CronSettings",
    "HttpSettings",
    "Overrides",
    "QueueConfig",
    "QueueKind",
    "QueueSettings",
    "Settings",
    "StateSettings",
    "find_config",
    "load_config",
    "read_config",
]
