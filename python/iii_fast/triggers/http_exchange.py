"""HTTP and JSON, there and back: the request object that a function receives, the response that its result means."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from iii_fast.errors import WireError
from iii_fast.http_message import Headers, HttpRequest, HttpResponse
from iii_fast.jsontext import JsonTextError, build, check, decode, encode, kind, members, quote

logger = logging.getLogger(__name__)

JSON_TYPE: Final = "application/json"
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE_BAD: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NO_CHANNEL: Final = b"{}"
"""Where a channel end will be. The SDKs' ``http()`` wrappers need the member; handlers that do not stream work."""


class RequestObject:
    """What functions are told about a request, in the three forms that they see."""

    def __init__(self, request: HttpRequest, api_path: str, method: str, parameters: dict[str, str]) -> None:
        self._facts = [
            ("method", quote(request.method)),
            ("path_params", encode(parameters)),
            ("query_params", encode(dict(parse_qsl(request.query, keep_blank_values=True)))),
            ("headers", encode(_joined(request.headers))),
        ]
        trigger = encode({"type": "http", "method": method, "path": api_path})
        self._rest = [("path", quote(api_path)), ("body", json_body(request)), ("trigger", trigger)]

    def for_handler(self) -> bytes:
        """The whole request object."""
        channels = [("request_body", _NO_CHANNEL), ("response", _NO_CHANNEL)]
        return build([*self._facts, *self._rest, *channels])

    def for_condition(self) -> bytes:
        """Without the channels."""
        return build([*self._facts, *self._rest])

    def for_middleware(self) -> bytes:
        """The input of a route middleware before the handler."""
        return build([("phase", b'"preHandler"'), ("request", build(self._facts)), ("context", b"{}")])


def json_body(request: HttpRequest) -> bytes:
    """The body as JSON text when its content type says so, else ``null``. Raises ``JsonTextError`` when it is none."""
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if not (content_type == JSON_TYPE or content_type.endswith("+json")) or not request.body.strip():
        return b"null"
    check(request.body)
    return request.body


def _joined(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        if name in joined:
            value = joined[name] + ("; " if name == "cookie" else ", ") + value
        joined[name] = value
    return joined


def response_of(result: bytes | None) -> HttpResponse:
    """What a handler's result means: a response object, or any other value as the JSON body.

    A response object has ``status_code``, ``headers`` or ``body``. No result is 204.
    """
    if result is None or kind(result) == "null":
        return HttpResponse(204)
    fields = dict(members(result) or ())
    if not fields.keys() & {"status_code", "headers", "body"}:
        return HttpResponse(200, [("content-type", JSON_TYPE)], result)
    status = _status(decode(fields.get("status_code", b"null")))
    headers = list(_headers(decode(fields.get("headers", b"null"))))
    body = fields.get("body", b"{}")
    content_type = next((value for name, value in headers if name == "content-type"), None)
    if content_type is None:
        headers.append(("content-type", JSON_TYPE))
    elif kind(body) == "string":
        body = decode(body).encode()
    elif kind(body) == "null":
        body = b""
    return HttpResponse(status, headers, body)


def _status(value: Any) -> int:
    valid = (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1 and 200 <= value <= 999
    )
    return int(value) if valid else 200


def _headers(value: Any) -> Iterator[tuple[str, str]]:
    """The handler's headers that HTTP allows; a wrong one is left out rather than let it break up the response."""
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        lines = [item.partition(":") for item in value if isinstance(item, str)]
        pairs = [(name.strip(), text if colon else None) for name, colon, text in lines]
    for name, text in pairs:
        if isinstance(text, str) and _NAME.fullmatch(name) and not _VALUE_BAD.search(text):
            # The server writes latin-1, so this puts the UTF-8 bytes of the text on the wire.
            yield name.lower(), text.strip().encode().decode("latin-1")
        else:
            logger.warning("A handler's response header %r is left out: it is no valid header", name)


def envelope(status: int, code: str, message: str, headers: Headers | None = None) -> HttpResponse:
    """An error as the client sees it; those from 500 on carry an ``error_id`` that is also in the log."""
    error = {"code": code, "message": message}
    if status >= 500:
        error["error_id"] = uuid.uuid4().hex[:12]
        logger.warning("HTTP %d %s: %s (error_id %s)", status, code, message, error["error_id"])
    return HttpResponse(status, [("content-type", JSON_TYPE), *(headers or ())], encode({"error": error}))


def failure(error: WireError) -> HttpResponse:
    """A function that failed."""
    return envelope(500, error.code, error.message)


def invalid_json(error: JsonTextError) -> HttpResponse:
    """A request body that says it is JSON and is not."""
    return envelope(400, "INVALID_JSON", f"The request body is not JSON: {error}")


def condition_not_met() -> HttpResponse:
    """The trigger's condition said no."""
    error = {"code": "CONDITION_NOT_MET", "message": "Request condition not met"}
    return HttpResponse(422, [("content-type", JSON_TYPE)], encode({"error": error, "skipped": True}))
