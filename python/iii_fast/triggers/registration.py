"""The messages of triggers and trigger types: read with their rules, written as workers need them. Touches no state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from iii_fast.contracts import SessionId
from iii_fast.errors import WireError
from iii_fast.jsontext import build, encode, is_null, kind, members, quote
from iii_fast.protocol import DEFAULT_NAMESPACE, Code, Kind


class TypeKey(NamedTuple):
    """Where a trigger type is found."""

    namespace: str
    id: str


@dataclass(frozen=True, slots=True)
class Registration:
    """One ``registertrigger`` of a worker. ``config`` and ``metadata`` are JSON texts as they came."""

    id: str
    session: SessionId
    type: TypeKey
    function_id: str
    namespace: str
    config: bytes
    metadata: bytes | None

    def to_provider(self) -> bytes:
        """The ``registertrigger`` that a worker-provided type receives; ``config`` is always there (Rust needs it)."""
        parts = [
            ("type", quote(Kind.REGISTER_TRIGGER)),
            ("id", quote(self.id)),
            ("trigger_type", quote(self.type.id)),
            ("function_id", quote(self.function_id)),
            ("config", self.config),
        ]
        if self.metadata is not None:
            parts.append(("metadata", self.metadata))
        if self.namespace != DEFAULT_NAMESPACE:
            parts.append(("namespace", quote(self.namespace)))
        if self.type.namespace != DEFAULT_NAMESPACE:
            parts.append(("trigger_namespace", quote(self.type.namespace)))
        return build(parts)

    def withdrawal(self) -> bytes:
        """The ``unregistertrigger`` for its provider; ``trigger_type`` is always there (Rust needs it)."""
        return encode({"type": Kind.UNREGISTER_TRIGGER, "id": self.id, "trigger_type": self.type.id})

    def refusal(self, error: bytes) -> bytes:
        """The ``triggerregistrationresult`` that tells the registrant; ``error`` is a JSON object."""
        return refusal(self.id, self.type.id, self.function_id, error)


def refusal(trigger_id: str, trigger_type: str, function_id: str, error: bytes) -> bytes:
    """A ``triggerregistrationresult`` with an error."""
    return build(
        [
            ("type", quote(Kind.TRIGGER_REGISTRATION_RESULT)),
            ("id", quote(trigger_id)),
            ("trigger_type", quote(trigger_type)),
            ("function_id", quote(function_id)),
            ("error", error),
        ]
    )


def error_text(error: WireError) -> bytes:
    """An error as the JSON object it is on the wire."""
    body = {"code": error.code, "message": error.message}
    if error.stacktrace is not None:
        body["stacktrace"] = error.stacktrace
    return encode(body)


def complete_error(error: bytes) -> bytes:
    """An error body of a worker with its gaps filled (docs/wire.md, 10)."""
    found = members(error)
    if found is None:
        return encode({"code": Code.UNKNOWN, "message": error.decode()})
    fields = dict(found)
    if all(kind(fields.get(name, b"null")) == "string" for name in ("code", "message")):
        return error
    body = [("code", _string_or(fields.get("code"), Code.UNKNOWN)), ("message", _string_or(fields.get("message"), ""))]
    if kind(fields.get("stacktrace", b"null")) == "string":
        body.append(("stacktrace", fields["stacktrace"]))
    return build(body)


def _string_or(text: bytes | None, default: str) -> bytes:
    return text if text is not None and kind(text) == "string" else quote(default)


class Message:
    """A registration message, member by member; of duplicate members the last one counts."""

    def __init__(self, kind_of_message: str, message: bytes) -> None:
        self._kind = kind_of_message
        self._members = dict(members(message) or ())

    def raw(self, name: str) -> bytes | None:
        """The JSON text of a member; ``None`` when it is absent or null."""
        text = self._members.get(name)
        return None if is_null(text) else text

    def readable(self, name: str) -> str:
        """A member if it is a string, else ``""``."""
        value = self._value(name)
        return value if isinstance(value, str) else ""

    def string(self, name: str) -> str:
        """A required member that is a string and not empty. Raises ``WireError``."""
        text = self._members.get(name)
        if text is None:
            raise self._wrong(name, "is missing")
        value = self._value(name)
        if not isinstance(value, str):
            raise self._wrong(name, f"is {_article(kind(text))}")
        if not value:
            raise self._wrong(name, "is empty")
        return value

    def namespace(self, name: str) -> str:
        """A namespace; absent, null and ``default`` are equal. Raises ``WireError`` (``INVALID_NAMESPACE``)."""
        text = self.raw(name)
        if text is None:
            return DEFAULT_NAMESPACE
        value = self._value(name)
        if not isinstance(value, str):
            raise self._wrong(name, f"is {_article(kind(text))}")
        if not value.strip():
            raise WireError(
                Code.INVALID_NAMESPACE,
                f"`{name}` is empty: it was named and left blank. Give it a name, or omit it to use `default`.",
            )
        return value

    def _value(self, name: str) -> Any:
        text = self._members.get(name)
        return json.loads(text) if text is not None and kind(text) == "string" else None

    def _wrong(self, name: str, what: str) -> WireError:
        text = f"Invalid {self._kind}: field `{name}` {what}, expected a string"
        return WireError(Code.TRIGGER_REGISTRATION_FAILED, text)


def _article(kind_of_value: str) -> str:
    if kind_of_value == "null":
        return "null"
    return f"an {kind_of_value}" if kind_of_value[0] in "ao" else f"a {kind_of_value}"


def read_registration(session: SessionId, message: Message) -> Registration:
    """A ``registertrigger`` of a worker. A missing ``config`` is null. Raises ``WireError``."""
    trigger_id = message.string("id")
    namespace = message.namespace("namespace")
    type_namespace = message.namespace("trigger_namespace")
    return Registration(
        trigger_id,
        session,
        TypeKey(type_namespace, message.string("trigger_type")),
        message.string("function_id"),
        namespace,
        message.raw("config") or b"null",
        message.raw("metadata"),
    )
