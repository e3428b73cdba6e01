"""What the commands' argument parsers have in common: help as it was written, the engine's options, text and JSON."""

from __future__ import annotations

import argparse
from typing import Any, Final

from iii_fast import jsontext
from iii_fast.config import DEFAULT_PORT

TIMEOUT_MS: Final = 30_000


class UsageError(Exception):
    """The command line cannot be used; the text says why."""


def command_parser(command: str, **parts: Any) -> argparse.ArgumentParser:
    """A parser for ``iii-fast COMMAND``; ``parts`` are ``description``, ``epilog``, ``usage`` of ``ArgumentParser``."""
    return argparse.ArgumentParser(
        prog=f"iii-fast {command}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **parts,
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """``--address``, ``--port`` and ``--timeout-ms``."""
    parser.add_argument(
        "--address", metavar="HOST", help="host or host:port of the engine (default: localhost), or a URL"
    )
    parser.add_argument("--port", type=int, help=f"worker port of the engine (default: {DEFAULT_PORT})")
    parser.add_argument("--timeout-ms", type=int, default=TIMEOUT_MS, metavar="MS", help="default: %(default)s")


def check_timeout(timeout_ms: int) -> None:
    """Raises ``UsageError`` when ``--timeout-ms`` is not above 0."""
    if timeout_ms <= 0:
        raise UsageError(f"--timeout-ms is {timeout_ms}, expected a number of milliseconds above 0")


def text_argument(argument: str) -> str:
    """The argument, if it is text that JSON can carry. Raises ``UsageError``."""
    # Python smuggles bytes that are not UTF-8 through arguments as lone surrogates.
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UsageError("an argument is not UTF-8 text") from None
    return argument


def checked_json(text: str, name: str) -> bytes:
    """The argument ``name`` as JSON text. Raises ``UsageError``."""
    raw = text_argument(text).encode()
    try:
        jsontext.check(raw)
    except jsontext.JsonTextError as error:
        raise UsageError(f"{name} is not JSON: {error}") from None
    return raw
