"""``iii-fast trigger``: calls one function through a running engine and prints its result as JSON.

Both forms of the command line that people know are taken: ``FUNCTION key=value ... --json JSON`` and, of 0.10,
``--function-id=F --payload=JSON``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from iii_fast import jsontext
from iii_fast.cli.address import engine_url
from iii_fast.cli.arguments import (
    UsageError,
    add_engine_options,
    check_timeout,
    checked_json,
    command_parser,
    text_argument,
)
from iii_fast.cli.client import call
from iii_fast.cli.failure import telling_failures
from iii_fast.cli.pretty import pretty

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
    with telling_failures():
        result = trio.run(_send, request)
    print(pretty(result.decode()))


async def _send(request: Request) -> bytes:
    return await call(
        request.url,
        request.function_id,
        request.data,
        namespace=request.namespace,
        timeout_ms=request.timeout_ms,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "trigger",
        usage="%(prog)s FUNCTION [key=value ...] [--json JSON] [options]",
        description="Call a function through a running engine and print its result.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "words", nargs="*", metavar="FUNCTION [key=value ...]", help="function id, members of its payload"
    )
    parser.add_argument("--json", metavar="JSON", help="the payload; an object when there are key=value pairs too")
    add_engine_options(parser)
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
    check_timeout(options.timeout_ms)
    return Request(
        url=engine_url(options.address, options.port, environ),
        function_id=text_argument(function_id),
        data=payload(words, options.payload if options.json is None else options.json),
        namespace=None if options.namespace is None else text_argument(options.namespace),
        timeout_ms=options.timeout_ms,
    )


def payload(pairs: Sequence[str], base: str | None) -> bytes:
    """The payload as JSON text, from ``key=value`` words over a base of JSON text.

    Raises ``UsageError`` for a word that is no pair, a base that is not JSON, and pairs over a base that is no object.
    """
    text = b"{}" if base is None else checked_json(base, "--json")
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
        merged[text_argument(key)] = _value(value)
    return jsontext.build(list(merged.items()))


def _value(text: str) -> bytes:
    raw = text_argument(text).encode()
    try:
        jsontext.check(raw)
    except jsontext.JsonTextError:
        return jsontext.quote(text)
    return raw
