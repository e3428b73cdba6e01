"""Responses as bytes: what a function's result means. Mirrors ``rust/core/src/http/response.rs``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

from iii_fast.contracts import Answered, Cors, HttpAnswer
from iii_fast.jsontext import decode, elements, kind, members
from iii_fast.reference.http_cors import allow_origin
from iii_fast.reference.http_refusal import Refusal

log = logging.getLogger("iii_fast.reference.http")

JSON_TYPE: Final = ("content-type", b"application/json")
_ANY_HEADER: Final = b"*, authorization"
"""Every header of a request; the asterisk alone leaves out the one (Fetch standard, section 4.10)."""
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE_BAD: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SERVER_OWNED: Final = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
    }
)
"""Headers that belong to the connection, not to the function."""
_BODILESS: Final = frozenset({204, 205, 304})
_UNMEASURED: Final = frozenset({204, 304})
"""Statuses without a body, and those of them that do not say how long it is."""

REASONS: Final = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    425: "Too Early",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
    511: "Network Authentication Required",
}
"""The phrases of RFC 9110 and its kin; other numbers have none."""


@dataclass(frozen=True, slots=True)
class Response:
    """Header names are in lower case."""

    status: int
    headers: list[tuple[str, bytes]]
    body: bytes = b""

    def text(self, for_pages: Sequence[tuple[str, bytes]], *, is_head: bool, closes: bool, unix_s: float) -> bytes:
        """The bytes of the response. Headers ``for_pages`` yield to those of the function."""
        own = {name for name, _ in self.headers}
        headers = [*self.headers, *((name, value) for name, value in for_pages if name == "vary" or name not in own)]
        headers.append(("date", formatdate(unix_s, usegmt=True).encode()))
        body = b"" if self.status in _BODILESS else self.body
        if self.status not in _UNMEASURED:
            headers.append(("content-length", b"%d" % len(body)))
        if closes:
            headers.append(("connection", b"close"))
        lines = [b"HTTP/1.1 %d %s" % (self.status, REASONS.get(self.status, "").encode())]
        lines += [name.encode() + b": " + value for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if is_head else body)


def of_answer(answer: HttpAnswer) -> Response:
    """What the control plane answers, or a function returned."""
    if isinstance(answer, Answered):
        return _of_result(answer.result, is_document=answer.document)
    return refused(Refusal(answer.status, answer.message, answer.code))


def _of_result(result: bytes | None, *, is_document: bool) -> Response:
    """A response object, or any other value as the JSON body; no result is 204."""
    if result is None or (kind(result) == "null" and not is_document):
        return Response(204, [])
    fields = dict(members(result) or ())
    if not fields.keys() & {"status_code", "headers", "body"} and not is_document:
        return Response(200, [JSON_TYPE], result.strip(b" \t\n\r"))
    status = _status(decode(fields.get("status_code", b"null")))
    headers = list(_headers(fields.get("headers", b"null")))
    body = fields.get("body", b"{}")
    if not any(name == "content-type" for name, _ in headers):
        headers.append(JSON_TYPE)
    elif kind(body) == "string" and not is_document:
        body = decode(body).encode()
    elif kind(body) == "null" and not is_document:
        body = b""
    return Response(status, headers, body)


def _status(value: Any) -> int:
    """A whole number from 200 to 999, else 200."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 200 <= value <= 999 and value == value // 1 else 200


def _headers(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The function's headers that HTTP allows; a wrong one is left out rather than let it break up the response."""
    pairs: list[tuple[str, Any]] = [(name, decode(value)) for name, value in members(raw) or ()]
    for line in map(decode, elements(raw) or ()):
        if isinstance(line, str):
            name, colon, text = line.partition(":")
            pairs.append((name.strip(" \t"), text if colon else None))
    for name, text in pairs:
        if not isinstance(text, str) or not _NAME.fullmatch(name) or _VALUE_BAD.search(text):
            log.warning("A handler's response header %r is left out: it is no valid header", name)
        elif name.lower() not in _SERVER_OWNED:
            yield name.lower(), text.strip(" \t").encode()


def refused(refusal: Refusal, allow: Sequence[str] = ()) -> Response:
    """An error as the client sees it; those from 500 on are in the log as well, by their id."""
    body, error_id = refusal.envelope()
    if error_id is not None:
        text = "HTTP %d %s: %s (error_id %s)"
        log.warning(text, refusal.status, refusal.code, refusal.message, error_id)
    return Response(refusal.status, [JSON_TYPE, *_allow(allow)], body)


def options(allow: Sequence[str]) -> Response:
    """The answer to an OPTIONS request that no function serves."""
    return Response(200, _allow(allow))


def preflight(cors: Cors, origin: bytes | None) -> Response:
    """The answer to a browser that asks whether a page may send a request."""
    if allow_origin(cors, origin) is None:
        return Response(200, [])
    methods = b"*" if cors.methods is None else ", ".join(cors.methods).encode()
    return Response(200, [("access-control-allow-methods", methods), ("access-control-allow-headers", _ANY_HEADER)])


def _allow(methods: Sequence[str]) -> list[tuple[str, bytes]]:
    return [("allow", ", ".join(methods).encode())] if methods else []
