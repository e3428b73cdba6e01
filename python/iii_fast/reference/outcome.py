"""Outcomes on their way to the caller: ``invocationresult`` in each of its forms. Mirrors ``rust/core/src/outcome.rs``.

Rules: docs/wire.md 10, 11, 23 and 28.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from iii_fast.contracts import Outcome
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference import codec_value as values
from iii_fast.reference.outbox import message_len
from iii_fast.reference.peer import Peer
from iii_fast.reference.transcode import InexpressibleError


@dataclass(frozen=True, slots=True)
class WorkerError:
    """A worker's error: an object with string ``code`` and ``message``."""

    text: str


Settlement: TypeAlias = str | WorkerError | WireError | None
"""What an invocation came to: a result, none, a worker's error or the engine's own."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The address of a reply: JSON texts of both ids. It comes in the codec that the peer spoke when this was made."""

    peer: Peer
    encode: Callable[[str], str | bytes]
    invocation_id: str
    function_id: str

    @classmethod
    def to(cls, peer: Peer, invocation_id: str, function_id: str) -> Reply:
        """In the codec of its last message."""
        return cls(peer, peer.encode, invocation_id, function_id)

    def send(self, settlement: Settlement, *, wrote: bool = False) -> None:
        """Sends what came of an invocation. ``wrote``: state has changed, which a refusal must not hide.

        A result or error of a worker that the receiver cannot take becomes an error. What the engine itself has to
        say, if only that there is no result, is sent however large it is: there is nothing smaller to say instead.
        """
        match settlement:
            case WireError():
                self.peer.outbox.send(self.encode(self._message(f',"error":{error_text(settlement)}')))
            case None:
                self.peer.outbox.send(self.encode(self._message("")))
            case WorkerError(text):
                self._send_bounded(f',"error":{text}', wrote=wrote)
            case str(text):
                self._send_bounded(f',"result":{text}', wrote=wrote)

    def _message(self, body: str) -> str:
        return (
            f'{{"type":"invocationresult","invocation_id":{self.invocation_id},"function_id":{self.function_id}{body}}}'
        )

    def _send_bounded(self, body: str, *, wrote: bool) -> None:
        try:
            message = self.encode(self._message(body))
        except InexpressibleError as error:
            self.send(not_expressible(error, wrote=wrote))
            return
        size, limit = message_len(message), self.peer.message_bytes_max
        if size <= limit:
            self.peer.outbox.send(message)
            return
        text = f"Result of {size} bytes exceeds what this connection can receive ({limit} bytes){_applied(wrote)}."
        self.send(WireError(Code.PAYLOAD_TOO_LARGE, text))


def not_expressible(error: InexpressibleError, *, wrote: bool) -> WireError:
    """What a result cannot be told with."""
    return WireError(Code.NOT_EXPRESSIBLE, f"{error}{_applied(wrote)}")


def _applied(wrote: bool) -> str:
    return "; the write was applied" if wrote else ""


def error_text(error: WireError) -> str:
    """An error as a JSON object."""
    stacktrace = "" if error.stacktrace is None else f',"stacktrace":{json_text.string_text(error.stacktrace)}'
    code, message = json_text.string_text(error.code), json_text.string_text(error.message)
    return f'{{"code":{code},"message":{message}{stacktrace}}}'


def complete_error(error: str) -> WorkerError:
    """A worker's error (not null) as callers may rely on it.

    Raises ``InexpressibleError`` when it has to be repaired, which is done in JSON, and JSON cannot express it.
    """
    strings = _strings(error)
    if "code" in strings and "message" in strings:
        return WorkerError(error)
    error = values.to_json(error, "error")
    if json_text.kind(error) != "object":
        return WorkerError(f'{{"code":"UNKNOWN","message":{json_text.string_text(error)}}}')
    strings = _strings(error)
    code, message = strings.get("code", '"UNKNOWN"'), strings.get("message", '""')
    stacktrace = f',"stacktrace":{strings["stacktrace"]}' if "stacktrace" in strings else ""
    return WorkerError(f'{{"code":{code},"message":{message}{stacktrace}}}')


def control_outcome(settlement: Settlement, *, wrote: bool = False) -> Outcome:
    """The same for the control plane, which reads JSON. ``wrote``: as in ``Reply.send``."""
    match settlement:
        case WorkerError(text):
            strings = {name: values.string(one) or "" for name, one in _strings(text).items()}
            return WireError(strings["code"], strings["message"], strings.get("stacktrace"))
        case str(text):
            try:
                return values.to_json(text, "result").encode()
            except InexpressibleError as error:
                return not_expressible(error, wrote=wrote)
        case _:
            return settlement


def _strings(error: str) -> dict[str, str]:
    """The members of an object that are strings; of duplicates the last. None of what is no object."""
    members = dict(values.members(error)) if values.kind(error) == "object" else {}
    return {name: text for name, text in members.items() if values.kind(text) == "string"}
