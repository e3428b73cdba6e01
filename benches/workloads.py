"""The one source of workloads, for the load generator (as its arguments) and for the in-process benchmarks.

Everything random has a fixed seed. May touch nothing but the standard library.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

SEED: Final = 20_260_101
SCOPE: Final = "bench"
VALUE_BYTES: Final = 100
GET_PERCENT: Final = 90
KEYS: Final = 10_000
HTTP, HTTP_MEMORY = "http", "http-memory"
"""Subcommands that speak http with the server."""
NAME_OPTIONS: Final = {"relay": "--prefix", "events": "--prefix", HTTP: "--path", "memory": None, HTTP_MEMORY: None}
"""What keeps two runs against one engine apart, where it is not ``--scope``."""
OPTIONS: Final = (
    "connections",
    "in_flight",
    "value_bytes",
    "keys",
    "get_percent",
    "ops",
    "first_key",
    "draw",
    "codec",
    "routes",
)
TIMED: Final = frozenset({"state", "large", "list", "relay", "events", HTTP})


@dataclass(frozen=True, slots=True)
class Workload:
    """Arguments of one subcommand of the load generator.

    ``ops`` ends the measured phase after so many invocations; without it the phase has the length the runner gives.
    ``None`` leaves an argument out.
    """

    name: str
    command: str
    connections: int
    in_flight: int | None = None
    value_bytes: int | None = None
    keys: int | None = None
    get_percent: int | None = None
    ops: int | None = None
    first_key: int | None = None
    draw: str | None = None
    codec: str | None = None
    routes: int | None = None

    def arguments(self, scope: str) -> list[str]:
        """The command line, without address and duration. ``scope`` keeps runs against one engine apart."""
        words = [self.command, *(("--seed", str(SEED)) if self.command != HTTP_MEMORY else ())]
        for option in OPTIONS:
            value = getattr(self, option)
            if value is not None:
                words += ["--" + option.replace("_", "-"), str(value)]
        name = NAME_OPTIONS.get(self.command, "--scope")
        if name is not None:
            words += [name, scope]
        return words

    def live_bytes(self, scope: str) -> int:
        """Bytes of what is stored: scope's name, key and value of each entry."""
        return (self.keys or 0) * (len(scope) + len(key(0)) + (self.value_bytes or 0))

    @property
    def timed(self) -> bool:
        """Whether the runner gives the length of its measured phase."""
        return self.ops is None and self.command in TIMED

    def tiny(self) -> Workload:
        """The same code with inputs small enough for a test. By number: no time is too short on a busy machine."""
        keys = None if self.keys is None else max(min(self.keys, 500), self.connections)
        ops = 200 if self.timed else None if self.ops is None else 2_000
        routes = None if self.routes is None else min(self.routes, 20)
        return replace(self, keys=keys, ops=ops, connections=min(self.connections, 64), routes=routes)


def _state(connections: int, in_flight: int) -> Workload:
    name = f"state {connections}x{in_flight}"
    return Workload(name, "state", connections, in_flight, VALUE_BYTES, KEYS, GET_PERCENT)


