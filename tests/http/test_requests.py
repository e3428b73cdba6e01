"""What functions are told about a request, and what their results mean, on both data planes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iii_fast.contracts import Answered, Refused
from tests.http.conftest import Open
from tests.http.site import Site, fails, request, returns, small

# Request object


def test_the_request_object(site: Site) -> None:
    site.functions["f"] = returns({})
    site.route("/users/:id", "POST", metadata=b'{"m":1}')
    headers = ["X-A: 1", "x-a: 2", "Cookie: a=1", "cookie: b=2", "Content-Type: application/json", 'X-L: \xe9\t"\\']
    query = "?q=1&q=2&empty&sp=a+b%21&&=x"
    assert site.get(f"/users/a%20b{query}", *headers, method="POST", body=b'{"n":1.0e2}').status == 200
    [invocation] = site.invocations
    assert invocation["metadata"] == {"m": 1}
    assert list(invocation["data"].items()) == [
        ("method", "POST"),
        ("path_params", {"id": "a b"}),
        ("query_params", {"q": "1, 2", "empty": "", "sp": "a b!", "": "x"}),
        (
            "headers",
            {
                "host": "x",
                "x-a": "1, 2",
                "cookie": "a=1; b=2",
                "content-type": "application/json",
                "x-l": '\xe9\t"\\',
                "content-length": "11",
            },
        ),
        ("path", "/users/:id"),
        ("body", {"n": 100.0}),
        ("trigger", {"type": "http", "method": "POST", "path": "/users/:id"}),
        ("request_body", {}),
        ("response", {}),
    ]


def test_the_bodys_text_is_passed_on_as_it_came(site: Site) -> None:
    site.route("a", "POST")
    raw = request("/a", "Content-Type: application/json", method="POST", body=b'{"n" : 1.0e2}')
    site.plane.sent(site.worker)
    site.plane.http_feed(site.client().number, raw)
    [message] = site.plane.sent(site.worker)
    assert '"body":{"n" : 1.0e2},"trigger"' in message


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        ("application/problem+json", b" [1]\n", [1]),
        ("application/json", b" \n", None),
        ("text/plain", b'[1]\x00"', '[1]\x00"'),
        ("text/html ; Charset=UTF-8", "é".encode(), "é"),
        ('text/plain; x=y; charset="ISO-8859-1"', b"\xe9", "é"),
        ("application/x-www-form-urlencoded", b"a=1&b=%C3%A9+x&a=2", {"a": "1, 2", "b": "é x"}),
    ],
)
def test_bodies_that_are_decoded(site: Site, content_type: str, body: bytes, expected: Any) -> None:
    site.functions["f"] = returns({})
    site.route("a", "POST")
    assert site.get("/a", f"Content-Type: {content_type}", method="POST", body=body).status == 200
    assert site.invocations[0]["data"]["body"] == expected


@pytest.mark.parametrize("headers", [[], ["Content-Type: application/json"], ["Content-Type: image/png"]])
def test_no_body_is_null_whatever_its_type(site: Site, headers: list[str]) -> None:
    site.functions["f"] = returns({})
    site.route("a", "POST")
    assert site.get("/a", *headers, method="POST").status == 200
    assert site.invocations[0]["data"]["body"] is None


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ([], "none"),
        (["Content-Type: image/png"], "image/png"),
        (["Content-Type: multipart/form-data; boundary=x"], "multipart/form-data"),
        (["Content-Type: text/plain; charset=utf-16"], "utf-16"),
        (["Content-Type: jsonx"], "jsonx"),
    ],
)
def test_a_body_that_cannot_be_handed_on_is_415(site: Site, headers: list[str], named: str) -> None:
    site.route("a", "POST")
    response = site.get("/a", *headers, method="POST", body=b"\x00\x01")
    assert (response.status, response.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert named in response.value["error"]["message"]
    assert site.invocations == []


@pytest.mark.parametrize("body", [b"{", b"[NaN]", b"\xff", b'"\\ud800"', b"[" * 200 + b"]" * 200, b"1 2"])
def test_a_body_that_is_no_json_is_400_and_calls_nothing(site: Site, body: bytes) -> None:
    site.route("a", "POST")
    response = site.get("/a", "Content-Type: application/json", method="POST", body=body)
    assert (response.status, response.code) == (400, "INVALID_JSON")
    assert "at byte" in response.value["error"]["message"]
    assert "error_id" not in response.value["error"]
    assert site.invocations == []


def test_text_that_is_no_utf_8_is_400(site: Site) -> None:
    site.route("a", "POST")
    response = site.get("/a", "Content-Type: text/plain", method="POST", body=b"ab\xff")
    assert (response.status, response.code) == (400, "INVALID_TEXT")
    assert "byte 2" in response.value["error"]["message"]


# Response object


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ('{"status_code":201,"body":{"a": 1.50}}', 201, "application/json", b'{"a": 1.50}'),
        ('{"body":"text"}', 200, "application/json", b'"text"'),
        ('{"body":null}', 200, "application/json", b"null"),
        ('{"status_code":404}', 404, "application/json", b"{}"),
        ('{"status_code":2.01e2,"body":1,"body":2}', 201, "application/json", b"2"),
        ('{"status_code":99,"body":1}', 200, "application/json", b"1"),
        ('{"status_code":100}', 200, "application/json", b"{}"),
        ('{"status_code":1000}', 200, "application/json", b"{}"),
        ('{"status_code":200.5}', 200, "application/json", b"{}"),
        ('{"status_code":"500"}', 200, "application/json", b"{}"),
        ('{"status_code":true}', 200, "application/json", b"{}"),
        ('{"headers":{"Content-Type":"text/html"},"body":"<p>\\u00e9\\n"}', 200, "text/html", "<p>é\n".encode()),
        ('{"headers":["content-type: text/plain"],"body":"x"}', 200, "text/plain", b"x"),
        ('{"headers":{"content-type":"text/plain"},"body":{"a":1}}', 200, "text/plain", b'{"a":1}'),
        ('{"headers":{"content-type":"text/plain"},"body":null}', 200, "text/plain", b""),
        ('{"headers":5,"body":1}', 200, "application/json", b"1"),
        ('{"\\u0062ody":3}', 200, "application/json", b"3"),
        ('{"hello":1}', 200, "application/json", b'{"hello":1}'),
        ("[1]", 200, "application/json", b"[1]"),
        ('"x"', 200, "application/json", b'"x"'),
        ("false", 200, "application/json", b"false"),
        ('"' + "y" * 100_000 + '"', 200, "application/json", b'"' + b"y" * 100_000 + b'"'),
    ],
)
def test_what_a_result_means(site: Site, result: str, status: int, content_type: str, body: bytes) -> None:
    site.route()
    client = site.client()
    client.send(request())
    [asked] = site.held
    said = (
        f'{{"type":"invocationresult","invocation_id":"{asked["invocation_id"]}","function_id":"f","result":{result}}}'
    )
    site.plane.receive(site.worker, said)
    [response] = client.responses()
    assert (response.status, response.header("content-type"), response.body) == (status, [content_type], body)
    assert response.header("content-length") == [str(len(body))]


@pytest.mark.parametrize("outcome", [{}, {"result": None}])
def test_no_result_is_204(site: Site, outcome: dict[str, Any]) -> None:
    site.functions["f"] = lambda data: outcome
    site.route()
    response = site.get()
    assert (response.status, response.body, response.header("content-length")) == (204, b"", [])


def test_headers_as_list_keep_duplicates_and_wrong_ones_are_left_out(site: Site) -> None:
    lines = ["Set-Cookie: a=1", "set-cookie :\tb=\xe92 ", "no colon", "bad name: x", "x: a\r\nevil: 1", 5, "empty:"]
    site.functions["f"] = returns({"headers": lines})
    site.route()
    response = site.get()
    assert response.header("set-cookie") == ["a=1", "b=é2".encode().decode("latin-1")]
    assert {name for name, _ in response.headers} == {
        "set-cookie",
        "empty",
        "content-type",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "date",
        "content-length",
    }


def test_the_engine_owns_the_headers_of_the_connection(site: Site) -> None:
    wrong = {"Content-Length": "99", "transfer-encoding": "chunked", "connection": "close", "Date": "x"}
    site.functions["f"] = returns({"headers": wrong, "body": 1})
    site.route()
    client = site.client()
    client.send(request() * 2)
    for response in client.responses():
        assert (response.header("content-length"), response.body) == (["1"], b"1")
        assert response.header("date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]
        assert response.header("connection") == response.header("transfer-encoding") == []


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(site: Site, status: int) -> None:
    site.functions["f"] = returns({"status_code": status, "body": "must not be sent"})
    site.route()
    client = site.client()
    client.send(request() * 2)
    for response in client.responses():
        assert (response.status, response.body, response.header("content-length")) == (status, b"", [])


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, "HTTP/1.1 200 OK"),
        (422, "HTTP/1.1 422 Unprocessable Content"),
        (504, "HTTP/1.1 504 Gateway Timeout"),
        (799, "HTTP/1.1 799 "),
    ],
)
def test_the_status_line_has_the_standard_phrase(site: Site, status: int, line: str) -> None:
    site.functions["f"] = returns({"status_code": status})
    site.route()
    assert site.get().line == line


# Errors


def test_unknown_paths_are_404_without_error_id(site: Site) -> None:
    response = site.get("/nowhere")
    assert response.status == 404
    assert response.value == {"error": {"code": "NOT_FOUND", "message": "Not Found"}}


def test_a_wrong_method_is_405_with_allow(site: Site) -> None:
    site.route("a", "POST")
    site.route("a", "BREW")
    for method in ("GET", "BREW"):
        response = site.get(method=method)
        assert (response.status, response.code, response.header("allow")) == (
            405,
            "METHOD_NOT_ALLOWED",
            ["OPTIONS, POST"],
        )


def test_a_failing_function_is_500_with_its_code_and_an_id(site: Site) -> None:
    site.functions["f"] = fails("boom", "it broke")
    site.route()
    response = site.get()
    told = response.value["error"]
    assert (response.status, told["code"], told["message"], len(told["error_id"])) == (500, "boom", "it broke", 12)


def test_a_missing_function_is_500_function_not_found(site: Site) -> None:
    site.route()
    site.say(type="unregisterfunction", id="f")
    response = site.get()
    assert (response.status, response.code) == (500, "function_not_found")


def test_a_worker_that_leaves_is_500_invocation_stopped(site: Site) -> None:
    site.route()
    client = site.client()
    client.send(request())
    site.plane.disconnect(site.worker)
    data, _ = site.plane.http_take(client.number)
    assert data.startswith(b"HTTP/1.1 500 ")
    assert b'"invocation_stopped"' in data


def test_time_out_is_504_and_the_late_result_is_dropped(open_site: Open) -> None:
    site = open_site(small(request_ms=1500))
    site.route()
    client = site.client()
    client.send(request() + request("/b"))
    site.wait(1499)
    assert client.read() == b""
    site.wait(1)
    first, second = client.responses()
    assert (first.status, first.code, second.status) == (504, "TIMEOUT", 404)
    assert "1500ms" in first.value["error"]["message"]
    assert first.header("access-control-allow-origin") == ["*"]
    site.settle(result=1)
    assert client.read() == b""


def test_requests_beyond_the_limit_wait_for_a_place(open_site: Open) -> None:
    site = open_site(small(requests_max=2, connections_max=9))
    site.route()
    clients = [site.client() for _ in range(5)]
    for client in clients:
        client.send(request())
    assert len(site.held) == 2
    site.plane.http_lose(clients[2].number)
    site.settle(result=0)
    assert [json.loads(r.body) for r in clients[0].responses()] == [0]
    assert len(site.held) == 2
    site.settle(result=1)
    site.settle(result=3)
    site.settle(result=4)
    assert [[r.value for r in clients[n].responses()] for n in (1, 3, 4)] == [[1], [3], [4]]
    assert site.held == []


# HEAD, OPTIONS (CORS: test_cors.py)


def test_an_options_route_serves_what_is_no_preflight(site: Site) -> None:
    assert site.get(method="OPTIONS").status == 200
    assert site.get("*", method="OPTIONS").status == 200
    site.route("a", "PUT")
    assert site.get(method="OPTIONS").header("allow") == ["OPTIONS, PUT"]
    site.functions["f"] = returns({"status_code": 202})
    site.route("a", "OPTIONS")
    assert site.get(method="OPTIONS").status == 202


def test_head_is_get_without_the_body(site: Site) -> None:
    site.functions["f"] = returns({"body": [1, 2]})
    site.route()
    client = site.client()
    client.send(request(method="HEAD") + request())
    head, get = client.responses("HEAD", "GET")
    assert (head.status, head.header("content-length"), head.body) == (200, get.header("content-length"), b"")
    assert get.value == [1, 2], "the next response is not misread as a body"
    assert [one["data"]["method"] for one in site.invocations] == ["HEAD", "GET"]
    site.functions["h"] = returns({"status_code": 202})
    site.route("a", "HEAD", "h")
    assert site.get(method="HEAD").status == 202


# Owners


def test_the_former_owner_is_back_when_the_newer_one_leaves(site: Site) -> None:
    site.functions |= {"old": returns("old"), "new": returns("new")}
    first = site.route("/a", function_id="old")
    second = site.route("a", function_id="new")
    assert site.get().value == "new"
    site.plane.unbind_route(second)
    assert site.get().value == "old"
    site.plane.unbind_route(first)
    assert site.get().status == 404


# Requests that the control plane decides about


def test_a_route_that_is_not_direct_goes_up_and_down(open_site: Open) -> None:
    site = open_site(small(request_ms=1000, connections_max=9))
    site.functions["f"] = returns({"body": "served"})
    site.route("a/:x", direct=False)
    clients = [site.client() for _ in range(5)]
    exchanges = []
    for client in clients:
        client.send(request("/a/7"))
        [(kind, exchange, route, told, left_ms)] = site.calls()
        assert (kind, route, left_ms, json.loads(told)["path_params"]) == ("requested", 1, 1000, {"x": "7"})
        exchanges.append(exchange)
    site.plane.proceed(exchanges[0])
    site.run()
    site.plane.answer(exchanges[1], Answered(b'{"status_code":201,"headers":{"content-type":"text/x"},"body":"t"}'))
    typed = b'{"status_code":201,"headers":{"content-type":"text/x"},"body":"t"}'
    site.plane.answer(exchanges[2], Answered(typed, document=True))
    site.plane.answer(exchanges[3], Refused(500, "C", "m"))
    found = [client.responses()[0] for client in clients[:4]]
    assert [one.status for one in found] == [200, 201, 201, 500]
    assert [one.body for one in found[:3]] == [b'"served"', b"t", b'"t"']
    assert found[3].code == "C"
    site.wait(5000)
    assert clients[4].read() == b"", "the control plane looks after its time"
    site.plane.http_lose(clients[4].number)
    assert site.calls() == [("left", exchanges[4])]
    for exchange in exchanges:  # nobody waits any more
        site.plane.proceed(exchange)
        site.plane.answer(exchange, Answered(b"1"))
    site.run()
    assert len(site.invocations) == 1
