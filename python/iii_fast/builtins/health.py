"""``engine::health::check``: whether the engine lives, its counters, and whether state can still be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Backend, Call, Clock, StorageStats
from iii_fast.jsontext import encode


def functions(backend: Backend, clock: Clock, version: str, waiting: Callable[[], int]) -> dict[str, Function]:
    """Function ids and what answers them; ``waiting`` counts the engine's own invocations."""

    def check(call: Call) -> bytes:
        Fields(call)
        stats = backend.stats()
        components: dict[str, dict[str, Any]] = {
            "workers": {"connections": stats.connections},
            "invocations": {"in_flight": stats.invocations_in_flight, "of_triggers": waiting()},
            "messages": {"received": stats.messages_in, "ignored": stats.messages_ignored},
            "otel": {"frames": stats.telemetry_frames, "bytes": stats.telemetry_bytes},
            "state": _state(stats.storage),
        }
        sick = {"state"} if stats.storage.failure is not None else set()
        return encode(
            {
                "status": _status(bool(sick)),
                "components": {
                    name: {"status": _status(name in sick), "details": details} for name, details in components.items()
                },
                "timestamp": int(clock.now() * 1000),
                "version": version,
                "backend": backend.name,
            }
        )

    return {"engine::health::check": check}


def _status(sick: bool) -> str:
    return "unhealthy" if sick else "healthy"


def _state(storage: StorageStats) -> dict[str, Any]:
    """Where state is and how far its writes have come; failures only when there are any."""
    details = {name: value for name, value in asdict(storage).items() if value is not None or name == "sync"}
    if storage.redis is not None:
        # Positions and sizes are Redis' own.
        failure = {} if storage.failure is None else {"failure": storage.failure}
        return {"kind": storage.kind, **asdict(storage.redis), **failure}
    return details
