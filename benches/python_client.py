"""State calls from Python in either codec: encoded, sent, received and decoded, one after the other."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgpack
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Message, Request, TextMessage

from benches import disk, workloads

PATIENCE_S: Final = 30.0
READ_BYTES: Final = 64 << 10
OPERATIONS: Final = 20_000
"""Then they begin anew."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A message as a frame of the WebSocket library, and back."""

    encode: Callable[[Any], Message]
    decode: Callable[[Any], Any]


CODECS: Final = {
    "msgpack": Codec(lambda message: BytesMessage(msgpack.packb(message)), msgpack.unpackb),
    "json": Codec(lambda message: TextMessage(json.dumps(message, separators=(",", ":"))), json.loads),
}


class Client:
    """One blocking connection to an engine."""

    def __init__(self, url: str, codec: Codec) -> None:
        where = urlsplit(url)
        self._codec = codec
        self._socket = socket.create_connection((where.hostname, where.port), timeout=PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._socket.sendall(self._frames.send(Request(host=where.netloc, target="/")))
        self._accepted = False
        while not self._accepted:
            self._receive()

    def call(self, number: int, function_id: str, data: Any) -> dict[str, Any]:
        """The message that answers an invocation; ``number`` makes its id."""
        wanted = workloads.invocation_id(number)
        message = {"type": "invokefunction", "invocation_id": wanted, "function_id": function_id, "data": data}
        self._socket.sendall(self._frames.send(self._codec.encode(message)))
        while True:
            for content in self._receive():
                answer: dict[str, Any] = self._codec.decode(content)
                if answer.get("invocation_id") == wanted:
                    return answer

    def _receive(self) -> list[str | bytes]:
        received = self._socket.recv(READ_BYTES)
        if not received:
            raise ConnectionError("the engine has ended the connection")
        self._frames.receive_data(received)
        found: list[str | bytes] = []
        for event in self._frames.events():
            if isinstance(event, AcceptConnection):
                self._accepted = True
            # Answers to values of this size come whole. The greeting, which is text for everybody, answers nothing.
            elif isinstance(event, TextMessage | BytesMessage) and self._is_mine(event):
                found.append(event.data)
        return found

    def _is_mine(self, event: Message) -> bool:
        return isinstance(event, BytesMessage) == (self._codec is CODECS["msgpack"])

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


def run(url: str, codec: str, scope: str, *, seconds: float, ops: int | None) -> dict[str, Any]:
    """Gets and sets of random keys; returns a report like the load generator's, in which the generator is this client.

    Ends after ``ops``, or else after ``seconds``. What is set is a Python object before, and what is got is one after.
    """
    calls = [(one.function_id, json.loads(one.data) | {"scope": scope}) for one in workloads.operations(OPERATIONS)]
    stored: dict[str, Any] = {}
    took: list[float] = []
    wrong: list[str] = []
    client = Client(url, CODECS[codec])
    begin, busy = time.perf_counter(), time.process_time()
    for number, (function_id, data) in enumerate(itertools.cycle(calls)):
        before = time.perf_counter()
        if number >= ops if ops is not None else before - begin > seconds:
            break
        answer = client.call(number, function_id, data)
        took.append(time.perf_counter() - before)
        key, old = data["key"], stored.get(data["key"])
        if "value" in data:
            stored[key] = data["value"]
        expected = {"old_value": old, "new_value": data["value"]} if "value" in data else old
        if answer.get("result") != expected:
            wrong.append(f"{key}: {answer}")
    elapsed, busy = time.perf_counter() - begin, time.process_time() - busy
    client.close()
    report = disk.report(len(took), elapsed, took)
    faults = {"errors": len(wrong), "error_samples": wrong[:1]}
    return report | faults | {"generator_busy": busy / elapsed, "generator_cpu_us_per_op": busy / len(took) * 1e6}
