"""A request head: parsed with h11, and judged more strictly than it does. Mirrors ``rust/core/src/http/head.rs``.

What two readers could understand differently is refused (RFC 9112).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import h11

from iii_fast.reference.http_refusal import Refusal

HEADERS_MAX: Final = 100
"""Header lines of one request."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(TOKEN + rb" [\x21-\x7e]+ HTTP/(?P<version>[0-9]\.[0-9])")
HEADER_LINE: Final = re.compile(TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
_HOST: Final = r"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]"
"""What a host and port may have in them (RFC 3986, section 3.2, without what stands in front of an ``@``)."""
_HOST_LINE: Final = re.compile(_HOST.encode() + b"*")
_ABSOLUTE: Final = re.compile(rf"https?://{_HOST}+(?=[/?]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Head:
    """A request head that can be served. Header names are in lower case; ``length`` is of the body, or its chunks."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, bytes]]
    length: int | Literal["chunked"]
    keeps_alive: bool
    expects_continue: bool

    def header(self, name: str) -> bytes | None:
        """The last value of a header; ``name`` in lower case."""
        return next((value for key, value in reversed(self.headers) if key == name), None)


def find_end(data: bytes, bytes_max: int) -> int | None:
    """Where the head that begins ``data`` ends, behind its empty line; ``None`` while it is not there.

    Every line must end with CR LF: a reader that also takes LF alone sees other lines. Raises ``Refusal``.
    """
    if data[:1] and data[0] <= 0x20:
        raise Refusal(400, "illegal request line")
    at = data.find(b"\n", 0, bytes_max)
    while at >= 0:
        if data[at - 1 : at] != b"\r":
            raise Refusal(400, "a line of the request head ends with a bare line feed")
        if data[at - 2 : at - 1] == b"\n":
            return at + 1
        at = data.find(b"\n", at + 1, bytes_max)
    if len(data) >= bytes_max:
        raise Refusal(431, f"the request head exceeds the limit of {bytes_max} bytes")
    return None


def parse(data: bytes) -> Head:
    """Reads a head that ``find_end`` has found the end of. Raises ``Refusal``."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    if request_line is None:
        raise Refusal(400, "illegal request line")
    if request_line["version"] not in (b"1.0", b"1.1"):
        raise Refusal(505, "only HTTP/1.1 and HTTP/1.0 are served")
    for at, line in enumerate(lines):
        if at == HEADERS_MAX:
            raise Refusal(431, f"the request has more than {HEADERS_MAX} header lines")
        if HEADER_LINE.fullmatch(line) is None:
            raise Refusal(400, "illegal header line")
    headers = _headers(lines)
    is_old = request_line["version"] == b"1.0"
    _check_host([value for name, value in headers if name == "host"], is_old)
    length = _framing(headers, is_old)
    method, target = _parsed(data)
    path, query = _split_target(method, target)
    connection = b",".join(value for name, value in headers if name == "connection")
    return Head(
        method,
        path,
        query,
        headers,
        length,
        keeps_alive=not is_old and b"close" not in [one.strip().lower() for one in connection.split(b",")],
        expects_continue=not is_old and b"100-continue" in [v.lower() for n, v in headers if n == "expect"],
    )


def _headers(lines: list[bytes]) -> list[tuple[str, bytes]]:
    parts = [line.partition(b":") for line in lines]
    return [(name.decode().lower(), value.strip(b" \t")) for name, _, value in parts]


def _parsed(data: bytes) -> tuple[str, str]:
    """Method and target, by h11."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=len(data))
    try:
        parser.receive_data(data)
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise Refusal(400, "illegal header line") from error
    assert isinstance(event, h11.Request)
    return event.method.decode(), event.target.decode()


def _check_host(hosts: list[bytes], is_old: bool) -> None:
    if not hosts and not is_old:
        raise Refusal(400, "Missing mandatory Host: header")
    if len(hosts) > 1:
        raise Refusal(400, "a request has one Host header, not several")
    if hosts and not _HOST_LINE.fullmatch(hosts[0]):
        raise Refusal(400, "the Host header is no host and port")


def _framing(headers: list[tuple[str, bytes]], is_old: bool) -> int | Literal["chunked"]:
    """Refuses a body whose end two readers could find in different places (RFC 9112, section 6)."""
    codings = [value for name, value in headers if name == "transfer-encoding"]
    lengths = [value for name, value in headers if name == "content-length"]
    if codings:
        if lengths:
            raise Refusal(400, "a request has either Transfer-Encoding or Content-Length, not both")
        if is_old:
            raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding")
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise Refusal(501, "Only Transfer-Encoding: chunked is supported")
        return "chunked"
    if len(lengths) > 1:
        raise Refusal(400, "a request has one Content-Length header, not several")
    if lengths and not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
        raise Refusal(400, "Content-Length is not a number of at most 19 digits")
    return int(lengths[0]) if lengths else 0


def _split_target(method: str, target: str) -> tuple[str, str]:
    """Path and query of a target in origin, absolute or asterisk form (RFC 9112, section 3.2)."""
    if "#" in target:
        raise Refusal(400, "illegal request target")
    if not target.startswith("/") and not (target == "*" and method == "OPTIONS"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            raise Refusal(400, "illegal request target")
        target = target[absolute.end() :]
    path, _, query = target.partition("?")
    return path or "/", query
