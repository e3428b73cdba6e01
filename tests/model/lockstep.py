"""Drives two data planes through the same steps and compares everything they say.

What an engine makes up (worker ids, tokens, invocation ids) differs; each side's UUIDs get names (``«0»``, ``«1»`` ...)
in the order in which they first appear, and messages going in may use those names.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iii_fast.contracts import Call, Limits
from tests.model.harness import MSGPACK, CallTuple, Plane, as_msgpack

GIVEN_UUIDS = tuple(f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(4))
"""Ids that programs choose themselves: they mean the same on both sides."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAME = re.compile("«[0-9]+»")
_MSGPACK_INVOCATION = re.compile(
    MSGPACK + ".\xa4type\xaeinvokefunction\xadinvocation_id\xd9\\$(«[0-9]+»|[0-9a-f-]{36})"
)
_STOPPED = "invocation_stopped"


class Side:
    """One plane with its sessions by number and its made-up ids by name."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.sessions: list[int] = []
        self._names: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def expand(self, text: str) -> str:
        """Names to this side's ids."""
        return _NAME.sub(lambda match: self._ids.get(match[0], match[0]), text)

    def named(self, text: str) -> str:
        """This side's ids to names."""
        return _UUID.sub(self._name, text)

    def _name(self, match: re.Match[str]) -> str:
        found = match[0]
        if found in GIVEN_UUIDS:
            return found
        name = self._names.setdefault(found, f"«{len(self._names)}»")
        self._ids[name] = found
        return name

    def sent(self) -> list[list[str]]:
        """What all sessions were sent. Of invocations that stopped together the order is open."""
        return [self._in_order([self.named(text) for text in self.plane.sent(session)]) for session in self.sessions]

    def calls(self) -> list[CallTuple]:
        """What the control plane was told: changes last, for their order among other calls is open.

        So is the order of invocations that stopped together, and of sessions that ended together.
        """
        calls = [self._plain(call) for call in self.plane.calls()]
        others = [call for call in calls if call[0] != "changed"]
        if any(_STOPPED in repr(call) for call in others) or [call[0] for call in others].count("closed") > 1:
            others.sort(key=repr)
        return others + [call for call in calls if call[0] == "changed"]

    def _in_order(self, messages: list[str]) -> list[str]:
        return sorted(messages) if any(_STOPPED in message for message in messages) else messages

    def _plain(self, call: CallTuple) -> CallTuple:
        return tuple(self._plain_argument(argument) for argument in self._numbered(call))

    def _numbered(self, call: CallTuple) -> CallTuple:
        """Sessions by number."""
        kind, first, *rest = call
        if kind in ("message", "closed"):
            return (kind, self.sessions.index(first), *rest)
        if isinstance(first, Call):
            return (kind, dataclasses.replace(first, session=self.sessions.index(first.session)), *rest)
        return call

    def _plain_argument(self, argument: Any) -> Any:
        if isinstance(argument, bytes):
            return self.named(argument.decode()).encode()
        if isinstance(argument, str):
            return self.named(argument)
        if isinstance(argument, Call):
            fields = {field.name: getattr(argument, field.name) for field in dataclasses.fields(Call)}
            return Call(**{name: self._plain_argument(value) for name, value in fields.items()})
        return argument


@dataclass
class Said:
    """What came of one step."""

    sent: list[list[str]]
    calls: list[CallTuple]

    def __str__(self) -> str:
        lines = [f"  to {number}: {text}" for number, messages in enumerate(self.sent) for text in messages]
        return "\n".join([*lines, *(f"  up: {call}" for call in self.calls)]) or "  nothing"


@dataclass
class Lockstep:
    """Two planes, and what programs need to remember of what they said."""

    sides: tuple[Side, Side]
    greetings: list[tuple[str, str]] = field(default_factory=list)
    delivered: list[tuple[int, str, str]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, first: Callable[[Limits], Plane], second: Callable[[Limits], Plane], limits: Limits) -> Lockstep:
        """Two fresh planes."""
        return cls((Side(first(limits)), Side(second(limits))))

    @property
    def sessions(self) -> int:
        """How many have connected so far."""
        return len(self.sides[0].sessions)

    def connect(self) -> Said:
        """One more session, with the next number."""
        return self._both("connect", lambda side: side.sessions.append(side.plane.connect()))

    def receive(self, session: int, message: str | bytes, *, msgpack: bool = False) -> Said:
        """A message arrives; names in it stand for ids. ``msgpack``: turned into that where it can be."""

        def step(side: Side) -> None:
            expanded = side.expand(message) if isinstance(message, str) else message
            encoded = as_msgpack(expanded) if msgpack and isinstance(expanded, str) else expanded
            side.plane.receive(side.sessions[session], encoded)

        return self._both(f"from {session}{' in msgpack' if msgpack else ''}: {message!r}", step)

    def do(self, what: str, step: Callable[[Plane, Callable[[int], int], Callable[[str], str]], object]) -> Said:
        """Any other step: gets the plane, the plane's session of a number, and the expansion of names."""
        return self._both(what, lambda side: step(side.plane, side.sessions.__getitem__, side.expand))

    def _both(self, what: str, step: Callable[[Side], object]) -> Said:
        self.history.append(what)
        said = []
        for side in self.sides:
            step(side)
            said.append(Said(side.sent(), side.calls()))
        first, second = said
        if first != second:
            history = "\n".join(f"  {index}. {line}" for index, line in enumerate(self.history))
            raise AssertionError(f"planes differ\n{history}\nfirst said:\n{first}\nsecond said:\n{second}")
        self._remember(first)
        return first

    def _remember(self, said: Said) -> None:
        for number, messages in enumerate(said.sent):
            for text in messages:
                if text.startswith('{"type":"workerregistered"'):
                    greeting = json.loads(text)
                    self.greetings.append((greeting["worker_id"], greeting["reattach_token"]))
                elif text.startswith('{"type":"invokefunction"'):
                    invocation = json.loads(text)
                    self.delivered.append((number, invocation["invocation_id"], invocation["function_id"]))
                elif packed := _MSGPACK_INVOCATION.match(text):
                    self.delivered.append((number, packed[1], ""))
