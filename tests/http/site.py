"""A data plane with one worker and http clients, driven by hand: bytes in, bytes out, and time as an argument."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iii_fast.contracts import HttpLimits, Limits, Route
from tests.model.harness import CallTuple, NativePlane, Plane, ReferencePlane

PLANES: dict[str, Callable[..., Plane]] = {"native": NativePlane, "reference": ReferencePlane}

Script = Callable[[Any], dict[str, Any]]
"""From the payload of an invocation to the members of its ``invocationresult``."""


def returns(value: Any) -> Script:
    """A function with a fixed result."""
    return lambda data: {"result": value}


def fails(code: str, message: str) -> Script:
    """A function that fails."""
    return lambda data: {"error": {"code": code, "message": message}}


@dataclass(frozen=True)
class Response:
    """One response as its client reads it; ``headers`` in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    line: str = ""

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        code: str = self.value["error"]["code"]
        return code


def read_responses(data: bytes, methods: list[str]) -> list[Response]:
    """Everything in ``data``, which must be whole responses to requests with these methods (the last one repeats)."""
    found: list[Response] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value) for name, _, value in (one.partition(": ") for one in lines)]
        status = int(line.split(" ")[1])
        method = methods[min(len(found), len(methods) - 1)]
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        if status < 200 or method == "HEAD":
            length = 0
        assert len(data) >= length, "the response is cut off"
        found.append(Response(status, headers, data[:length], line))
        data = data[length:]
    return found


@dataclass
class Site:
    """``functions`` answer at once; those that are registered and not in there are held until ``settle``."""

    plane: Plane
    functions: dict[str, Script] = field(default_factory=dict)
    invocations: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    now_ms: int = 0

    def __post_init__(self) -> None:
        self.worker = self.plane.connect()
        self.plane.sent(self.worker)
        self._route_ids = itertools.count(1)
        self._registered: set[str] = set()

    def say(self, **message: Any) -> None:
        self.plane.receive(self.worker, json.dumps(message))

    def route(self, path: str = "a", method: str = "GET", function_id: str = "f", **fields: Any) -> int:
        """Binds a route to a function of the worker."""
        if function_id not in self._registered:
            self._registered.add(function_id)
            self.say(type="registerfunction", id=function_id)
        route = Route(next(self._route_ids), method, path, function_id, **fields)
        self.plane.bind_route(route)
        return route.id

    def run(self) -> None:
        """Lets the worker answer what it was asked."""
        while messages := self.plane.sent(self.worker):
            for message in map(json.loads, messages):
                assert message["type"] == "invokefunction"
                self.invocations.append(message)
                if (script := self.functions.get(message["function_id"])) is None:
                    self.held.append(message)
                else:
                    self.reply(message, **script(message["data"]))

    def reply(self, message: dict[str, Any], **outcome: Any) -> None:
        self.say(
            type="invocationresult",
            invocation_id=message["invocation_id"],
            function_id=message["function_id"],
            **outcome,
        )

    def settle(self, **outcome: Any) -> None:
        """Answers the oldest invocation that is held."""
        self.reply(self.held.pop(0), **outcome)
        self.run()

    def client(self) -> Client:
        return Client(self, self.plane.http_connect())

    def ask(self, raw: bytes, method: str = "GET") -> Response:
        """One request on a connection of its own."""
        client = self.client()
        client.send(raw)
        [response] = client.responses(method)
        self.plane.http_lose(client.number)
        return response

    def get(self, path: str = "/a", *headers: str, method: str = "GET", body: bytes = b"") -> Response:
        return self.ask(request(path, *headers, method=method, body=body), method)

    def wait(self, ms: int) -> None:
        """Time goes on."""
        self.now_ms += ms
        self.plane.http_tick(self.now_ms)

    def calls(self) -> list[CallTuple]:
        return [call for call in self.plane.calls() if call[0] != "closed"]


@dataclass
class Client:
    """One http connection."""

    site: Site
    number: int
    closed: bool = False

    def send(self, data: bytes) -> None:
        self.site.plane.http_feed(self.number, data)
        self.site.run()

    def end(self) -> None:
        self.site.plane.http_end(self.number)
        self.site.run()

    def read(self) -> bytes:
        """What has come; also lets the worker answer what is begun by that."""
        taken = b""
        while True:
            data, self.closed = self.site.plane.http_take(self.number)
            taken += data
            self.site.run()
            if not data:
                return taken

    def responses(self, *methods: str) -> list[Response]:
        return read_responses(self.read(), list(methods) or ["GET"])


def request(path: str = "/a", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A request; with a body also its length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def small(**changes: int) -> Limits:
    """Limits that are easily reached."""
    given = {"head_bytes_max": 1024, "body_bytes_max": 100, "connections_max": 2} | changes
    return Limits(http=HttpLimits(**given))
