"""``iii-fast state``: reads, writes and watches the state of a running engine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from iii_fast import jsontext
from iii_fast.cli import state_reader, watch
from iii_fast.cli.address import engine_url
from iii_fast.cli.arguments import UsageError, add_engine_options, check_timeout, checked_json, text_argument
from iii_fast.cli.arguments import command_parser as new_parser
from iii_fast.cli.client import call, converse
from iii_fast.cli.failure import CommandError, telling_failures
from iii_fast.cli.pretty import pretty
from iii_fast.cli.session import Session

DESCRIPTION: Final = "Read, write and watch the state of a running engine."
EPILOG: Final = """\
Results are printed as JSON (null for none), numbers and texts as they are stored; an error goes to stderr, with exit
status 1. For `get` it is an error that there is no such key; a null that is stored is printed.
A VALUE is JSON, so that a text needs its quotes; @FILE reads it from a file, - from stdin.
An entry that is set without --ttl-ms stays until it is deleted, whatever was said before.

examples:
  iii-fast state set users ada '{"age": 36}'
  iii-fast state set sessions 7f3a '"ada"' --ttl-ms 60000
  iii-fast state set reports today @report.json --durable
  iii-fast state get users ada
  iii-fast state get users ada --meta             with version and expires_at
  iii-fast state list users                       all values, oldest key first
  iii-fast state keys users --prefix a
  iii-fast state delete users ada                 prints what was there
  iii-fast state watch users --since 4711

`iii-fast state ACTION --help` tells more. Names of scopes: `iii-fast trigger state::list_groups`.
environment: III_URL (or III_ENGINE_URL) is the engine's address where --address and --port say nothing.
"""

GET: Final = """\
When there is no such key nothing is printed, stderr says so, and the status is 1. A null that is stored is printed.

examples:
  iii-fast state get users ada
  iii-fast state get users ada > ada.json || echo "nobody of that name"
"""

WATCH: Final = """\
Prints one line of JSON for each change, in order and without a gap:
  {"position":P,"type":"created"|"updated"|"deleted"|"expired","scope":S,"key":K,"value":V,"expires_at":MS}
and {"position":P,"type":"scope_deleted","scope":S} when all keys of a scope were deleted at once. value is there for
created and updated, expires_at when the entry has one.

When the connection is lost it connects again and goes on behind the last change that was printed. Ctrl-C ends it with
status 0 and tells the position for the next --since. An engine remembers a limited history: when changes behind the
position are not known any more, the error says so and the status is 1; export the entries then and watch from now on.

examples:
  iii-fast state watch
  iii-fast state watch users --prefix ada: --since 4711 | jq .key
