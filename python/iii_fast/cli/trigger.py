"""``iii-fast trigger``: calls one function through a running engine and prints its result as JSON.

Both forms of the command line that people know are taken: ``FUNCTION key=value ... --json JSON`` and, of 0.10,
``--function-id=F --payload=JSON``.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import trio

from iii_fast import jsontext
from iii_fast.cli.client import NoEngineError, call
from iii_fast.cli.pretty import pretty
from iii_fast.config import DEFAULT_PORT
from iii_fast.errors import WireError

URL_VARIABLES: Final = ("III_URL", "III_ENGINE_URL")
TIMEOUT_MS: Final = 30_000
HOST_CHARACTERS_MAX: Final = 253
_HOST: Final = re.compile(r"(?!-)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?")

EPILOG: Final = """\
A value is read as JSON if it is JSON, else as text: count=3 is a number, name=ada is text, name='"3"' is text again.
Pairs go over the members of --json. Without either the payload is {}. The result is printed as JSON (null for none);
an error goes to stderr, with exit status 1.

examples:
  iii-fast trigger state::set scope=users key=ada value='{"age": 36}'
  iii-fast trigger state::list --json '{"scope": "users"}'
  iii-fast trigger orders::create item=book count=2 --address engine.internal --timeout-ms 5000
  iii-fast trigger --function-id=state::get --payload='{"scope": "users", "key": "ada"}'

environment: III_URL (or III_ENGINE_URL) is the engine's address where --address and --port say nothing.
"""


class UsageError(Exception):
    """The command line cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call as the command line describes it. ``data`` is JSON text."""

    url: str
    function_id: str
    data: bytes
    namespace: str | None
    timeout_ms: int


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 2 for bad usage and 1 for a call that failed."""
    parser = _parser()
    try:
        request = _request(parser.parse_intermixed_args(arguments), os.environ)
    except UsageError as error:
        parser.error(str(error))
    try:
        result = trio.run(_send, request)
    except NoEngineError as error:
        _fail(str(error))
    except WireError as error:
        _fail(f"error {error}" + (f"\n{error.stacktrace}" if error.stacktrace else ""))
    print(pretty(result.decode()))


async def _send(request: Request) -> bytes:
    return await call(
        request.url,
        request.function_id,
        request.data,
        namespace=request.namespace,
        timeout_ms=request.timeout_ms,
    )


def _fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iii-fast trigger",
        usage="%(prog)s FUNCTION [key=value ...] [--json JSON] [options]",
        description="Call a function through a running engine and print its result.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "words", nargs="*", metavar="FUNCTION [key=value ...]", help="function id, members of its payload"
    )
    parser.add_argument("--json", metavar="JSON", help="the payload; an object when there are key=value pairs too")
    parser.add_argument(
        "--address", metavar="HOST", help="host or host:port of the engine (default: localhost), or a URL"
    )
    parser.add_argument("--port", type=int, help=f"worker port of the engine (default: {DEFAULT_PORT})")
    parser.add_argument("--timeout-ms", type=int, default=TIMEOUT_MS, metavar="MS", help="default: %(default)s")
    parser.add_argument("-n", "--namespace", help="namespace of the function")
    parser.add_argument("--function-id", metavar="FUNCTION", help="the function, as 0.10 wrote it")
    parser.add_argument("--payload", metavar="JSON", help="the payload, as 0.10 wrote it; the same as --json")
    return parser


def _request(options: argparse.Namespace, environ: Mapping[str, str]) -> Request:
    words = list(options.words)
    function_id = options.function_id
    if function_id is None:
        if not words or not words[0]:
            raise UsageError("name the FUNCTION to call, for example state::list_groups")
        function_id = words.pop(0)
    if options.json is not None and options.payload is not None:
        raise UsageError("--json and --payload are two names of one thing; give one")
    if options.timeout_ms <= 0:
        raise UsageError(f"--timeout-ms is {options.timeout_ms}, expected a number of milliseconds above 0")
    return Request(
        url=engine_url(options.address, options.port, environ),
        function_id=_text(function_id),
        data=payload(words, options.payload if options.json is None else options.json),
        namespace=None if options.namespace is None else _text(options.namespace),
        timeout_ms=options.timeout_ms,
    )


def payload(pairs: Sequence[str], base: str | None) -> bytes:
    """The payload as JSON text, from ``key=value`` words over a base of JSON text.

    Raises ``UsageError`` for a word that is no pair, a base that is not JSON, and pairs over a base that is no object.
    """
    text = b"{}" if base is None else _json(base)
    if not pairs:
        return text
    members = jsontext.members(text)
    if members is None:
        raise UsageError(f"--json must be an object beside key=value pairs, it is: {jsontext.kind(text)}")
    merged = dict(members)
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"`{pair}` is no key=value pair")
        merged[_text(key)] = _value(value)
    return jsontext.build(list(merged.items()))


def _json(text: str) -> bytes:
    raw = _text(text).encode()
    try:
        jsontext.check(raw)
    except jsontext.JsonTextError as error:
        raise UsageError(f"--json is not JSON: {error}") from None
    return raw


def _value(text: str) -> bytes:
    raw = _text(text).encode()
    try:
        jsontext.check(raw)
    except jsontext.JsonTextError:
        return jsontext.quote(text)
    return raw


def _text(argument: str) -> str:
    # Python smuggles bytes that are not UTF-8 through arguments as lone surrogates; no JSON can carry them.
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UsageError("an argument is not UTF-8 text") from None
    return argument


def engine_url(address: str | None, port: int | None, environ: Mapping[str, str]) -> str:
    """The engine's WebSocket URL: flags over ``III_URL`` over ``ws://localhost:49134``.

    An address is a host, host and port (``engine:49134``, ``[::1]:49134``) or a whole URL. Raises ``UsageError``.
    """
    if address is None and port is None:
        address = next((environ[name] for name in URL_VARIABLES if environ.get(name)), None)
    if port is not None and not 0 < port <= 65_535:
        raise UsageError(f"--port is {port}, expected a number from 1 to 65535")
    if address is not None and "://" in address:
        if port is not None:
            raise UsageError("--address is a whole URL; write the port in it instead of --port")
        _parts(address, address)
        return address
    if address is None:
        address = "localhost"
    parts = _parts(f"ws://{f'[{address}]' if _is_ipv6(address) else address}", address)
    if parts.netloc != parts.geturl().removeprefix("ws://") or "@" in parts.netloc:
        raise _no_address(address)
    if parts.port is None:
        return f"ws://{parts.netloc}:{port or DEFAULT_PORT}"
    if port is not None:
        raise UsageError("--address has a port already; leave out --port")
    return f"ws://{parts.netloc}"


def _parts(url: str, given: str) -> SplitResult:
    """The parts of a URL that can be connected to. Raises ``UsageError`` naming what was ``given``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _no_address(given) from None
    known = _is_ipv6(host) or (len(host) <= HOST_CHARACTERS_MAX and _HOST.fullmatch(host) is not None)
    if parts.scheme not in ("ws", "wss") or not known or port == 0 or parts.netloc.endswith(":"):
        raise _no_address(given)
    return parts


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _no_address(given: str) -> UsageError:
    return UsageError(f"`{given}` is no engine address, expected one like ws://localhost:{DEFAULT_PORT}")
