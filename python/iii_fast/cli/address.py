"""Where the engine is: from ``--address``, ``--port`` and the environment to a WebSocket URL."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from iii_fast.cli.arguments import UsageError
from iii_fast.config import DEFAULT_PORT

URL_VARIABLES: Final = ("III_URL", "III_ENGINE_URL")
HOST_CHARACTERS_MAX: Final = 253
_HOST: Final = re.compile(r"(?!-)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?")


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
