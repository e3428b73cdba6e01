"""Malformed and smuggling requests: the same answers on both data planes and through sockets, however they arrive."""

from __future__ import annotations

import socket

import pytest

from tests.http.corpus import MALFORMED
from tests.http.site import Site, read_responses, returns
from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import EngineProcess


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("step", [10_000, 1, 7])
def test_each_is_answered_as_it_must_be(site: Site, name: str, step: int) -> None:
    raw, statuses = MALFORMED[name]
    site.functions["f"] = returns({})
    site.route("smuggled")
    client = site.client()
    for at in range(0, len(raw), step):
        client.send(raw[at : at + step])
    responses = client.responses()
    assert [one.status for one in responses] == statuses
    assert site.invocations == []
    if statuses[-1] != 404:
        assert client.closed
        assert responses[-1].header("connection") == ["close"]
        assert responses[-1].value["error"]["message"]


def exchange(address: tuple[str, int], raw: bytes) -> bytes:
    """What comes back until the engine ends the connection, having been told that nothing more is sent."""
    with socket.create_connection(address, timeout=ANSWER_S) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(1 << 16):
            received += data
        return received


def test_through_sockets_as_well(engine: EngineProcess) -> None:
    for name, (raw, statuses) in MALFORMED.items():
        received = exchange(engine.http, raw)
        assert [one.status for one in read_responses(received, ["GET"])] == statuses, name
