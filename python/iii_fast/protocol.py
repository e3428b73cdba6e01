"""Names of the wire: message types, error codes and texts, in one place for both backends.

``tests/test_house_rules.py`` compares the codes with the list that the Rust core exports.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

DEFAULT_NAMESPACE: Final = "default"

JSON_DEPTH_MAX: Final = 120
"""Nested arrays and objects in one message. Rust workers parse 127; the engine wraps a value in up to 4 more."""

FEATURE_LARGE_MESSAGES: Final = "large-messages.v1"
SMALL_PEER_MESSAGE_BYTES_MAX: Final = 1 << 20
"""What a Python worker without ``large-messages.v1`` can receive (the default of its WebSocket library)."""

HTTP_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""What is served over http; a route may have another method, and is never found."""


class Kind(StrEnum):
    """``type`` of a wire message."""

    WORKER_REGISTERED = "workerregistered"
    REGISTER_FUNCTION = "registerfunction"
    UNREGISTER_FUNCTION = "unregisterfunction"
    REGISTER_TRIGGER_TYPE = "registertriggertype"
    UNREGISTER_TRIGGER_TYPE = "unregistertriggertype"
    REGISTER_TRIGGER = "registertrigger"
    UNREGISTER_TRIGGER = "unregistertrigger"
    TRIGGER_REGISTRATION_RESULT = "triggerregistrationresult"
    REGISTRATION_REJECTED = "registrationrejected"
    INVOKE_FUNCTION = "invokefunction"
    INVOCATION_RESULT = "invocationresult"
    REGISTER_SERVICE = "registerservice"
    REATTACH = "reattach"
    PING = "ping"
    PONG = "pong"


CONTROL_KINDS: Final = frozenset(
    {
        Kind.REGISTER_TRIGGER_TYPE,
        Kind.UNREGISTER_TRIGGER_TYPE,
        Kind.REGISTER_TRIGGER,
        Kind.UNREGISTER_TRIGGER,
        Kind.TRIGGER_REGISTRATION_RESULT,
    }
)
"""Messages that the data plane passes up unchanged (``Control.message``)."""


class Code(StrEnum):
    """``error.code`` values that the engine itself produces."""

    FUNCTION_NOT_FOUND = "function_not_found"
    INVOCATION_STOPPED = "invocation_stopped"
    INVALID_MESSAGE = "invalid_message"
    INVALID_NAMESPACE = "INVALID_NAMESPACE"
    DUPLICATE_INVOCATION_ID = "duplicate_invocation_id"
    TOO_MANY_INVOCATIONS = "too_many_invocations"
    WORKER_OVERLOADED = "worker_overloaded"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    DESERIALIZATION_ERROR = "deserialization_error"
    VALUE_TOO_LARGE = "VALUE_TOO_LARGE"
    KEY_TOO_LARGE = "KEY_TOO_LARGE"
    SCOPE_FULL = "SCOPE_FULL"
    STATE_FULL = "STATE_FULL"
    INVALID_CURSOR = "INVALID_CURSOR"
    ROW_TOO_LARGE = "ROW_TOO_LARGE"
    DURABILITY_UNAVAILABLE = "DURABILITY_UNAVAILABLE"
    STORAGE_FAILED = "STORAGE_FAILED"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    HISTORY_LOST = "HISTORY_LOST"
    ENQUEUE_ERROR = "enqueue_error"
    TOPIC_NOT_SET = "topic_not_set"
    NOT_FOUND = "NOT_FOUND"
    NOT_EXPRESSIBLE = "not_expressible"
    TRIGGER_REGISTRATION_FAILED = "trigger_registration_failed"
    FUNCTION_NAMESPACE_CONFLICT = "FUNCTION_NAMESPACE_CONFLICT"
    NOT_SUPPORTED = "not_supported"
    TIMEOUT = "TIMEOUT"
    TOO_MANY_WATCHES = "TOO_MANY_WATCHES"
    INTERNAL_ERROR = "internal_error"
    UNKNOWN = "UNKNOWN"


TELEMETRY_PREFIXES: Final = (b"OTLP", b"MTRC", b"LOGS")

CAPABILITIES_HEADER: Final = ("x-iii-capabilities", "tcp-nodelay")


def function_not_found(function_id: str, namespace: str = DEFAULT_NAMESPACE) -> str:
    """The text that goes with ``function_not_found``."""
    return f"Function {function_id} not found in namespace {namespace}."
