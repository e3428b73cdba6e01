"""What a client is told when its request cannot be served. Mirrors ``rust/core/src/http/refusal.rs``."""

from __future__ import annotations

import uuid
from typing import Final

from iii_fast.jsontext import encode

_CODES: Final = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
    500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED",
    503: "UNAVAILABLE",
    504: "TIMEOUT",
    505: "HTTP_VERSION_NOT_SUPPORTED",
}


class Refusal(Exception):  # noqa: N818 - an outcome, answered with a status
    """The request is answered with ``status`` and an error envelope."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES.get(status, "BAD_REQUEST")

    def envelope(self) -> tuple[bytes, str | None]:
        """The body, and the id that names an error from 500 on in the log as well."""
        error = {"code": self.code, "message": self.message}
        error_id = uuid.uuid4().hex[:12] if self.status >= 500 else None
        if error_id is not None:
            error["error_id"] = error_id
        return encode({"error": error}), error_id
