"""The block ``cors`` of the http listener: whose pages may read responses, and with which methods they may ask."""

from __future__ import annotations

import re
from typing import Final

from iii_fast.config.report import Place, fail
from iii_fast.config.section import Section, one_of
from iii_fast.config.tree import Scalar
from iii_fast.contracts import Cors
from iii_fast.protocol import HTTP_METHODS

_ANY: Final = "*"
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
)
_PORT_MAX: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NO_ORIGIN: Final = "null"
"""What browsers write for pages that have none, such as files and sandboxed frames."""

Entry = tuple[Place, str, str]
"""Where it stands, what messages call it, and its text."""


def read_cors(http: Section) -> Cors:
    """Reads ``cors`` of ``http``. An empty list, as none, is every origin or method. Raises ``ConfigError``."""
    table = http.table("cors")
    if table is None:
        return Cors()
    with Section.of(http.path("cors"), table, http.report) as cors:
        origins = _read(cors, "allowed_origins", "ORIGIN")
        methods = _read(cors, "allowed_methods", "METHOD")
    return Cors(
        None if origins is None else tuple(map(_origin, origins)),
        None if methods is None else tuple(map(_method, methods)),
    )


def _read(cors: Section, key: str, what: str) -> list[Entry] | None:
    """The entries of a list; ``None`` when everything is allowed."""
    entries: list[Entry] = []
    for number, node in enumerate(cors.listing(key)):
        name = f"{cors.path(key)}[{number}]"
        text = node.string() if isinstance(node, Scalar) else None
        if text is None:
            fail(node.place, f"{name} is {node}, expected text")
        entries.append((node.place, name, text))
    texts = [text for _, _, text in entries]
    if not cors.has(key) or texts == [_ANY]:
        return None
    if _ANY in texts or not texts:
        why = "has `*` among its entries" if texts else "is empty"
        cors.report.warn(cors.place_of(key), f"{cors.path(key)} {why}: EVERY {what} IS ALLOWED")
        return None
    return entries


def _origin(entry: Entry) -> str:
    """An origin as browsers write it."""
    place, name, text = entry
    if text == _NO_ORIGIN:
        return text
    parts = _ORIGIN.fullmatch(text.lower())
    port = int(parts["port"]) if parts and parts["port"] else None
    if parts is None or (port is not None and port > _PORT_MAX):
        expected = 'expected `*` or an origin: scheme, host and perhaps a port, without a path ("https://shop.example")'
        fail(place, f'{name} is "{text}", {expected}')
    host = f"{parts['scheme']}://{parts['host']}"
    return host if port in (None, _DEFAULT_PORTS.get(parts["scheme"])) else f"{host}:{port}"


def _method(entry: Entry) -> str:
    place, name, text = entry
    if text.upper() not in HTTP_METHODS:
        fail(place, f'{name} is "{text}", expected `*` or {one_of(HTTP_METHODS)}')
    return text.upper()
