"""A connection on which many calls are under way at a time, each with a task that waits for its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import trio

from tests.support.deadlines import ANSWER_S
from tests.support.raw_client import ClosedByEngine, RawClient, connect


class Lost(Exception):  # noqa: N818 - an outcome that tests expect, not a fault of the test
    """The connection has ended before the answer came: nobody knows what became of the call."""


class Refused(Exception):  # noqa: N818 - as above
    """The engine answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Pending:
    """A call that was sent."""

    def __init__(self) -> None:
        self._heard = trio.Event()
        self._message: dict[str, Any] | None = None

    def settle(self, message: dict[str, Any] | None) -> None:
        """The connection's side: the answer, or ``None`` when there will be none."""
        self._message = message
        self._heard.set()

    async def answer(self) -> Any:
        """The result, ``None`` without one. Raises ``Refused`` and ``Lost``."""
        with trio.fail_after(ANSWER_S):
            await self._heard.wait()
        if self._message is None:
            raise Lost
        error = self._message.get("error")
        if error is not None:
            raise Refused(error["code"], error["message"])
        return self._message.get("result")


class Pipelined:
    """One connection. Calls leave in the order of ``begin``."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._numbers = count()
        self._pending: dict[str, Pending] = {}
        self._lost = False

    async def begin(self, function_id: str, data: Any) -> Pending:
        """Sends a call and does not wait for its answer. Raises ``Lost``: it was not sent, or not whole."""
        invocation_id = f"call-{next(self._numbers)}"
        pending = self._pending[invocation_id] = Pending()
        if self._lost:
            raise Lost
        try:
            await self._client.send("invokefunction", invocation_id=invocation_id, function_id=function_id, data=data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Lost from None
        return pending

    async def call(self, function_id: str, data: Any) -> Any:
        """Sends a call and waits for its answer. Raises ``Refused`` and ``Lost``."""
        return await (await self.begin(function_id, data)).answer()

    async def read(self) -> None:
        """Settles calls until the connection ends."""
        try:
            while True:
                message = await self._client.receive()
                assert message["type"] == "invocationresult", message
                self._pending.pop(message["invocation_id"]).settle(message)
        except (ClosedByEngine, trio.ClosedResourceError):
            self._lost = True
            await self._client.stream.aclose()  # the engine waits for that when it ends
            for pending in self._pending.values():
                pending.settle(None)


@asynccontextmanager
async def pipelined(address: tuple[str, int]) -> AsyncGenerator[Pipelined]:
    """A connection that is read while the context lasts."""
    async with connect(address) as client, trio.open_nursery() as nursery:
        connection = Pipelined(client)
        nursery.start_soon(connection.read)
        yield connection
        nursery.cancel_scope.cancel()
