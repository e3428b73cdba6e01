"""The ``http`` trigger type: requests in, responses out, with scripted functions behind."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from iii_fast.config import HttpSettings
from iii_fast.errors import WireError
from iii_fast.http_message import HttpRequest, HttpResponse
from iii_fast.triggers.http import HttpTrigger
from tests.engine.fake_backend import FakeBackend
from tests.triggers.bench import make, returns, trigger


def http(**settings: Any) -> tuple[FakeBackend, HttpTrigger]:
    backend, broker = make()
    return backend, HttpTrigger(broker, HttpSettings(**settings))


def request(method: str = "GET", path: str = "/a", body: bytes = b"", query: str = "", **headers: str) -> HttpRequest:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpRequest(method, path, query, named, body)


def error(response: HttpResponse) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.body)["error"]
    return body


def header(response: HttpResponse, name: str) -> list[str]:
    return [value for key, value in response.headers if key == name]


# Config


@pytest.mark.parametrize("config", [None, {}, {"api_path": 5}, {"api_path": None}])
def test_api_path_is_required(config: Any) -> None:
    _, kind = http()
    with pytest.raises(WireError) as raised:
        kind.bind(trigger("http", config))
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
        ({"api_path": "a/*x"}, "wildcard segments such as `*x` are not supported"),
    ],
)
async def test_bad_configs_are_refused_and_bind_nothing(config: Any, text: str) -> None:
    _, kind = http()
    with pytest.raises(WireError) as raised:
        kind.bind(trigger("http", config))
    assert text in raised.value.message
    assert (await kind.handle(request())).status == 404


@pytest.mark.parametrize(("method", "served"), [("post", "POST"), (None, "GET"), (5, "GET")])
async def test_method_is_case_insensitive_and_get_by_default(method: Any, served: str) -> None:
    backend, kind = http()
    backend.scripts["f"] = returns({"body": 1})
    kind.bind(trigger("http", {"api_path": "a", "http_method": method}))
    assert (await kind.handle(request(served))).status == 200


async def test_other_methods_are_accepted_and_never_served(caplog: pytest.LogCaptureFixture) -> None:
    backend, kind = http()
    backend.scripts["f"] = returns({"body": 1})
    kind.bind(trigger("http", {"api_path": "a", "http_method": "BREW"}))
    assert "never served" in caplog.text
    response = await kind.handle(request("BREW"))
    assert (response.status, header(response, "allow")) == (405, ["OPTIONS"])
    kind.bind(trigger("http", {"api_path": "a", "http_method": "PUT"}, trigger_id="u"))
    assert header(await kind.handle(request("BREW")), "allow") == ["OPTIONS, PUT"]


# Request object


async def test_the_request_object() -> None:
    backend, kind = http()
    backend.scripts["f"] = returns({})
    kind.bind(trigger("http", {"api_path": "/users/:id", "http_method": "post"}, metadata=b'{"m":1}'))
    got = HttpRequest(
        "POST",
        "/users/a%20b",
        "q=1&q=2&empty&sp=a+b%21",
        [("x-a", "1"), ("x-a", "2"), ("cookie", "a=1"), ("cookie", "b=2"), ("content-type", "application/json")],
        b'{"n":1.0e2}',
    )
    await kind.handle(got)
    [invocation] = backend.invocations
    assert invocation.value == {
        "method": "POST",
        "path": "/users/:id",
        "path_params": {"id": "a b"},
        "query_params": {"q": "2", "empty": "", "sp": "a b!"},
        "headers": {"x-a": "1, 2", "cookie": "a=1; b=2", "content-type": "application/json"},
        "body": {"n": 100.0},
        "trigger": {"type": "http", "method": "POST", "path": "/users/:id"},
        "request_body": {},
        "response": {},
    }
    assert b'"body":{"n":1.0e2}' in invocation.data, "the body's text is passed on as it came"
    assert invocation.metadata == b'{"m":1}'


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        ("application/problem+json", b"[1]", [1]),
        ("application/json", b"", None),
        ("application/json", b" \n", None),
        ("text/plain", b"[1]", None),
        ("application/x-www-form-urlencoded", b"a=1", None),
        ("", b"[1]", None),
    ],
)
async def test_the_body_is_read_for_json_types_only(content_type: str, body: bytes, expected: Any) -> None:
    backend, kind = http()
    backend.scripts["f"] = returns({})
    kind.bind(trigger("http", {"api_path": "a", "http_method": "POST"}))
    await kind.handle(request("POST", body=body, content_type=content_type))
    assert backend.invocations[0].value["body"] == expected


@pytest.mark.parametrize("body", [b"{", b"[NaN]", b"\xff", b'"\\ud800"', b"[" * 200 + b"]" * 200, b"1 2"])
async def test_a_body_that_is_no_json_is_400_and_calls_nothing(body: bytes) -> None:
    backend, kind = http()
    kind.bind(trigger("http", {"api_path": "a", "http_method": "POST"}))
    response = await kind.handle(request("POST", body=body, content_type="application/json"))
    assert (response.status, error(response)["code"]) == (400, "INVALID_JSON")
    assert "error_id" not in error(response)
    assert backend.invocations == []


# Response object


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"status_code": 201, "body": {"a": 1.5}}, 201, "application/json", b'{"a": 1.5}'),
        ({"body": "text"}, 200, "application/json", b'"text"'),
        ({"body": None}, 200, "application/json", b"null"),
        ({"status_code": 404}, 404, "application/json", b"{}"),
        ({"status_code": 99, "body": 1}, 200, "application/json", b"1"),
        ({"status_code": 100}, 200, "application/json", b"{}"),
        ({"status_code": "500"}, 200, "application/json", b"{}"),
        ({"status_code": True}, 200, "application/json", b"{}"),
        ({"headers": {"Content-Type": "text/html"}, "body": "<p>é"}, 200, "text/html", "<p>é".encode()),
        ({"headers": ["content-type: text/plain"], "body": "x"}, 200, "text/plain", b"x"),
        ({"headers": {"content-type": "text/plain"}, "body": {"a": 1}}, 200, "text/plain", b'{"a": 1}'),
        ({"headers": {"content-type": "text/plain"}, "body": None}, 200, "text/plain", b""),
        ({"headers": {"content-type": "application/json"}, "body": '{"a":1}'}, 200, "application/json", b'{"a":1}'),
        ({"hello": 1}, 200, "application/json", b'{"hello": 1}'),
        ([1], 200, "application/json", b"[1]"),
        ("x", 200, "application/json", b'"x"'),
        (False, 200, "application/json", b"false"),
    ],
)
async def test_what_a_result_means(result: Any, status: int, content_type: str, body: bytes) -> None:
    backend, kind = http()
    backend.scripts["f"] = returns(result)
    kind.bind(trigger("http", {"api_path": "a"}))
    response = await kind.handle(request())
    assert (response.status, header(response, "content-type"), response.body) == (status, [content_type], body)


@pytest.mark.parametrize("result", [None, b"null"])
async def test_no_result_is_204(result: bytes | None) -> None:
    backend, kind = http()
    backend.scripts["f"] = lambda data: result
    kind.bind(trigger("http", {"api_path": "a"}))
    response = await kind.handle(request())
    assert (response.status, response.body) == (204, b"")


async def test_headers_as_list_keep_duplicates_and_wrong_ones_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    backend, kind = http()
    lines = ["Set-Cookie: a=1", "set-cookie: b=2", "no colon", "bad name: x", "x: a\r\nevil: 1", 5]
    backend.scripts["f"] = returns({"headers": lines})
    kind.bind(trigger("http", {"api_path": "a"}))
    response = await kind.handle(request())
    assert header(response, "set-cookie") == ["a=1", "b=2"]
    assert {name for name, _ in response.headers} <= {
        "set-cookie",
        "content-type",
        "access-control-allow-origin",
        "access-control-expose-headers",
    }
    assert "left out" in caplog.text


# Errors


async def test_unknown_paths_are_404_without_error_id() -> None:
    _, kind = http()
    response = await kind.handle(request())
    assert response.status == 404
    assert json.loads(response.body) == {"error": {"code": "NOT_FOUND", "message": "Not Found"}}


async def test_a_wrong_method_is_405_with_allow() -> None:
    _, kind = http()
    kind.bind(trigger("http", {"api_path": "a", "http_method": "POST"}))
    response = await kind.handle(request())
    assert (response.status, header(response, "allow")) == (405, ["OPTIONS, POST"])
    assert error(response)["code"] == "METHOD_NOT_ALLOWED"


async def test_a_failing_handler_is_500_with_its_code_and_an_id_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend, kind = http()
    backend.scripts["f"] = lambda data: WireError("boom", "it broke")
    kind.bind(trigger("http", {"api_path": "a"}))
    with caplog.at_level(logging.WARNING):
        response = await kind.handle(request())
    told = error(response)
    assert (response.status, told["code"], told["message"]) == (500, "boom", "it broke")
    assert len(told["error_id"]) == 12
    assert told["error_id"] in caplog.text


async def test_a_missing_function_is_500_function_not_found() -> None:
    _, kind = http()
    kind.bind(trigger("http", {"api_path": "a"}))
    response = await kind.handle(request())
    assert (response.status, error(response)["code"]) == (500, "function_not_found")


async def test_time_out_is_504_and_forgets_the_invocation(autojump_clock: MockClock) -> None:
    backend, kind = http(default_timeout_ms=1500)
    backend.held.add("f")
    kind.bind(trigger("http", {"api_path": "a"}))
    response = await kind.handle(request())
    assert (response.status, error(response)["code"]) == (504, "TIMEOUT")
    assert "error_id" in error(response)
    assert header(response, "access-control-allow-origin") == ["*"]
    assert trio.current_time() == pytest.approx(1.5)
    assert backend.forgotten == [1]


async def test_a_handlers_own_timeout_code_is_no_504() -> None:
    backend, kind = http()
    backend.scripts["f"] = lambda data: WireError("TIMEOUT", "somewhere below")
    kind.bind(trigger("http", {"api_path": "a"}))
    assert (await kind.handle(request())).status == 500


# Conditions and middleware


async def test_a_condition_sees_the_request_without_channels_and_false_is_422() -> None:
    backend, kind = http()
    backend.scripts |= {"c": returns(False), "f": returns({})}
    kind.bind(trigger("http", {"api_path": "a", "condition_function_id": "c"}))
    response = await kind.handle(request())
    assert response.status == 422
    assert json.loads(response.body) == {
        "error": {"code": "CONDITION_NOT_MET", "message": "Request condition not met"},
        "skipped": True,
    }
    [asked] = backend.invocations
    assert not asked.value.keys() & {"request_body", "response"}
    assert asked.value["method"] == "GET"


async def test_a_true_condition_lets_pass_and_a_failing_one_is_500() -> None:
    backend, kind = http()
    backend.scripts |= {"c": returns(True), "f": returns({"body": 1})}
    kind.bind(trigger("http", {"api_path": "a", "_condition_path": "c"}))
    assert (await kind.handle(request())).body == b"1"
    backend.scripts["c"] = lambda data: WireError("C", "m")
    response = await kind.handle(request())
    assert (response.status, error(response)["code"]) == (500, "C")


@pytest.mark.parametrize("result", [None, {"action": "continue"}, {}, 5, {"action": None}])
async def test_middleware_runs_in_order_before_the_handler(result: Any) -> None:
    backend, kind = http()
    backend.scripts |= {"m1": returns(result), "m2": returns(result), "f": returns({"body": 1})}
    kind.bind(trigger("http", {"api_path": "a/:x", "middleware_function_ids": ["m1", "m2"]}))
    response = await kind.handle(request(path="/a/7", query="q=1", x_h="v"))
    assert response.body == b"1"
    assert [one.function_id for one in backend.invocations] == ["m1", "m2", "f"]
    assert backend.invocations[0].value == {
        "phase": "preHandler",
        "request": {"method": "GET", "path_params": {"x": "7"}, "query_params": {"q": "1"}, "headers": {"x-h": "v"}},
        "context": {},
    }


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"status_code": 401, "body": {"no": 1}, "headers": {"x-a": "b"}}, 401, b'{"no": 1}'),
        ({}, 200, b"{}"),
        ({"body": "text", "headers": {"content-type": "text/plain"}}, 200, b'"text"'),
    ],
)
async def test_middleware_may_respond_itself(answer: Any, status: int, body: bytes) -> None:
    backend, kind = http()
    backend.scripts["m"] = returns({"action": "respond", "response": answer})
    kind.bind(trigger("http", {"api_path": "a", "middleware_function_ids": ["m"]}))
    response = await kind.handle(request())
    assert (response.status, response.body) == (status, body)
    assert [one.function_id for one in backend.invocations] == ["m"]


async def test_an_unknown_middleware_action_fails_closed() -> None:
    backend, kind = http()
    backend.scripts |= {"m": returns({"action": "deny"}), "f": returns({})}
    kind.bind(trigger("http", {"api_path": "a", "middleware_function_ids": ["m"]}))
    assert (await kind.handle(request())).status == 500
    assert [one.function_id for one in backend.invocations] == ["m"]


async def test_a_hanging_middleware_is_504_with_its_own_code(autojump_clock: MockClock) -> None:
    backend, kind = http(default_timeout_ms=1000)
    backend.held.add("m")
    kind.bind(trigger("http", {"api_path": "a", "middleware_function_ids": ["m"]}))
    response = await kind.handle(request())
    assert (response.status, error(response)["code"]) == (504, "MIDDLEWARE_TIMEOUT")


async def test_a_handler_that_hangs_behind_middleware_is_a_plain_time_out(autojump_clock: MockClock) -> None:
    backend, kind = http(default_timeout_ms=1000)
    backend.scripts["m"] = returns(None)
    backend.held.add("f")
    kind.bind(trigger("http", {"api_path": "a", "middleware_function_ids": ["m"]}))
    assert error(await kind.handle(request()))["code"] == "TIMEOUT"


# CORS, OPTIONS


async def test_preflight_is_answered_for_every_path() -> None:
    _, kind = http()
    asked = request("OPTIONS", "/nowhere", origin="http://x", access_control_request_method="PUT")
    response = await kind.handle(asked)
    assert response.status == 200
    for name in ("allow-origin", "allow-methods", "allow-headers"):
        assert header(response, f"access-control-{name}") == ["*"]


async def test_an_options_route_serves_what_is_no_preflight() -> None:
    backend, kind = http()
    assert (await kind.handle(request("OPTIONS"))).status == 200
    backend.scripts["f"] = returns({"status_code": 202})
    kind.bind(trigger("http", {"api_path": "a", "http_method": "OPTIONS"}))
    assert (await kind.handle(request("OPTIONS"))).status == 202


async def test_a_handlers_own_cors_header_is_kept() -> None:
    backend, kind = http()
    backend.scripts["f"] = returns({"headers": {"Access-Control-Allow-Origin": "https://mine"}})
    kind.bind(trigger("http", {"api_path": "a"}))
    assert header(await kind.handle(request()), "access-control-allow-origin") == ["https://mine"]


# Owners, concurrency


async def test_the_former_owner_is_back_when_the_newer_one_leaves() -> None:
    backend, kind = http()
    backend.scripts |= {"old": returns("old"), "new": returns("new")}
    first = trigger("http", {"api_path": "/a"}, "old", "1")
    second = trigger("http", {"api_path": "a"}, "new", "2", session=2)
    kind.bind(first)
    kind.bind(second)
    assert (await kind.handle(request())).body == b'"new"'
    kind.unbind(second)
    assert (await kind.handle(request())).body == b'"old"'
    kind.unbind(first)
    assert (await kind.handle(request())).status == 404


async def test_requests_beyond_the_limit_wait_for_a_slot(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    backend, kind = http(concurrency_request_limit=2)
    backend.held.add("f")
    kind.bind(trigger("http", {"api_path": "a"}))
    for _ in range(3):
        nursery.start_soon(kind.handle, request())
    await trio.testing.wait_all_tasks_blocked()
    assert len(backend.invocations) == 2
    backend.settle_held(0, b"1")
    await trio.testing.wait_all_tasks_blocked()
    assert len(backend.invocations) == 3
