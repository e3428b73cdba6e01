"""Much at once: a client is paused, never cut off, and nothing in the engine grows with it."""

from __future__ import annotations

import json
from typing import Final

import trio

from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import EngineProcess
from tests.support.raw_client import RawClient, connect

LARGE_BYTES: Final = 1_000_000
ASKED: Final = 300
"""More bytes in all than the engine lets wait for one connection (``outbox_bytes_max``)."""
SMALL_ASKED: Final = 40_000
"""More calls than may wait for Redis."""


async def ask(client: RawClient, key: str, count: int) -> None:
    data = json.dumps({"scope": "much", "key": key})
    for number in range(count):
        await client.send_text(
            f'{{"type":"invokefunction","invocation_id":"{number}","function_id":"state::get","data":{data}}}'
        )


async def read(client: RawClient, count: int, at_least_bytes: int) -> None:
    """Every answer comes, in the order of the calls."""
    for number in range(count):
        payload = (await client.receive_message()).payload
        assert payload.startswith(f'{{"type":"invocationresult","invocation_id":"{number}"'.encode())
        assert len(payload) > at_least_bytes, payload


async def test_large_answers_come_as_fast_as_they_are_read(engine: EngineProcess) -> None:
    with trio.fail_after(6 * ANSWER_S):
        async with connect(engine.worker) as client:
            await client.call("state::set", {"scope": "much", "key": "large", "value": "x" * LARGE_BYTES})
            # All of them before the first answer is read: they fit into the sockets' buffers.
            await ask(client, "large", ASKED)
            await read(client, ASKED, LARGE_BYTES)


async def test_more_calls_than_may_wait_for_redis_are_all_answered(other: EngineProcess) -> None:
    with trio.fail_after(6 * ANSWER_S):
        async with connect(other.worker) as client, trio.open_nursery() as nursery:
            await client.call("state::set", {"scope": "much", "key": "small", "value": 1})
            nursery.start_soon(ask, client, "small", SMALL_ASKED)
            await read(client, SMALL_ASKED, 0)