"""


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 2 for bad usage and 1 for a call that failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        check_timeout(options.timeout_ms)
        url = engine_url(options.address, options.port, os.environ)
        action = options.action(options, url)
    except UsageError as error:
        parser.error(str(error))
    with telling_failures():
        action()


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("state", description=DESCRIPTION, epilog=EPILOG)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, text: str, action: Any, epilog: str | None = None) -> argparse.ArgumentParser:
        found = actions.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        found.set_defaults(action=action)
        return found

    get = add("get", "print the value of an entry", _get, GET)
    set_ = add("set", "write an entry and print its old and new value", _set)
    list_ = add("list", "print all values of a scope as an array", _list)
    keys = add("keys", "print the keys of a scope, one on each line", _keys)
    delete = add("delete", "remove an entry and print its value", _delete)
    watch_ = add("watch", "print every change, until Ctrl-C", _watch, WATCH)
    for one in (get, set_, list_, keys, delete):
        one.add_argument("scope", metavar="SCOPE")
    for one in (get, set_, delete):
        one.add_argument("key", metavar="KEY")
    set_.add_argument("value", metavar="VALUE", help="JSON, or @FILE, or - for stdin")
    get.add_argument("--meta", action="store_true", help='print {"value":V,"version":N,"expires_at":MS}')
    set_.add_argument("--ttl-ms", type=int, metavar="MS", help="the entry is gone after that many milliseconds")
    for one in (set_, delete):
        one.add_argument("--durable", action="store_true", help="return when it is on the disk, whatever `sync` is")
    keys.add_argument("--prefix", metavar="TEXT", help="only keys that begin with it")
    keys.add_argument("--json", action="store_true", help="each key as a JSON string")
    watch_.add_argument("scope", nargs="?", metavar="SCOPE", help="this scope only (default: all)")
    watch_.add_argument("--prefix", metavar="TEXT", help="only keys that begin with it; needs SCOPE")
    watch_.add_argument(
        "--since", type=int, metavar="POSITION", help="changes after that position (default: from now on)"
    )
    for one in (get, set_, list_, keys, delete, watch_):
        add_engine_options(one)
    return parser


def _get(options: argparse.Namespace, url: str) -> partial[None]:
    scope, key = text_argument(options.scope), text_argument(options.key)
    return partial(_print_entry, url, scope, key, meta=options.meta, timeout_ms=options.timeout_ms)


def _print_entry(url: str, scope: str, key: str, *, meta: bool, timeout_ms: int) -> None:
    """Prints a value, or all that is known of the entry. Raises ``CommandError`` when there is none."""
    at = [("scope", jsontext.quote(scope)), ("key", jsontext.quote(key))]
    # Without its version a null that is stored looks like no entry.
    data = jsontext.build([*at, ("meta", b"true")])
    entry = trio.run(partial(call, url, "state::get", data, namespace=None, timeout_ms=timeout_ms))
    if jsontext.is_null(entry):
        quoted = {name: text.decode() for name, text in at}
        raise CommandError(f"there is no key {quoted['key']} in scope {quoted['scope']}")
    value = dict(jsontext.members(entry) or []).get("value")
    if value is None:
        raise CommandError(f"state::get of {url} does not know `meta`: it is no iii-fast engine")
    print(pretty((entry if meta else value).decode()))


def _set(options: argparse.Namespace, url: str) -> partial[None]:
    members = [("value", _value(options.value))]
    if options.ttl_ms is not None:
        members.append(("ttl_ms", b"%d" % options.ttl_ms))
    return _printing(options, url, "set", members + _durable(options))


def _list(options: argparse.Namespace, url: str) -> partial[None]:
    return _printing(options, url, "list", [])


def _delete(options: argparse.Namespace, url: str) -> partial[None]:
    return _printing(options, url, "delete", _durable(options))


def _durable(options: argparse.Namespace) -> list[tuple[str, bytes]]:
    return [("durable", b"true")] if options.durable else []


def _printing(options: argparse.Namespace, url: str, function: str, more: list[tuple[str, bytes]]) -> partial[None]:
    """One call whose result is printed."""
    members = [("scope", jsontext.quote(text_argument(options.scope)))]
    if "key" in options:
        members.append(("key", jsontext.quote(text_argument(options.key))))
    data = jsontext.build(members + more)
    return partial(_print_result, url, f"state::{function}", data, options.timeout_ms)


def _print_result(url: str, function_id: str, data: bytes, timeout_ms: int) -> None:
    result = trio.run(partial(call, url, function_id, data, namespace=None, timeout_ms=timeout_ms))
    print(pretty(result.decode()))


def _value(argument: str) -> bytes:
    """The value's JSON text. Raises ``UsageError``."""
    if argument == "-":
        raw, name = sys.stdin.buffer.read(), "stdin"
    elif argument.startswith("@"):
        name = argument[1:]
        try:
            raw = Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    else:
        try:
            return checked_json(argument, "VALUE")
        except UsageError as error:
            raise UsageError(f"{error}; a text needs quotes: '{jsontext.quote(argument).decode()}'") from None
    try:
        jsontext.check(raw)
    except jsontext.JsonTextError as error:
        raise UsageError(f"{name} is not JSON: {error}") from None
    return raw


def _keys(options: argparse.Namespace, url: str) -> partial[None]:
    scope = text_argument(options.scope)
    prefix = None if options.prefix is None else text_argument(options.prefix)

    async def work(session: Session) -> None:
        async with aclosing(state_reader.keys_of(session, scope, prefix)) as portions:
            async for keys in portions:
                lines = [jsontext.quote(key).decode() if options.json else key for key in keys]
                await trio.to_thread.run_sync(sys.stdout.write, "".join(f"{line}\n" for line in lines))

    async def run() -> None:
        await converse(url, work, timeout_ms=options.timeout_ms)

    return partial(trio.run, run)


def _watch(options: argparse.Namespace, url: str) -> partial[None]:
    if options.prefix is not None and options.scope is None:
        raise UsageError("--prefix needs a SCOPE")
    if options.since is not None and options.since < 0:
        raise UsageError(f"--since is {options.since}, expected a position: 0 or more")
    wanted = {"scope": options.scope, "prefix": options.prefix}
    given = {name: text_argument(text) for name, text in wanted.items() if text is not None}
    return partial(watch.run, watch.Feed(url, given, options.since, options.timeout_ms))
