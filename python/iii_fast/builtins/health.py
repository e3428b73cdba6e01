"""``engine::health::check``: whether the engine lives, and its counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Backend, Call, Clock
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
        }
        return encode(
            {
                "status": "healthy",
                "components": {name: {"status": "healthy", "details": details} for name, details in components.items()},
                "timestamp": int(clock.now() * 1000),
                "version": version,
                "backend": backend.name,
            }
        )

    return {"engine::health::check": check}