STATE_16X16: Final = _state(16, 16)
STATE_1X1: Final = _state(1, 1)
STATE_1X1_BARE: Final = replace(STATE_1X1, name="state 1x1, against the limit")
STATE_16X1: Final = _state(16, 1)
STATE_256X1: Final = _state(256, 1)
STATE_ZIPF: Final = replace(STATE_16X16, name="state 16x16, zipf", draw="zipf")
STATE_HALF_SETS: Final = replace(STATE_16X16, name="state 16x16, half sets, zipf", draw="zipf", get_percent=50)
STATE_1_KIB: Final = replace(STATE_16X16, name="1 KiB values 16x16", value_bytes=1 << 10)
CURVE: Final = [
    replace(_state(connections, in_flight), name=f"curve {connections}x{in_flight}")
    for connections, in_flight in ((1, 1), (4, 1), (16, 1), (16, 4), (16, 16), (16, 64))
]
"""More and more invocations in flight: throughput against latency."""
STATE_16X16_OLDER: Final = replace(STATE_16X16, name="state 16x16 again")
RELAY_16X16: Final = Workload("relay 16x16", "relay", 16, 16, VALUE_BYTES)
RELAY_TEN_MILLION: Final = replace(RELAY_16X16, name="relay, ten million", ops=10_000_000)
LARGE_16_KIB: Final = Workload("16 KiB values 16x4", "large", 16, 4, 16 << 10, 256, GET_PERCENT)
LARGE_1_MIB: Final = Workload("1 MiB values 4x2", "large", 4, 2, 1 << 20, 32, GET_PERCENT)
EVENTS_16X16: Final = Workload("state events 16x16", "events", 16, 16, VALUE_BYTES)
EVENTS_1X1: Final = Workload("state events 1x1", "events", 1, 1, VALUE_BYTES)
GETS_16_KIB: Final = replace(LARGE_16_KIB, name="gets of 16 KiB 16x4", get_percent=100)
GETS_1_MIB: Final = replace(LARGE_1_MIB, name="gets of 1 MiB 4x2", get_percent=100)
FILL_MILLION: Final = Workload("one million keys", "fill", 16, 16, VALUE_BYTES, 1_000_000)
GIGABYTE_OF_4_KIB: Final = Workload("1 GB of 4 KiB values", "fill", 16, 16, 4 << 10, 250_000)
FIVE_MILLION: Final = Workload("5 million entries", "fill", 16, 16, VALUE_BYTES, 5_000_000)
SETS_64X16: Final = Workload("sets 64x16", "state", 64, 16, VALUE_BYTES, KEYS, 0)
SETS_16X16: Final = Workload("sets 16x16", "state", 16, 16, VALUE_BYTES, KEYS, 0)
SETS_1X1: Final = Workload("sets 1x1", "state", 1, 1, VALUE_BYTES, 64, 0)
SETS_DURING_SNAPSHOTS: Final = replace(GIGABYTE_OF_4_KIB, command="state", in_flight=1, get_percent=0)
SOAK_100_BYTES: Final = Workload("soak, 100-byte values", "state", 16, 16, VALUE_BYTES, 1_000_000, 0)
SOAK_4_KIB: Final = Workload("soak, 4 KiB values", "state", 16, 16, 4 << 10, 250_000, 0)
RUNNING: Final = [
    replace(workload, name=f"{workload.name}, running engine")
    for workload in (STATE_16X16, STATE_1X1, STATE_ZIPF, LARGE_16_KIB, LARGE_1_MIB, RELAY_16X16, EVENTS_16X16)
]
"""What any engine is measured with that runs already."""
HTTP_GETS: Final = [Workload(f"http GET, {connections}", HTTP, connections) for connections in (1, 8, 32, 128)]
"""By connections, each with one request under way."""
HTTP_128: Final = HTTP_GETS[-1]
HTTP_ROUTES: Final = replace(HTTP_128, name="http GET, 128, among routes")
LIST_100: Final = Workload("list of 100 values 16x4", "list", 16, 4, VALUE_BYTES, 100)
LIST_10_000: Final = Workload("list of 10,000 values 1x1", "list", 1, 1, VALUE_BYTES, 10_000)
STATE_CODECS: Final = replace(STATE_16X16, name="state 16x16, codecs")
FROM_PYTHON: Final = Workload("state calls from Python", "python", 1, 1)
"""Not of the load generator (``python_client.py``)."""
MAP: Final = Workload("map, one call from Python each", "in-process", 1)
SESSION: Final = Workload("session, bytes to bytes", "in-process", 1)
"""Not of the load generator (``layers.py``)."""
IDLE: Final = Workload("idle connections", "memory", 4_000)
IDLE_HTTP: Final = Workload("idle http connections", HTTP_MEMORY, 4_000)
WARMUP_CONNECTIONS: Final = 20


def at_level(workload: Workload, level: str) -> Workload:
    """The same, called after the durability that it is measured at."""
    return replace(workload, name=f"{workload.name}, {level}")


def key(number: int) -> str:
    """The name of a key, as the load generator spells it."""
    return f"key-{number:08x}"


def value(number: int, version: int, size: int = VALUE_BYTES) -> bytes:
    """JSON text of exactly ``size`` bytes (48 or more), with the members of the load generator's values."""
    head = f'{{"id":"{number:08x}","version":"{version:08x}","data":"'
    letters = random.Random(SEED + number * 1_000 + version).choices(string.ascii_lowercase, k=size - len(head) - 2)
    return f'{head}{"".join(letters)}"}}'.encode()


@dataclass(frozen=True, slots=True)
class Operation:
    """One state call: a get, or a set of ``value``."""

    scope: str
    key: str
    value: bytes | None

    @property
    def function_id(self) -> str:
        """The function that does it."""
        return "state::get" if self.value is None else "state::set"

    @property
    def data(self) -> bytes:
        """Its ``data``, JSON text."""
        head = f'{{"scope":"{self.scope}","key":"{self.key}"'.encode()
        return head + (b"}" if self.value is None else b',"value":' + self.value + b"}")


ZIPF_SKEW: Final = 0.99
"""As the load generator has it: the n-th key is drawn with a frequency of 1 / n^0.99."""


def operations(
    count: int, keys: int = 1_000, get_percent: int = GET_PERCENT, draw: str = "uniform", size: int = VALUE_BYTES
) -> Iterator[Operation]:
    """First every key is set once, then ``count`` gets and sets of random keys."""
    for number in range(keys):
        yield Operation(SCOPE, key(number), value(number, 0, size))
    choices = random.Random(SEED)
    skew = ZIPF_SKEW if draw == "zipf" else 0.0
    sums = list(itertools.accumulate((number + 1) ** -skew for number in range(keys)))
    for version, number in enumerate(choices.choices(range(keys), cum_weights=sums, k=count)):
        is_get = choices.randrange(100) < get_percent
        yield Operation(SCOPE, key(number), None if is_get else value(number, version + 1, size))


def invocation_id(number: int) -> str:
    """The id of an invocation: a UUID in canonical form."""
    return str(UUID(int=(number << 80) | SEED, version=4))


def invocation(operation: Operation, number: int) -> bytes:
    """The wire message of an operation; ``number`` makes its id."""
    head = (
        f'{{"type":"invokefunction","invocation_id":"{invocation_id(number)}","function_id":"{operation.function_id}"'
    )
    return head.encode() + b',"data":' + operation.data + b"}"
