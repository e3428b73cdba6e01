"""The ``http`` trigger type: which routes it binds, and what it decides about requests, with scripted functions behind.

What requests and responses look like is in ``tests/http``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from iii_fast.contracts import Answered, HttpAnswer, Refused, Route
from iii_fast.errors import WireError
from iii_fast.triggers.http import HttpTrigger
from tests.engine.fake_backend import FakeBackend
from tests.triggers.bench import make, returns, trigger

REQUEST = {
    "method": "GET",
    "path_params": {"x": "7"},
    "query_params": {"q": "1"},
    "headers": {"x-h": "v"},
    "path": "a/:x",
    "body": None,
    "trigger": {"type": "http", "method": "GET", "path": "a/:x"},
    "request_body": {},
    "response": {},
}


@dataclass
class Bench:
    """A trigger type that runs above a fake backend."""

    backend: FakeBackend
    kind: HttpTrigger
    exchanges: int = 0

    def bind(self, function_id: str = "f", trigger_id: str = "t", **config: Any) -> Route:
        self.kind.bind(trigger("http", {"api_path": "a/:x"} | config, function_id, trigger_id, metadata=b'{"m":1}'))
        return list(self.backend.routes.values())[-1]

    async def decide(self, route: Route, left_ms: int = 1000) -> HttpAnswer | None:
        """What comes of a request: its answer, or ``None`` when its function is to be called."""
        self.exchanges += 1
        exchange = (1, self.exchanges)
        self.kind.requested(exchange, route.id, json.dumps(REQUEST).encode(), left_ms)
        await self.backend.decided.wait()
        self.backend.decided = trio.Event()
        [(answered, answer)] = self.backend.http
        self.backend.http.clear()
        assert answered == exchange
        return answer


@asynccontextmanager
async def running(
    functions: dict[str, Callable[..., Any]] | None = None, middleware: tuple[str, ...] = ()
) -> AsyncIterator[Bench]:
    backend, broker = make(functions)
    kind = HttpTrigger(broker, backend, middleware)
    async with trio.open_nursery() as nursery:
        await nursery.start(kind.run)
        yield Bench(backend, kind)
        nursery.cancel_scope.cancel()


# Config


@pytest.mark.parametrize("config", [None, {}, {"api_path": 5}, {"api_path": None}])
async def test_api_path_is_required(config: Any) -> None:
    async with running() as bench:
        with pytest.raises(WireError) as raised:
            bench.kind.bind(trigger("http", config))
        assert raised.value == WireError("trigger_registration_failed", "api_path is required for http triggers")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ([], "invalid type: array, expected an object"),
        ({"api_path": "a", "condition_function_id": 5}, "field `condition_function_id`: invalid type: number"),
        ({"api_path": "a", "middleware_function_ids": "x"}, "field `middleware_function_ids`: invalid type: string"),
        (
            {"api_path": "a", "middleware_function_ids": [None]},
            "field `middleware_function_ids[0]`: invalid type: null",
        ),
    ],
)
async def test_bad_configs_are_refused_and_bind_nothing(config: Any, text: str) -> None:
    async with running() as bench:
        with pytest.raises(WireError) as raised:
            bench.kind.bind(trigger("http", config))
        assert text in raised.value.message
        assert bench.backend.routes == {}


async def test_what_the_backend_refuses_is_not_bound() -> None:
    async with running() as bench:
        bench.backend.refuses = WireError("trigger_registration_failed", "no")
        with pytest.raises(WireError, match="no"):
            bench.bind()
        bench.backend.refuses = None
        route = bench.bind()
        bench.kind.unbind(trigger("http", None))
        assert bench.backend.routes == {}
        assert await bench.decide(route) == Refused(404, "NOT_FOUND", "Not Found"), "it came up before it was unbound"


@pytest.mark.parametrize(("method", "served"), [("post", "POST"), (None, "GET"), (5, "GET")])
async def test_method_is_case_insensitive_and_get_by_default(method: Any, served: str) -> None:
    async with running() as bench:
        assert bench.bind(http_method=method) == Route(1, served, "a/:x", "f", b'{"m":1}', direct=True)


async def test_other_methods_are_accepted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as bench:
        assert bench.bind(http_method="BREW").method == "BREW"
        assert "never served" in caplog.text


@pytest.mark.parametrize(
    ("function_id", "config", "direct"),
    [
        ("f", {}, True),
        ("f", {"middleware_function_ids": []}, True),
        ("f", {"middleware_function_ids": ["m"]}, False),
        ("f", {"condition_function_id": "c"}, False),
        ("f", {"_condition_path": "c"}, False),
        ("own", {}, False),
        ("state::get", {}, False),
    ],
)
async def test_a_route_with_nothing_but_a_workers_function_is_direct(
    function_id: str, config: dict[str, Any], direct: bool
) -> None:
    async with running({"own": lambda call: None}) as bench:
        assert bench.bind(function_id, **config).direct is direct


# Conditions and middleware


async def test_a_condition_sees_the_request_without_channels_and_false_is_422(autojump_clock: MockClock) -> None:
    async with running() as bench:
        bench.backend.scripts["c"] = returns(False)
        answer = await bench.decide(bench.bind(condition_function_id="c"))
        assert isinstance(answer, Answered)
        assert json.loads(answer.result or b"") == {
            "status_code": 422,
            "body": {
                "error": {"code": "CONDITION_NOT_MET", "message": "Request condition not met"},
                "skipped": True,
            },
        }
        [asked] = bench.backend.invocations
        assert asked.value == {name: REQUEST[name] for name in REQUEST if name not in ("request_body", "response")}


async def test_a_true_condition_lets_pass_and_a_failing_one_is_500(autojump_clock: MockClock) -> None:
    async with running() as bench:
        bench.backend.scripts["c"] = returns(True)
        route = bench.bind(condition_function_id="c")
        assert await bench.decide(route) is None
        bench.backend.scripts["c"] = lambda data: WireError("C", "m")
        assert await bench.decide(route) == Refused(500, "C", "m")


@pytest.mark.parametrize("result", [None, {"action": "continue"}, {}, 5, {"action": None}])
async def test_middleware_runs_in_order_before_the_handler(result: Any, autojump_clock: MockClock) -> None:
    async with running() as bench:
        bench.backend.scripts |= {"m1": returns(result), "m2": returns(result)}
        assert await bench.decide(bench.bind(middleware_function_ids=["m1", "m2"])) is None
        assert [one.function_id for one in bench.backend.invocations] == ["m1", "m2"]
        facts = {name: REQUEST[name] for name in ("method", "path_params", "query_params", "headers")}
        assert bench.backend.invocations[0].value == {"phase": "preHandler", "request": facts, "context": {}}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (
            {"action": "respond", "response": {"status_code": 401, "body": [1]}},
            {"status_code": 401, "body": [1]},
        ),
        ({"action": "respond"}, {}),
    ],
)
async def test_middleware_may_respond_itself(result: Any, told: Any, autojump_clock: MockClock) -> None:
    async with running() as bench:
        bench.backend.scripts["m"] = returns(result)
        answer = await bench.decide(bench.bind(middleware_function_ids=["m", "never"]))
        assert isinstance(answer, Answered)
        assert (json.loads(answer.result or b""), answer.document) == (told, True)
        assert [one.function_id for one in bench.backend.invocations] == ["m"]


async def test_global_middleware_comes_before_the_condition_and_the_routes_own(autojump_clock: MockClock) -> None:
    async with running(middleware=("g1", "g2")) as bench:
        bench.backend.scripts |= {name: returns(None) for name in ("g1", "g2", "m", "c")}
        plain = bench.bind()
        assert not plain.direct
        assert await bench.decide(plain) is None
        assert [one.function_id for one in bench.backend.invocations] == ["g1", "g2"]
        bench.backend.invocations.clear()
        assert (
            await bench.decide(bench.bind(trigger_id="u", condition_function_id="c", middleware_function_ids=["m"]))
            is None
        )
        assert [one.function_id for one in bench.backend.invocations] == ["g1", "g2", "c", "m"]
        bench.backend.invocations.clear()
        bench.backend.scripts["g1"] = returns({"action": "respond", "response": {"status_code": 401}})
        answer = await bench.decide(plain)
        assert isinstance(answer, Answered)
        assert json.loads(answer.result or b"") == {"status_code": 401}
        bench.backend.scripts["g1"] = lambda data: WireError("C", "m")
        assert await bench.decide(plain) == Refused(500, "C", "m")
        assert [one.function_id for one in bench.backend.invocations] == ["g1", "g1"]


async def test_an_unknown_middleware_action_fails_closed(autojump_clock: MockClock) -> None:
    async with running() as bench:
        bench.backend.scripts["m"] = returns({"action": "deny"})
        answer = await bench.decide(bench.bind(middleware_function_ids=["m"]))
        assert isinstance(answer, Refused)
        assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"middleware_function_ids": ["slow"]}, "MIDDLEWARE_TIMEOUT"),
        ({"condition_function_id": "slow"}, "TIMEOUT"),
    ],
)
async def test_what_hangs_is_504_when_the_requests_time_is_up(
    config: dict[str, Any], code: str, autojump_clock: MockClock
) -> None:
    async with running() as bench:
        bench.backend.held.add("slow")
        start = trio.current_time()
        answer = await bench.decide(bench.bind(**config), left_ms=700)
        assert isinstance(answer, Refused)
        assert (answer.status, answer.code) == (504, code)
        assert trio.current_time() - start == pytest.approx(0.7, abs=0.02)
        assert bench.backend.forgotten == [1]


async def test_a_client_that_leaves_ends_the_deciding(autojump_clock: MockClock) -> None:
    async with running() as bench:
        bench.backend.held.add("c")
        route = bench.bind(condition_function_id="c")
        for exchange in ((1, 1), (2, 1)):
            bench.kind.requested(exchange, route.id, b"{}", 1000)
        bench.kind.left((1, 1))
        await trio.testing.wait_all_tasks_blocked()
        assert len(bench.backend.forgotten) == 1
        bench.kind.left((2, 1))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(bench.backend.forgotten) == [1, 2]
        assert bench.backend.http == []


async def test_functions_of_the_engine_are_called_from_here(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    def own(call: Any) -> bytes:
        seen.append((json.loads(call.data), call.metadata))
        return b'{"body":1}'

    async with running({"own": own}) as bench:
        assert await bench.decide(bench.bind("own")) == Answered(b'{"body":1}')
        assert seen == [(REQUEST, b'{"m":1}')]
        bench.backend.scripts["state::get"] = returns(5)
        assert await bench.decide(bench.bind("state::get", "u")) == Answered(b"5")


async def test_a_bug_of_ours_is_500_and_the_next_request_is_served(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as bench:
        bench.backend.scripts["c"] = lambda data: 1 / 0  # type: ignore[arg-type, return-value]
        route = bench.bind(condition_function_id="c")
        with caplog.at_level(logging.ERROR):
            answer = await bench.decide(route)
        assert isinstance(answer, Refused)
        assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
        assert "ZeroDivisionError" in caplog.text
        bench.backend.scripts["c"] = returns(True)
        assert await bench.decide(route) is None
