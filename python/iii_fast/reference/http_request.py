"""The request object: what functions are told about a request. Mirrors ``rust/core/src/http/request.rs``."""

from __future__ import annotations

from typing import Final

from iii_fast.contracts import Route
from iii_fast.jsontext import build, encode, quote
from iii_fast.reference import codec_json
from iii_fast.reference.http_decode import fields
from iii_fast.reference.http_head import Head
from iii_fast.reference.http_refusal import Refusal

_NO_CHANNEL: Final = b"{}"
"""Where a channel end will be. The SDKs' ``http()`` wrappers need the member; handlers that do not stream work."""
_UTF_8: Final = frozenset({None, "utf-8", "utf8", "us-ascii"})
_LATIN_1: Final = frozenset({"iso-8859-1", "latin1"})


def request_object(head: Head, body: bytes, route: Route, parameters: dict[str, str]) -> bytes:
    """The whole object. Raises ``Refusal`` for a body that is not what its type says, or cannot be handed on."""
    return build(
        [
            ("method", quote(head.method)),
            ("path_params", encode(parameters)),
            ("query_params", encode(fields(head.query))),
            ("headers", encode(_joined(head.headers))),
            ("path", quote(route.api_path)),
            ("body", _body(head.header("content-type"), body)),
            ("trigger", encode({"type": "http", "method": route.method, "path": route.api_path})),
            ("request_body", _NO_CHANNEL),
            ("response", _NO_CHANNEL),
        ]
    )


def _joined(headers: list[tuple[str, bytes]]) -> dict[str, str]:
    """Values of one name are joined with ``, ``, cookies with ``; `` (RFC 9110, 5.3; RFC 6265, 5.4)."""
    joined: dict[str, str] = {}
    for name, raw in headers:
        value = raw.decode("latin-1")
        if name in joined:
            value = joined[name] + ("; " if name == "cookie" else ", ") + value
        joined[name] = value
    return joined


def _body(content_type: bytes | None, body: bytes) -> bytes:
    if not body:
        return b"null"
    value = (content_type or b"").decode("utf-8", "replace")
    media_type, _, parameters = "".join(c.lower() if c.isascii() else c for c in value).partition(";")
    media_type = media_type.strip(" \t")
    if media_type == "application/json" or media_type.endswith("+json"):
        return _json(body)
    if media_type.startswith("text/"):
        return quote(_decoded(body, parameters))
    if media_type == "application/x-www-form-urlencoded":
        return encode(fields(_decoded(body, "")))
    expected = "expected JSON, text/* or application/x-www-form-urlencoded"
    raise Refusal(415, f"Content-Type is {media_type or 'none'}, {expected}")


def _json(body: bytes) -> bytes:
    """The body's text as it came; ``null`` when there is none."""
    try:
        text = body.decode()
        if not text.strip(" \t\n\r"):
            return b"null"
        codec_json.validate(text)
    except UnicodeDecodeError as error:
        raise _invalid_json(f"at byte {error.start}: not UTF-8") from None
    except codec_json.JsonError as error:
        raise _invalid_json(str(error)) from None
    return body


def _invalid_json(problem: str) -> Refusal:
    return Refusal(400, f"The request body is not JSON: {problem}", "INVALID_JSON")


def _decoded(body: bytes, parameters: str) -> str:
    """Text in UTF-8 or, when the parameters say so, ISO 8859-1."""
    pairs = [one.partition("=") for one in parameters.split(";") if "=" in one]
    charsets = [value.strip(" \t").strip('"') for name, _, value in pairs if name.strip(" \t") == "charset"]
    charset = charsets[0] if charsets else None
    if charset in _LATIN_1:
        return body.decode("latin-1")
    if charset not in _UTF_8:
        raise Refusal(415, f"charset is {charset}, expected utf-8, us-ascii or iso-8859-1")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"The request body is not UTF-8 at byte {error.start}", "INVALID_TEXT") from None
