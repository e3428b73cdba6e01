"""The names of things in configuration files: workers and adapters of three generations, and what we make of them.

Generations: ``class:`` of 0.10, ``name:`` of 0.11 and later, short names of 0.22 and later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing a file can list. ``missing`` says what happens instead when this engine does not offer it yet."""

    key: str
    class_name: str | None
    missing: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling: class, name, short name."""
        spelled = (self.class_name, self.full_name, self.key)
        return tuple(dict.fromkeys(name for name in spelled if name))

    @property
    def full_name(self) -> str:
        """The name of 0.11 and later."""
        return "configuration" if self.key == "configuration" else f"iii-{self.key}"


WORKER_MANAGER: Final = "worker-manager"
HTTP: Final = "http"
CRON: Final = "cron"
QUEUE: Final = "queue"
STATE: Final = "state"

STARTED: Final = (STATE, HTTP, CRON, QUEUE)
"""What starts without a file, and what a file with a list of workers starts only when it lists it."""

KINDS: Final = (
    Kind(WORKER_MANAGER, "modules::worker::WorkerModule"),
    Kind(HTTP, "modules::api::RestApiModule"),
    Kind(CRON, "modules::cron::CronModule"),
    Kind(QUEUE, "modules::queue::QueueModule"),
    Kind(STATE, "modules::state::StateModule"),
    Kind("telemetry", "modules::telemetry::TelemetryModule"),
    Kind("engine-functions", None),
    Kind("pubsub", "modules::pubsub::PubSubModule", "`publish` and the trigger type `subscribe` are not there"),
    Kind("stream", "modules::stream::StreamModule", "`stream::*` functions and the stream port are not there"),
    Kind(
        "observability",
        "modules::observability::OtelModule",
        "logs go to the engine's own log; traces, metrics, rollups and alerts are not kept",
    ),
    Kind("configuration", None, "`configuration::*` functions are not there, this file is the only source of settings"),
    Kind(
        "http-functions",
        "modules::http_functions::HttpFunctionsModule",
        "functions that are registered with a URL are not called",
    ),
    Kind("exec", "modules::shell::ExecModule", "its commands are NOT RUN; start them yourself"),
    Kind("bridge", "modules::bridge_client::BridgeClientModule", "nothing is forwarded to or from another engine"),
)

BY_NAME: Final = {name: kind for kind in KINDS for name in kind.names}

ACCEPTED_SILENTLY: Final = frozenset({"telemetry", "engine-functions"})
"""Nothing to set up: no telemetry is ever sent, and the engine's functions are always there."""

STATE_ADAPTERS: Final = {
    "kv": "kv",
    "redis": "redis",
    "bridge": "bridge",
    "modules::state::adapters::KvStore": "kv",
    "modules::state::adapters::RedisAdapter": "redis",
    "modules::state::adapters::Bridge": "bridge",
}
CRON_ADAPTERS: Final = {
    "kv": "kv",
    "redis": "redis",
    "modules::cron::KvCronAdapter": "kv",
    "modules::cron::RedisCronAdapter": "redis",
}
QUEUE_ADAPTERS: Final = {
    "builtin": "builtin",
    "redis": "redis",
    "rabbitmq": "rabbitmq",
    "bridge": "bridge",
    "modules::queue::BuiltinQueueAdapter": "builtin",
    "modules::queue::RedisAdapter": "redis",
    "modules::queue::RabbitMQAdapter": "rabbitmq",
    "modules::queue::adapters::Bridge": "bridge",
}
