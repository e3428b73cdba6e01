"""What the engine can be told: plain frozen dataclasses with their defaults, and nothing that reads a file.

Everything here is usable without configuration files: ``Settings()`` is the default engine. Units are in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from iii_fast.contracts import EVERY_PAGE, Cors, Limits, Storage, TlsFiles
from iii_fast.errors import ConfigError

BackendName: TypeAlias = Literal["native", "reference"]
QueueKind: TypeAlias = Literal["standard", "fifo"]

DEFAULT_PORT: Final = 49134
DEFAULT_HTTP_PORT: Final = 3111
DEFAULT_QUEUE: Final = "default"
"""A named queue of this name always exists."""
DEFAULT_DIRECTORY: Final = Path("data")
"""Where state is kept when nothing else is said, relative to the working directory."""
DEFAULT_STORAGE: Final = Storage(DEFAULT_DIRECTORY)

QUOTAS: Final = {
    "max_value_bytes": "value_bytes_max",
    "max_key_bytes": "key_bytes_max",
    "max_scope_bytes": "scope_bytes_max",
    "max_total_bytes": "total_bytes_max",
}
"""Quotas of state by their names in ``StateSettings`` and in ``contracts.Limits``."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The ``http`` trigger's listener. Port 0 lets the system choose; with ``tls`` it speaks ``https://`` only.

    ``middleware``: functions that every routed request passes before its own condition and middleware, in this order.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = DEFAULT_HTTP_PORT
    default_timeout_ms: int = 30_000
    body_limit_bytes: int = 1 << 20
    concurrency_request_limit: int = 1024
    middleware: tuple[str, ...] = ()
    cors: Cors = EVERY_PAGE
    tls: TlsFiles | None = None


@dataclass(frozen=True, slots=True)
class CronSettings:
    """The ``cron`` trigger."""

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """One named queue. ``max_retries`` counts all attempts; the pause before attempt k+1 is ``backoff_ms * 2**(k-1)``.

    ``message_group_field`` names the payload member that orders a ``fifo`` queue and is required for it.
    """

    kind: QueueKind = "standard"
    max_retries: int = 3
    concurrency: int = 10
    backoff_ms: int = 1_000
    message_group_field: str | None = None


def _default_queues() -> Mapping[str, QueueConfig]:
    return MappingProxyType({DEFAULT_QUEUE: QueueConfig()})


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Named queues by name, and the defaults of topic queues (``topic``). The queue ``default`` is always there."""

    enabled: bool = True
    queue_configs: Mapping[str, QueueConfig] = field(default_factory=_default_queues)
    topic: QueueConfig = QueueConfig()

    def __post_init__(self) -> None:
        if DEFAULT_QUEUE not in self.queue_configs:
            queues = {DEFAULT_QUEUE: QueueConfig(), **self.queue_configs}
            object.__setattr__(self, "queue_configs", MappingProxyType(queues))


@dataclass(frozen=True, slots=True)
class StateSettings:
    """The state API and its quotas (docs/state.md, 14); ``None`` is no quota.

    The functions ``state::*`` belong to the data plane and are always there: ``enabled`` is about the trigger type.
    """

    enabled: bool = True
    triggers_enabled: bool = True
    max_value_bytes: int | None = None
    max_key_bytes: int | None = None
    max_scope_bytes: int | None = None
    max_total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one engine is started with. ``shutdown_ms`` bounds how long in-flight work may take at the end.

    With ``tls`` the worker port speaks ``wss://`` and nothing else.

    Raises ``ConfigError`` when a quota of ``state`` and its twin in ``limits`` contradict each other; when only one is
    set the other follows, so each reader may use either. What ``http`` says of limits goes into ``limits.http``.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    http: HttpSettings = HttpSettings()
    cron: CronSettings = CronSettings()
    queue: QueueSettings = field(default_factory=QueueSettings)
    state: StateSettings = StateSettings()
    storage: Storage = DEFAULT_STORAGE
    limits: Limits = field(default_factory=Limits)
    loops: int = 1
    backend: BackendName = "native"
    shutdown_ms: int = 10_000
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        of_state, of_limits = asdict(self.state), asdict(self.limits)
        for name, twin in QUOTAS.items():
            one, other = of_state[name], of_limits[twin]
            if None not in (one, other) and one != other:
                raise ConfigError(f"state.{name} is {one} but limits.{twin} is {other}: give one of them")
            of_state[name] = of_limits[twin] = other if one is None else one
        object.__setattr__(self, "state", StateSettings(**of_state))
        of_limits["http"] = replace(
            self.limits.http,
            body_bytes_max=self.http.body_limit_bytes,
            request_ms=self.http.default_timeout_ms,
            requests_max=max(1, self.http.concurrency_request_limit),
        )
        object.__setattr__(self, "limits", Limits(**of_limits))
