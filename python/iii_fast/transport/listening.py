"""Opens listening sockets, so that `localhost` works whichever way a client resolves it. Touches sockets only."""

from __future__ import annotations

import errno
import logging
from typing import Final

import trio

logger = logging.getLogger(__name__)

IPV6_BESIDE: Final = {"localhost": "::1", "127.0.0.1": "::1", "0.0.0.0": "::"}
"""Which IPv6 address a host listens on as well: clients may resolve `localhost` to either family."""
LOOPBACK: Final = frozenset({"localhost", "::1"})

_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
_PORT_ATTEMPTS: Final = 20


def is_public(host: str) -> bool:
    """Whether other machines can reach a listener on this host."""
    return host not in LOOPBACK and not host.startswith("127.")


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listens on ``host`` and its IPv6 twin; port 0 lets the system choose one for both. Raises ``OSError``.

    Where the machine has no IPv6, only IPv4 is served. A twin port that somebody else holds is told loudly and left.
    """
    first = "127.0.0.1" if host == "localhost" else host
    twin = IPV6_BESIDE.get(host)
    for attempt in range(_PORT_ATTEMPTS):
        listeners = await trio.open_tcp_listeners(port, host=first)
        if twin is None:
            return listeners
        chosen = address(listeners[0])[1]
        try:
            return listeners + await trio.open_tcp_listeners(chosen, host=twin)
        except OSError as error:
            if error.errno in _NO_IPV6:
                logger.debug("No IPv6 on this machine, listening on %s only", first)
                return listeners
            if error.errno != errno.EADDRINUSE or (port != 0 and host == "localhost"):
                await _close(listeners)
                raise
            if port != 0 or attempt == _PORT_ATTEMPTS - 1:
                logger.warning("Somebody else listens on [%s]:%d: clients that use IPv6 reach them", twin, chosen)
                return listeners
            await _close(listeners)
    raise AssertionError("unreachable")


async def _close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        await listener.aclose()


def address(listener: trio.SocketListener) -> tuple[str, int]:
    """Host and port of a listener."""
    host, port, *_ = listener.socket.getsockname()
    return host, port
