"""The envelope of one wire message: members as text (``codec_value``). Mirrors ``rust/core/src/message.rs``.

Rules: docs/wire.md 4 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from iii_fast.errors import WireError
from iii_fast.protocol import DEFAULT_NAMESPACE, Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference import codec_msgpack
from iii_fast.reference import codec_value as values

_ARTICLES: Final[dict[values.Kind, str]] = {
    "null": "null",
    "boolean": "a boolean",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "binary": "binary",
    "extension": "an extension",
}
_ACTION_TYPES: Final = '"void" or "enqueue"'
_UNICODE_WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""The property White_Space; ``str.strip()`` takes a few control characters as well."""


class Envelope(dict[str, str]):
    """The members of a message by name; of duplicates the last."""

    def string(self, name: str) -> str | None:
        """A member's string, unescaped; ``None`` when it is absent or something else."""
        text = self.string_text(name)
        return None if text is None else values.string(text)

    def string_text(self, name: str) -> str | None:
        """A member that is a string."""
        text = self.get(name)
        return text if text is not None and values.kind(text) == "string" else None

    def string_json(self, name: str) -> str | None:
        """The JSON text of a member that is a string."""
        text = self.string_text(name)
        return None if text is None else values.to_json(text)

    def non_null(self, name: str) -> str | None:
        """A member that is neither absent nor null."""
        text = self.get(name)
        return None if text is None or values.kind(text) == "null" else text

    @property
    def data(self) -> str:
        """The payload; null when absent."""
        return self.get("data", "null")


@dataclass(frozen=True, slots=True)
class Action:
    """How a function is to be invoked. ``queue`` is set for ``enqueue``."""

    kind: Literal["wait", "void", "enqueue"]
    queue: str | None = None


def read_envelope(message: str | bytes) -> Envelope | None:
    """Reads and validates a message of text, or of bytes that begin with a msgpack map.

    ``None`` when it is JSON but no object. Raises ``JsonError`` and ``MsgpackError``.
    """
    if isinstance(message, bytes):
        codec_msgpack.validate(message)
        return Envelope(values.members(values.packed(message)))
    json_text.validate(message)
    text = message.lstrip(" \t\n\r")
    return Envelope(json_text.members(text)) if json_text.kind(text) == "object" else None


def read_unusable(message: bytes) -> Envelope:
    """What of a refused msgpack message tells who is to hear of it: strings, and the ``type`` of ``action``."""
    members = codec_msgpack.read_lenient(message) or {}
    action = members.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    strings = {name: json_text.string_text(text) for name, text in members.items() if isinstance(text, str)}
    if isinstance(kind, str):
        strings["action"] = f'{{"type":{json_text.string_text(kind)}}}'
    return Envelope(strings)


def read_action(envelope: Envelope) -> Action:
    """The action. Raises ``WireError`` (``invalid_message``)."""
    text = envelope.non_null("action")
    if text is None:
        return Action("wait")
    if values.kind(text) != "object":
        raise _wrong_type("action", text, "an object")
    action = Envelope(values.members(text))
    if "type" not in action:
        raise _invalid(f"field `action.type` is missing, expected {_ACTION_TYPES}")
    match action.string("type"):
        case "void":
            return Action("void")
        case "enqueue":
            return Action("enqueue", _required(action, "queue", "action.queue"))
        case None:
            raise _wrong_type("action.type", action["type"], _ACTION_TYPES)
        case _:
            raise _invalid(f"field `action.type` is {values.shown(action['type'])}, expected {_ACTION_TYPES}")


def read_function_id(envelope: Envelope) -> str:
    """The function to invoke. Raises ``WireError`` (``invalid_message``)."""
    return _required(envelope, "function_id", "function_id")


def read_namespace(envelope: Envelope) -> str:
    """The namespace a call names. Raises ``WireError``."""
    text = envelope.non_null("namespace")
    if text is None:
        return DEFAULT_NAMESPACE
    namespace = values.string(text)
    if namespace is None:
        raise _wrong_type("namespace", text, "a string")
    if not namespace.strip(_UNICODE_WHITE_SPACE):
        raise WireError(
            Code.INVALID_NAMESPACE,
            "`namespace` is empty: it was named and left blank. Give it a name, or omit it to use `default`.",
        )
    return namespace


def _required(fields: Envelope, name: str, shown: str) -> str:
    text = fields.string(name)
    if text is not None:
        return text
    if name not in fields:
        raise _invalid(f"field `{shown}` is missing, expected a string")
    raise _wrong_type(shown, fields[name], "a string")


def _wrong_type(field: str, text: str, expected: str) -> WireError:
    return _invalid(f"field `{field}` is {_ARTICLES[values.kind(text)]}, expected {expected}")


def _invalid(detail: str) -> WireError:
    return WireError(Code.INVALID_MESSAGE, f"Invalid invokefunction: {detail}")
