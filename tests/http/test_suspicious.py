"""What a sceptic would try: requests that are understood differently, and results that would break up a response."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.site import Site, fails, request, returns


@pytest.mark.parametrize(
    "target", ["http:///a", "http://?q", "https://", "http://u@x/a", "http://x y/a", "/a#b", "/a?b#c", "http://x\\y/a"]
)
def test_targets_that_readers_understand_differently_are_refused(site: Site, target: str) -> None:
    site.functions["f"] = returns({})
    site.route("*rest")
    site.route("/")
    response = site.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (response.status, response.header("connection")) == (400, ["close"])
    assert site.invocations == []


@pytest.mark.parametrize(
    ("host", "is_good"),
    [
        ("x", True),
        ("", True),
        ("x:80", True),
        ("a-b.c_d~!$&'()*+;=%41", True),
        ("[::1]:80", True),
        ("x y", False),
        ("x/y", False),
        ("u@x", False),
        ("x?y", False),
        ("x#y", False),
        ("x\\y", False),
        ("x, y", False),
        ('"x"', False),
        ("<x>", False),
        ("\xe9", False),
    ],
)
def test_what_a_host_may_be(site: Site, host: str, is_good: bool) -> None:
    response = site.ask(f"GET /none HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert response.status == (404 if is_good else 400)


def test_an_encoded_slash_separates_no_segments(site: Site) -> None:
    site.functions["f"] = lambda data: {"result": data["path_params"]}
    site.route("files/:name")
    site.route("files/:name/x")
    site.route("a%2Fb")
    site.route("all/*rest")
    assert site.get("/files/a%2Fb").value == {"name": "a/b"}
    assert site.get("/files/a%2fx").value == {"name": "a/x"}
    assert site.get("/files/a/b").status == 404
    assert site.get("/a%2fb").value == {}
    assert site.get("/a/b").status == 404
    assert site.get("/all/%2e%2e/..%2Fx").value == {"rest": "../../x"}


@pytest.mark.parametrize("status", [204, 205, 304])
def test_no_body_where_none_may_be(site: Site, status: int) -> None:
    site.functions["f"] = returns({"status_code": status, "body": "x" * 50, "headers": {"content-length": "50"}})
    site.route()
    client = site.client()
    client.send(request() + request("/none"))
    first, second = client.responses()
    assert (first.status, first.body, second.status) == (status, b"", 404)
    assert first.header("content-length") == (["0"] if status == 205 else [])


@pytest.mark.parametrize(
    "name", ["Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Connection", "Content-Length"]
)
def test_what_belongs_to_the_connection_is_the_engines_alone(site: Site, name: str) -> None:
    headers: Any
    for headers in ({name: "5"}, [f"{name}: 5"], [f"{name.upper()}:5"]):
        site.functions["f"] = returns({"headers": headers, "body": 1})
        if not site.invocations:
            site.route()
        response = site.get()
        assert response.status == 200
        assert response.header(name.lower()) == (["1"] if name == "Content-Length" else [])


INJECTIONS = ["a\r\nX: y", "a\nX: y", "a\rX: y", "a\x00", "a\x0b", "a\x7f", "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_headers_of_a_function_cannot_break_up_the_response(site: Site, value: str) -> None:
    site.functions["f"] = returns({"headers": {"a": value, value: "b", "c": "d"}, "body": 1})
    site.functions["g"] = returns({"headers": [f"a: {value}", f"{value}: b", "c: d"], "body": 1})
    site.route("f")
    site.route("g", function_id="g")
    for path in ("/f", "/g"):
        response = site.get(path)
        assert (response.status, response.value) == (200, 1)
        assert {name for name, _ in response.headers} - {"content-type"} == {
            "c",
            "date",
            "content-length",
            "access-control-allow-origin",
            "access-control-expose-headers",
        }


@pytest.mark.parametrize(
    "status", [0, 1, 100, 101, 199, 1000, 65536 + 200, 2**64, -200, 1e300, 200.5, "201", True, None, [], {}]
)
def test_a_status_that_is_none_is_200(site: Site, status: Any) -> None:
    site.functions["f"] = returns({"status_code": status, "body": 1})
    site.route()
    assert (site.get().status, site.get().value) == (200, 1)


LONE = "a\ud800b"
"""JSON can say it (as an escape), UTF-8 cannot."""


@pytest.mark.parametrize(
    "outcome", [returns({"body": LONE}), returns({"headers": [LONE]}), returns({LONE: 1}), fails(LONE, "x")]
)
def test_half_a_character_is_no_result(site: Site, outcome: Any) -> None:
    site.functions["f"] = outcome
    site.route()
    response = site.get()
    assert (response.status, response.code) == (500, "invalid_message")


@pytest.mark.parametrize("value", ["x", "417-nothing", "100-continue, x"])
def test_other_expectations_are_none(site: Site, value: str) -> None:
    site.functions["f"] = returns(1)
    site.route("a", "POST")
    response = site.get("/a", f"Expect: {value}", "Content-Type: text/plain", method="POST", body=b"x")
    assert response.status == 200


def test_trailers_reach_nobody(site: Site) -> None:
    site.functions["f"] = lambda data: {"result": data["headers"]}
    site.route("a", "POST")
    raw = request("/a", "Content-Type: text/plain", "Transfer-Encoding: chunked", "Trailer: X-Auth", method="POST")
    response = site.ask(raw + b"1\r\nx\r\n0\r\nX-Auth: admin\r\nHost: evil\r\nContent-Length: 9\r\n\r\n")
    assert response.status == 200
    assert response.value["host"] == "x"
    assert "x-auth" not in response.value
    assert "content-length" not in response.value
