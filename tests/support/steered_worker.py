"""Workers on the published SDKs, each a small program in its own language that a test steers through pipes.

Commands (``do``): ``function`` (``id``, ``behaviour``: ``echo``, ``reply`` with ``value``, ``fail``, ``forward`` with
``to``), ``call`` (``function_id``, ``payload``, ``void``, ``queue``, ``metadata``, ``timeout_ms``), ``trigger``
(``type``, ``function_id``, ``config``, ``metadata``, ``handle``), ``untrigger`` (``handle``), ``trigger_type`` (``id``,
``refuse``), ``untrigger_type`` (``id``). The answer is ``{"n", "ok"}`` or ``{"n", "error": {"code", "message"}}``.
Events: ``ready``; ``delivered`` for every invocation of a function; ``bound`` and ``unbound`` for every trigger of a
provided type. Lines without a leading ``@`` are the SDK's own talk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self

from tests.support.deadlines import ANSWER_S, START_S
from tests.support.line_process import LineProcess


class CallFailed(Exception):  # noqa: N818 - an outcome that tests expect, not a fault of the test
    """The SDK reported an error; ``code`` and ``message`` are the wire's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class SteeredWorker:
    """One SDK worker process connected to the engine at ``url``."""

    def __init__(self, command: Sequence[str], url: str, env: Mapping[str, str] | None = None) -> None:
        self._numbers = count()
        self.process = LineProcess(command, {"III_URL": url, **(env or {})})
        try:
            self.expect("ready", timeout_s=START_S)
        except BaseException:
            self.process.stop()
            raise

    def tell(self, do: str, **fields: Any) -> Callable[[float], Any]:
        """Sends a command without waiting; the returned function waits for its answer (seconds) and gives its value."""
        number = next(self._numbers)
        start = len(self.process.lines)
        self.process.write_line(json.dumps({"n": number, "do": do, **fields}))

        def answer(timeout_s: float) -> Any:
            line = self.process.wait_for(lambda line: (_parsed(line) or {}).get("n") == number, timeout_s, start)
            outcome = _parsed(line) or {}
            if "error" in outcome:
                raise CallFailed(outcome["error"]["code"], outcome["error"]["message"])
            return outcome["ok"]

        return answer

    def do(self, do: str, **fields: Any) -> Any:
        """Sends a command and returns the value of its answer. Raises ``CallFailed``."""
        return self.tell(do, **fields)(ANSWER_S)

    def call(self, function_id: str, payload: Any = None, **fields: Any) -> Any:
        """Invokes a function through the SDK. Raises ``CallFailed``."""
        return self.do("call", function_id=function_id, payload=payload, **fields)

    def taken_in(self) -> None:
        """Returns when the engine has processed all that the worker sent before: it answers in order."""
        self.call("engine::health::check", {})

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """All events so far of this name whose members equal ``fields``."""
        parsed = (_parsed(line) for line in list(self.process.lines))
        return [event for event in parsed if event is not None and _is(event, name, fields)]

    def expect(self, name: str, *, timeout_s: float = ANSWER_S, **fields: Any) -> dict[str, Any]:
        """The first event of this name whose members equal ``fields``; waits for it."""
        return _parsed(self.process.wait_for(lambda line: _is(_parsed(line), name, fields), timeout_s)) or {}

    def leave(self) -> int:
        """Has the worker shut its SDK down and end by itself; its exit status."""
        assert self.process.process.stdin is not None
        self.process.process.stdin.close()
        return self.process.wait(ANSWER_S)

    def stop(self) -> None:
        """Ends the process at once."""
        self.process.process.kill()
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _parsed(line: str) -> dict[str, Any] | None:
    parsed: dict[str, Any] | None = json.loads(line[1:]) if line.startswith("@") else None
    return parsed


def _is(event: dict[str, Any] | None, name: str, fields: dict[str, Any]) -> bool:
    return event is not None and event.get("event") == name and all(event.get(k) == v for k, v in fields.items())
