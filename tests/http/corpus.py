"""Requests that are malformed, or that two readers could understand differently, with what each must be answered.

Each comes with the statuses of all responses; the connection ends behind a refusal, so what was smuggled in behind one
is never read. Known from RFC 9112 and from published work on request smuggling.
"""

from __future__ import annotations

from typing import Final

SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
"""Must never be served when it stands where a body may be."""


def _get(*lines: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *lines]) + b"\r\n\r\n"


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return _get(*lines, line=b"POST / HTTP/1.1") + body


_CHUNKED: Final = b"Transfer-Encoding: chunked"

MALFORMED: Final[dict[str, tuple[bytes, list[int]]]] = {
    # The request line
    "nonsense": (b"nonsense\r\n\r\n", [400]),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    "a space in front": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "two spaces": (_get(line=b"GET  / HTTP/1.1"), [400]),
    "a tab for a space": (_get(line=b"GET\t/ HTTP/1.1"), [400]),
    "a space behind the version": (_get(line=b"GET / HTTP/1.1 "), [400]),
    "a space in the target": (_get(line=b"GET /a b HTTP/1.1"), [400]),
    "no target": (_get(line=b"GET HTTP/1.1"), [400]),
    "no version": (_get(line=b"GET /"), [400]),
    "lower-case version": (_get(line=b"GET / http/1.1"), [400]),
    "version 2": (_get(line=b"GET / HTTP/2.0"), [505]),
    "version 1.2": (_get(line=b"GET / HTTP/1.2"), [505]),
    "version 1.10": (_get(line=b"GET / HTTP/1.10"), [400]),
    "version 11": (_get(line=b"GET / HTTP/11"), [400]),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    "a bracket in the method": (_get(line=b"GE(T / HTTP/1.1"), [400]),
    "a control character in the target": (_get(line=b"GET /\x01 HTTP/1.1"), [400]),
    "a byte beyond ASCII in the target": (_get(line=b"GET /\xe9 HTTP/1.1"), [400]),
    "a NUL in the target": (_get(line=b"GET /\x00 HTTP/1.1"), [400]),
    "a target without slash": (_get(line=b"GET a HTTP/1.1"), [400]),
    "an authority as target": (_get(line=b"CONNECT x:80 HTTP/1.1"), [400]),
    "an asterisk for GET": (_get(line=b"GET * HTTP/1.1"), [400]),
    "another scheme": (_get(line=b"GET ftp://x/ HTTP/1.1"), [400]),
    # Lines
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", [400]),
    "one bare line feed": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", [400]),
    "a bare line feed at the end": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", [400]),
    "a bare carriage return in a value": (_get(b"X: a\rY: b"), [400]),
    "a carriage return for a line end": (b"GET / HTTP/1.1\rHost: x\r\n\r\n", [400]),
    "two carriage returns": (b"GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", [400]),
    "a carriage return in front": (b"\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    # Header lines
    "a space before the colon": (_get(b"X : y"), [400]),
    "a tab before the colon": (_get(b"X\t: y"), [400]),
    "Content-Length with a space before the colon": (_post(b"Content-Length : 36", body=SMUGGLED), [400]),
    "Transfer-Encoding with a space before the colon": (_post(b"Transfer-Encoding : chunked"), [400]),
    "a folded line": (_get(b"X: a", b" b"), [400]),
    "a line folded with a tab": (_get(b"X: a", b"\tb"), [400]),
    "a folded Transfer-Encoding": (_post(b"Transfer-Encoding:", b" chunked"), [400]),
    "a space in front of the first header": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", [400]),
    "no colon": (_get(b"X"), [400]),
    "no name": (_get(b": y"), [400]),
    "a space in a name": (_get(b"X Y: z"), [400]),
    "a NUL in a name": (_get(b"X\x00: z"), [400]),
    "a NUL in a value": (_get(b"X: \x00"), [400]),
    "a control character in a value": (_get(b"X: \x0b"), [400]),
    "DEL in a value": (_get(b"X: \x7f"), [400]),
    "a byte beyond ASCII in a name": (_get(b"X\xe9: z"), [400]),
    # Host
    "no host": (_get(host=b""), [400]),
    "two hosts": (_get(b"Host: y"), [400]),
    "two equal hosts": (_get(b"Host: x"), [400]),
    # Two lengths
    "length and chunks": (_post(b"Content-Length: 3", _CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n" + SMUGGLED), [400]),
    "chunks and length": (_post(_CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n" + SMUGGLED), [400]),
    "chunks and length 0": (_post(_CHUNKED, b"Content-Length: 0", body=b"0\r\n\r\n" + SMUGGLED), [400]),
    "two lengths": (_post(b"Content-Length: 0", b"Content-Length: 36", body=SMUGGLED), [400]),
    "two equal lengths": (_post(b"Content-Length: 36", b"Content-Length: 36", body=SMUGGLED), [400]),
    "a list of lengths": (_post(b"Content-Length: 36, 36", body=SMUGGLED), [400]),
    "a signed length": (_post(b"Content-Length: +36", body=SMUGGLED), [400]),
    "a negative length": (_post(b"Content-Length: -1", body=SMUGGLED), [400]),
    "a hexadecimal length": (_post(b"Content-Length: 0x24", body=SMUGGLED), [400]),
    "a length with a unit": (_post(b"Content-Length: 36b", body=SMUGGLED), [400]),
    "a length with a space": (_post(b"Content-Length: 3 6", body=SMUGGLED), [400]),
    "an underscore in a length": (_post(b"Content-Length: 3_6", body=SMUGGLED), [400]),
    "an empty length": (_post(b"Content-Length:", body=SMUGGLED), [400]),
    "a length in other digits": (_post(b"Content-Length: \xef\xbc\x93", body=SMUGGLED), [400]),
    "a length beyond all numbers": (_post(b"Content-Length: " + b"9" * 40, body=SMUGGLED), [400]),
    "a length of many zeros": (_post(b"Content-Length: " + b"0" * 40) + SMUGGLED, [400]),
    "a length of 19 digits": (_post(b"Content-Length: " + b"9" * 19, body=SMUGGLED), [413]),
    "a length of 19 zeros": (_post(b"Content-Length: " + b"0" * 19) + _get(), [404, 404]),
    # Codings
    "another coding": (_post(b"Transfer-Encoding: gzip"), [501]),
    "identity": (_post(b"Transfer-Encoding: identity"), [501]),
    "two codings": (_post(b"Transfer-Encoding: gzip, chunked"), [501]),
    "chunked twice": (_post(_CHUNKED, _CHUNKED), [501]),
    "chunked in a list with itself": (_post(b"Transfer-Encoding: chunked, chunked"), [501]),
    "chunked and another": (_post(_CHUNKED, b"Transfer-Encoding: cow"), [501]),
    "chunked in quotes": (_post(b'Transfer-Encoding: "chunked"'), [501]),
    "chunked with a control character": (_post(b"Transfer-Encoding: \x0bchunked"), [400]),
    "an empty coding": (_post(b"Transfer-Encoding:"), [501]),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, [400]),
    # Chunks
    "a chunk without size": (_post(_CHUNKED, body=b"\r\n" + SMUGGLED), [400]),
    "a size that is no number": (_post(_CHUNKED, body=b"zz\r\n"), [400]),
    "a signed size": (_post(_CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"), [400]),
    "a negative size": (_post(_CHUNKED, body=b"-1\r\n"), [400]),
    "a size with 0x": (_post(_CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"), [400]),
    "a size with a space in front": (_post(_CHUNKED, body=b" 3\r\nabc\r\n0\r\n\r\n"), [400]),
    "a size with a space behind": (_post(_CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"), [400]),
    "a size of 17 digits": (_post(_CHUNKED, body=b"00000000000000003\r\nabc\r\n"), [400]),
    "a size beyond all numbers": (_post(_CHUNKED, body=b"ffffffffffffffff\r\nabc"), [413]),
    "a size that overflows": (_post(_CHUNKED, body=b"10000000000000003\r\nabc\r\n0\r\n\r\n"), [400]),
    "a size with a bare line feed": (_post(_CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"), [400]),
    "an extension with a bare line feed": (_post(_CHUNKED, body=b"3;a\nabc\r\n0\r\n\r\n" + SMUGGLED), [400]),
    "an extension with a bare carriage return": (_post(_CHUNKED, body=b"3;\ra\r\nabc\r\n0\r\n\r\n"), [400]),
    "an extension with a NUL": (_post(_CHUNKED, body=b"3;\x00\r\nabc\r\n0\r\n\r\n"), [400]),
    "something behind the size": (_post(_CHUNKED, body=b"3g\r\nabc\r\n"), [400]),
    "no line end behind a chunk": (_post(_CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n"), [400]),
    "a bare line feed behind a chunk": (_post(_CHUNKED, body=b"3\r\nabc\n0\r\n\r\n"), [400]),
    "two bytes for a line end": (_post(_CHUNKED, body=b"3\r\nabcXX0\r\n\r\n" + SMUGGLED), [400]),
    "a bare line feed behind the last chunk": (_post(_CHUNKED, body=b"0\r\n\n" + SMUGGLED), [400]),
    "a trailer that is no header": (_post(_CHUNKED, body=b"0\r\nX\r\n\r\n"), [400]),
    "a trailer with a space before the colon": (_post(_CHUNKED, body=b"0\r\nX : y\r\n\r\n"), [400]),
    "a folded trailer": (_post(_CHUNKED, body=b"0\r\nX: y\r\n z\r\n\r\n"), [400]),
    # What is well-formed: the body is a body, and what is behind it is the next request.
    "a length in a trailer": (_post(_CHUNKED, body=b"0\r\nContent-Length: 36\r\n\r\n") + _get(), [404, 404]),
    "a request in a body": (_post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + _get(), [404, 404]),
    "a request in a chunk": (_post(_CHUNKED, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)), [404]),
    "capital digits": (_post(_CHUNKED, body=b"A;x=y\r\n0123456789\r\n00\r\n\r\n") + _get(), [404, 404]),
    "empty lines in front": (b"\r\n\r\n" + _get() + b"\r\n" + _get(), [404, 404]),
    "white space around a value": (_post(b"Content-Length: \t 0 \t") + _get(), [404, 404]),
    "an empty value": (_get(b"X:") + _get(), [404, 404]),
    "HTTP/1.0 without host": (b"GET / HTTP/1.0\r\n\r\n" + SMUGGLED, [404]),
}
