"""The exceptions of the control plane.

By whose fault it is: the peer's (``WireError``: becomes an error body, never ends a loop), the user's
configuration (``ConfigError``: ends start-up with file and line), that of the files of state (``StorageError``) and the
installation's (``BackendMissingError``). Anything else is our own bug and is logged as such.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(slots=True)
class WireError(Exception):
    """An error a peer is told about: ``error`` of an ``invocationresult`` or ``triggerregistrationresult``.

    ``code`` is one of ``protocol.Code`` or whatever a worker chose; ``stacktrace`` is passed through from workers.
    """

    code: str
    message: str
    stacktrace: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def worker_error(error: bytes) -> WireError:
    """The error object of a worker (JSON text with string ``code`` and ``message``, as both backends complete it)."""
    fields = json.loads(error)
    stacktrace = fields.get("stacktrace")
    return WireError(fields["code"], fields["message"], stacktrace if isinstance(stacktrace, str) else None)


class ConfigError(Exception):
    """A configuration file or option that cannot be used; the text names file, line, key, value and expectation."""


class StorageError(Exception):
    """Files of state that cannot be used: in use, not writable, damaged. The text names file, offset and next step."""


class BackendMissingError(Exception):
    """The backend that was asked for is not installed; the text tells the next step."""
