"""A worker on a published Python SDK that a test steers.

Commands come as JSON lines on stdin, answers and events go as JSON lines with an ``@`` in front to stdout.
``tests/support/steered_worker.py`` describes both; the Node and Rust programs do the same.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from iii import TriggerAction, register_worker
from iii.triggers import TriggerHandler

warnings.simplefilter("ignore", DeprecationWarning)  # 0.25 deprecates the trigger calls that workers in the field use
stdout_lock = threading.Lock()


def tell(message: dict[str, Any]) -> None:
    """Writes one line, whole: handlers run on several threads."""
    with stdout_lock:
        sys.stdout.write("@" + json.dumps(message) + "\n")
        sys.stdout.flush()


class Provider(TriggerHandler[Any]):
    """A trigger type whose bindings the test sees; with ``refuse`` every binding is turned down."""

    def __init__(self, type_id: str, refuse: bool) -> None:
        self.type_id = type_id
        self.refuse = refuse

    async def register_trigger(self, config: Any) -> None:
        self._tell("bound", config)
        if self.refuse:
            raise RuntimeError("refused")

    async def unregister_trigger(self, config: Any) -> None:
        self._tell("unbound", config)

    def _tell(self, event: str, config: Any) -> None:
        metadata = getattr(config, "metadata", None)
        fields = {"id": config.id, "function_id": config.function_id, "config": config.config, "metadata": metadata}
        tell({"event": event, "trigger_type": self.type_id, **fields})


class Worker:
    """Obeys commands through one SDK client."""

    def __init__(self, url: str) -> None:
        self.iii = register_worker(url)
        self.triggers: dict[str, Any] = {}

    def function(self, command: dict[str, Any]) -> None:
        async def handler(data: Any, metadata: Any = None) -> Any:
            shown = _without_channels(data)
            tell({"event": "delivered", "function_id": command["id"], "data": shown, "metadata": metadata})
            return await self._behave(command, data)

        self.iii.register_function(command["id"], handler)

    async def _behave(self, command: dict[str, Any], data: Any) -> Any:
        match command["behaviour"]:
            case "echo":
                return data
            case "reply":
                return command["value"]
            case "fail":
                raise RuntimeError("boom")
            case "forward":
                data["trace"].append("python")
                return await self.iii.trigger_async({"function_id": command["to"], "payload": data})
        raise ValueError(command["behaviour"])

    def call(self, command: dict[str, Any]) -> Any:
        request = {
            name: command[name] for name in ("function_id", "payload", "metadata", "timeout_ms") if name in command
        }
        if command.get("void"):
            request["action"] = TriggerAction.Void()
        if "queue" in command:
            request["action"] = TriggerAction.Enqueue(queue=command["queue"])
        return self.iii.trigger(request)

    def trigger(self, command: dict[str, Any]) -> None:
        request = {name: command[name] for name in ("type", "function_id", "config", "metadata") if name in command}
        self.triggers[command["handle"]] = self.iii.register_trigger(request)

    def untrigger(self, command: dict[str, Any]) -> None:
        self.triggers.pop(command["handle"]).unregister()

    def trigger_type(self, command: dict[str, Any]) -> None:
        provider = Provider(command["id"], command.get("refuse", False))
        self.iii.register_trigger_type({"id": command["id"], "description": "of a test"}, provider)

    def untrigger_type(self, command: dict[str, Any]) -> None:
        self.iii.unregister_trigger_type({"id": command["id"], "description": "of a test"})

    def obey(self, command: dict[str, Any]) -> None:
        """Carries out one command and tells its outcome."""
        try:
            value = getattr(self, command["do"])(command)
            tell({"n": command["n"], "ok": value if not hasattr(value, "model_dump") else value.model_dump()})
        except Exception as error:
            code = getattr(error, "code", "SDK")
            tell({"n": command["n"], "error": {"code": code, "message": getattr(error, "message", str(error))}})


def _without_channels(data: Any) -> Any:
    """The SDK turns channel references of an http request into streams, which are not data."""
    if isinstance(data, dict) and isinstance(data.get("trigger"), dict) and data["trigger"].get("type") == "http":
        return {name: value for name, value in data.items() if name not in ("request_body", "response")}
    return data


def main() -> None:
    worker = Worker(os.environ["III_URL"])
    with ThreadPoolExecutor(16) as callers:
        tell({"event": "ready"})
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "call":
                callers.submit(worker.obey, command)
            else:
                worker.obey(command)
    worker.iii.shutdown()


if __name__ == "__main__":
    main()
