"""The same programs of ``state::*`` on state in Redis and on state in memory: every answer is the same text.

Calls come in both codecs. Nothing in them depends on time: entries expire never, long ago, or in the far future. So
versions, insertion numbers and cursors are the same as well.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator
from typing import Any, Final

import msgpack
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import EngineProcess
from tests.support.raw_client import BINARY, RawClient, connect, encode_frame
from tests.support.redis_server import RedisServer

SCOPES: Final = ("a", 'b"\n', "ü:1")
KEYS: Final = ("k", "k2", "", "key\\3", "0", "\x00\x01")
FAR: Final = 9_000_000_000_000
PAST: Final = 1_000

Call = tuple[str, dict[str, Any], bool]
"""A function, its input, and whether it is called in msgpack (if that has all of the input)."""

scopes = st.sampled_from(SCOPES)
keys = st.sampled_from(KEYS)
leaves = st.sampled_from(
    [None, True, 0, -1, 1.0, 1e300, 2**64 - 1, 10**400 - 1, "", 'é"\\ 1 2 3 ', [], {}, {"n": 1}, {"n": 1.0}, [[], {}]]
)
foreign = st.sampled_from([b"x", [float("nan")], {"n": {1: b""}}, msgpack.Timestamp(3)])
"""What JSON does not have."""
values = st.one_of(leaves, st.dictionaries(st.sampled_from(["n", "m", "", "l"]), leaves, max_size=3), st.integers())
places = st.fixed_dictionaries({"scope": scopes, "key": keys})
expiry = st.sampled_from([{}, {}, {}, {"expires_at": FAR}, {"expires_at": PAST}, {"expires_at": 0}])
operation = st.one_of(
    st.builds(
        lambda path, by: {"type": "increment", "path": path, "by": by}, st.sampled_from(["n", "m"]), st.integers(-5, 5)
    ),
    st.builds(lambda path, value: {"type": "set", "path": path, "value": value}, st.sampled_from(["n", "x"]), leaves),
    st.builds(lambda path: {"type": "remove", "path": path}, st.sampled_from(["n", "m", "x"])),
    st.builds(lambda value: {"type": "append", "path": "l", "value": value}, leaves),
    st.builds(lambda value: {"type": "merge", "value": value}, st.sampled_from([{}, {"m": 2}, {"n": []}])),
)
operations = st.lists(operation, min_size=1, max_size=3)


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {name: value for part in found for name, value in part.items()})


def member(name: str, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return strategy.map(lambda value: {name: value})


versions = st.integers(1, 60)
sets = joined(places, member("value", values), expiry)
updates = joined(places, member("ops", operations), expiry)
checks = joined(places, st.one_of(member("version", versions), st.just({"absent": True})))
steps = st.one_of(
    joined(st.just({"type": "set"}), sets),
    joined(st.just({"type": "update"}), updates),
    joined(st.just({"type": "delete"}), places),
)
prefixes = st.sampled_from([{}, {}, {"prefix": "k"}, {"prefix": "z"}])
cursors = st.sampled_from([{}, {}, {"cursor": "c1"}, {"cursor": "c7"}, {"cursor": "c100000"}, {"cursor": "x"}])
bounds = st.sampled_from(
    [{}, {"limit": 1}, {"limit": 2}, {"max_bytes": 30}, {"max_bytes": 12, "limit": 3}, {"limit": 0}]
)
conditions = st.one_of(st.just({}), member("expected", values), member("version", versions))
own = member("scope", scopes)


def calls(name: str, data: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Call]:
    return st.tuples(data, st.booleans()).map(lambda found: (f"state::{name}", *found))


call = st.one_of(
    calls("get", places),
    calls("get", joined(places, st.just({"meta": True}))),
    calls("set", sets),
    calls("set", sets),
    joined(places, member("value", foreign), expiry).map(lambda data: ("state::set", data, True)),
    calls("delete", places),
    calls("list", own),
    calls("list_groups", st.just({})),
    calls("update", updates),
    calls("get_many", joined(own, member("keys", st.lists(places, min_size=1, max_size=4)))),
    calls("get_many", st.just({"scope": "a", "meta": True, "keys": [{"key": key} for key in KEYS]})),
    calls("list_keys", joined(own, prefixes)),
    calls("list_entries", joined(own, prefixes, cursors, bounds)),
    calls("compare-and-set", joined(places, member("value", values), conditions, expiry)),
    calls("set_many", member("entries", st.lists(sets, min_size=1, max_size=4))),
    calls("delete_many", member("keys", st.lists(places, min_size=1, max_size=4))),
    calls("delete_scope", own),
    calls("transact", member("ops", st.lists(steps, min_size=1, max_size=5))),
    calls(
        "transact", joined(member("checks", st.lists(checks, max_size=2)), member("ops", st.lists(steps, max_size=5)))
    ),
)
programs = st.lists(call, min_size=5, max_size=30)


@pytest.fixture(scope="module")
def pair() -> Generator[tuple[EngineProcess, EngineProcess]]:
    """An engine on a Redis server of its own, and one in memory, with the same quotas."""
    quotas = "    max_key_bytes: 40\n    max_value_bytes: 300\n"
    with RedisServer() as server, server.engine(more=quotas) as there, _in_memory(server, quotas) as here:
        yield there, here


def _in_memory(server: RedisServer, quotas: str) -> EngineProcess:
    path = server.path("memory.yaml")
    path.write_text(f"workers:\n- name: iii-state\n  config:\n    adapter: {{name: kv}}\n{quotas}")
    return EngineProcess("native", "-c", str(path), "--in-memory")


async def answer(client: RawClient, name: str, data: Any, packed: bool = False) -> bytes:
    """The whole message."""
    message = {"type": "invokefunction", "invocation_id": "x", "function_id": name, "data": data}
    try:
        encoded = msgpack.packb(message) if packed else None
    except OverflowError:  # an integer beyond 64 bits
        encoded = None
    if encoded is None:
        await client.send_text(json.dumps(message))
    else:
        await client.send_raw(encode_frame(BINARY, encoded))
    return (await client.receive_message()).payload


async def position(client: RawClient) -> int:
    """That of a write which is made for it."""
    result = json.loads(await answer(client, "state::delete_scope", {"scope": "at"}))["result"]
    result = json.loads(await answer(client, "state::set_many", {"scope": "at", "entries": [{"key": "", "value": 0}]}))
    version: int = result["result"]["version"]
    return version


async def align(one: RawClient, other: RawClient) -> None:
    """Brings both to the same position, should a program that failed have left them apart."""
    while (gap := await position(one) - await position(other)) != 0:
        entries = [{"key": "", "value": 0}] * min(abs(gap), 1000)
        await answer(other if gap > 0 else one, "state::set_many", {"scope": "at", "entries": entries})


async def run(there: EngineProcess, here: EngineProcess, program: list[Call]) -> None:
    with trio.fail_after(ANSWER_S):
        async with connect(there.worker) as one, connect(here.worker) as other:
            for scope in SCOPES:
                for client in (one, other):
                    await answer(client, "state::delete_scope", {"scope": scope})
            await align(one, other)
            for call in program:
                assert await answer(one, *call) == await answer(other, *call), call
            for scope, packed in itertools.product(SCOPES, (False, True)):
                listing: Call = ("state::list_entries", {"scope": scope}, packed)
                assert await answer(one, *listing) == await answer(other, *listing)


@pytest.mark.deadline(120)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
def test_every_answer_is_the_same(pair: tuple[EngineProcess, EngineProcess], program: list[Call]) -> None:
    trio.run(run, *pair, program)


TEXTS: Final = [
    "[]",
    "{}",
    '{"a":[],"b":{},"c":[{}]}',
    "18446744073709551615",
    "-9223372036854775808",
    "9" * 400,
    "1E400",
    "-0.0",
    "1.10",
    '"\\u0041\\/"',
    '{"a":1,"a":2}',
    "[ 1 , 2 ]",
]


@pytest.mark.parametrize("text", TEXTS)
async def test_a_value_comes_back_as_its_text(engine: EngineProcess, text: str) -> None:
    head = '{"type":"%s","invocation_id":"1","function_id":"state::%s"'
    place = f'"scope":"texts","key":{json.dumps(text)}'
    async with connect(engine.worker) as client:
        await client.send_text(f'{head % ("invokefunction", "set")},"data":{{{place},"value":{text}}}}}')
        await client.receive_message()
        await client.send_text(f'{head % ("invokefunction", "get")},"data":{{{place}}}}}')
        expected = f'{head % ("invocationresult", "get")},"result":{text}}}'
        assert (await client.receive_message()).payload.decode() == expected
