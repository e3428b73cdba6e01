"""The broker: every ticket ends once, and nothing is left behind."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from tests.triggers.bench import make, returns


async def test_a_result_comes_back_with_what_was_sent_along() -> None:
    backend, broker = make()
    backend.scripts["f"] = returns({"n": 1})
    assert await broker.invoke("f", b'{"a":1}', metadata=b'{"m":2}') == b'{"n": 1}'
    assert backend.invocations[0].data == b'{"a":1}'
    assert backend.invocations[0].metadata == b'{"m":2}'
    assert broker.waiting == 0


async def test_no_result_is_none_and_errors_are_raised_whole() -> None:
    backend, broker = make()
    backend.scripts["nothing"] = lambda data: None
    backend.scripts["broken"] = lambda data: WireError("C", "m", "stack")
    assert await broker.invoke("nothing", b"null") is None
    with pytest.raises(WireError) as raised:
        await broker.invoke("broken", b"null")
    assert (raised.value.code, raised.value.message, raised.value.stacktrace) == ("C", "m", "stack")


async def test_time_out_forgets_the_ticket_and_a_late_result_is_dropped(autojump_clock: MockClock) -> None:
    backend, broker = make()
    backend.held.add("f")
    with pytest.raises(WireError) as raised:
        await broker.invoke("f", b"null", timeout_s=1.5)
    assert raised.value == WireError(Code.TIMEOUT, "invocation timed out after 1500ms")
    assert trio.current_time() == pytest.approx(1.5)
    ticket = backend.invocations[0].ticket
    assert backend.forgotten == [ticket]
    backend.settled(ticket, b"late")
    assert broker.waiting == 0


async def test_cancelling_forgets_the_ticket() -> None:
    backend, broker = make()
    backend.held.add("f")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.invoke, "f", b"null")
            await backend.wait_for_invocations(1)
            scope.cancel()
    assert backend.forgotten == [backend.invocations[0].ticket]
    assert broker.waiting == 0


async def test_begin_sends_before_it_returns() -> None:
    backend, broker = make()
    backend.held.add("f")
    pending = [broker.begin("f", str(number).encode(), traceparent="t", baggage="b") for number in range(20)]
    assert [one.value for one in backend.invocations] == list(range(20))
    assert (backend.invocations[0].traceparent, backend.invocations[0].baggage) == ("t", "b")
    for number, invocation in reversed(list(enumerate(backend.invocations))):
        backend.settled(invocation.ticket, str(number).encode())
    assert [await one.outcome() for one in pending] == [str(number).encode() for number in range(20)]


async def test_own_functions_are_called_on_the_spot() -> None:
    def own(call: object) -> bytes:
        raise WireError("NO", "not today")

    backend, broker = make({"own": own, "echo": lambda call: call.data})
    assert await broker.invoke("echo", b"[1]") == b"[1]"
    with pytest.raises(WireError, match="not today"):
        await broker.invoke("own", b"null")
    assert backend.invocations == []


async def test_a_bug_in_an_own_function_is_an_error_of_that_call_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    _, broker = make({"own": lambda call: 1 / 0})  # type: ignore[dict-item, return-value]
    with pytest.raises(WireError) as raised:
        await broker.invoke("own", b"null")
    assert raised.value.code == Code.INTERNAL_ERROR
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("result", "allowed"),
    [
        (b"false", False),
        (b" false ", False),
        (b"true", True),
        (b"null", True),
        (b"0", True),
        (b'""', True),
        (None, True),
    ],
)
async def test_only_the_boolean_false_denies(result: bytes | None, allowed: bool) -> None:
    backend, broker = make()
    backend.scripts["c"] = lambda data: result
    assert await broker.allows("c", b"{}") is allowed


async def test_no_condition_allows_and_a_failing_one_raises() -> None:
    _, broker = make()
    assert await broker.allows(None, b"{}") is True
    with pytest.raises(WireError) as raised:
        await broker.allows("missing", b"{}")
    assert raised.value.code == Code.FUNCTION_NOT_FOUND
