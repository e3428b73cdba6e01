"""One http connection on both data planes: framing, keep-alive, and every limit from both sides."""

from __future__ import annotations

import pytest

from tests.http.conftest import Open
from tests.http.site import Site, request, returns, small


@pytest.fixture
def tight(open_site: Open) -> Site:
    site = open_site(small())
    site.functions["f"] = returns({"body": "hello"})
    site.route("*rest", "GET")
    site.route("*rest", "POST")
    site.route("*rest", "PUT")
    site.route("/")
    return site


TEXT = "Content-Type: text/plain"


def test_a_chunked_body_in_single_bytes(tight: Site) -> None:
    raw = request("/a", TEXT, "Transfer-Encoding: Chunked", method="PUT")
    raw += b"3;ext=1\r\nabc\r\n02\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    client = tight.client()
    for byte in raw + raw:
        client.send(bytes([byte]))
    assert [one.status for one in client.responses()] == [200, 200]
    assert [one["data"]["body"] for one in tight.invocations] == ["abcde", "abcde"]


def test_keep_alive_and_pipelining_in_order(tight: Site) -> None:
    client = tight.client()
    client.send(b"".join(request(f"/{number}") for number in range(5)) + request("/5", TEXT, method="POST", body=b"x"))
    client.send(b"\r\n" + request("/6"))
    assert [one.status for one in client.responses()] == [200] * 7
    assert [one["data"]["path_params"]["rest"] for one in tight.invocations] == [str(n) for n in range(7)]
    assert not client.closed


def test_answers_come_in_the_order_of_the_requests(site: Site) -> None:
    site.route("slow", function_id="slow")
    client = site.client()
    client.send(request("/slow") + request("/nowhere"))
    assert client.read() == b""
    site.settle(result=1)
    assert [one.status for one in client.responses()] == [200, 404]


@pytest.mark.parametrize(
    "raw",
    [
        request("/", "Connection: x, CLOSE"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_the_connection_ends_when_the_client_wants_it(tight: Site, raw: bytes) -> None:
    client = tight.client()
    client.send(raw + request("/b"))
    [response] = client.responses()
    assert (response.status, response.header("connection"), client.closed) == (200, ["close"], True)


@pytest.mark.parametrize(
    ("target", "rest", "query"),
    [("http://host:1/a/b?q", "a/b", {"q": ""}), ("HTTPS://host/a", "a", {}), ("/a?b?c", "a", {"b?c": ""})],
)
def test_absolute_targets_are_reduced_to_their_path(tight: Site, target: str, rest: str, query: dict[str, str]) -> None:
    assert tight.get(target).status == 200
    assert tight.invocations[0]["data"]["path_params"] == {"rest": rest}
    assert tight.invocations[0]["data"]["query_params"] == query
    assert tight.get("http://host").status == tight.get("http://host?x").status == 200


def test_an_upgrade_request_is_served_as_plain_http(tight: Site) -> None:
    client = tight.client()
    client.send(request("/", "Connection: Upgrade", "Upgrade: h2c") + request("/next"))
    assert [one.status for one in client.responses()] == [200, 200]


def test_100_continue_is_sent_before_the_body(tight: Site) -> None:
    client = tight.client()
    client.send(request("/a", TEXT, "Expect: 100-Continue", "Content-Length: 3", method="POST"))
    assert client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert [one.status for one in client.responses()] == [200]
    client.send(request("/a", "Expect: 100-continue") + request("/b"))
    assert [one.status for one in client.responses()] == [200, 200], "nothing to wait for"


def test_a_client_that_waits_for_100_is_refused_before_it_sends(tight: Site) -> None:
    client = tight.client()
    client.send(request("/a", "Expect: 100-continue", "Content-Length: 101", method="POST"))
    assert [one.status for one in client.responses()] == [413]


# Limits


def test_the_head_limit_from_both_sides(tight: Site) -> None:
    room = 1024 - len(request("/", "X: "))
    for whole in (True, False):
        client = tight.client()
        raw = request("/", "X: " + "y" * room)
        for part in [raw] if whole else [raw[at : at + 1] for at in range(len(raw))]:
            client.send(part)
        assert [one.status for one in client.responses()] == [200]
        tight.plane.http_lose(client.number)
    for whole in (True, False):
        client = tight.client()
        raw = request("/", "X: " + "y" * (room + 1))
        for part in [raw] if whole else [raw[at : at + 1] for at in range(len(raw))]:
            client.send(part)
        [response] = client.responses()
        assert (response.status, response.code) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")
        assert (response.header("connection"), client.closed) == (["close"], True)


def test_the_limit_on_header_lines_from_both_sides(site: Site) -> None:
    assert site.get("/", *[f"X{n}: y" for n in range(99)]).status == 404
    assert site.get("/", *[f"X{n}: y" for n in range(100)]).status == 431


@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_limit_from_both_sides(tight: Site, chunked: bool) -> None:
    def post(size: int) -> bytes:
        body = b"z" * size
        if chunked:
            return request("/a", TEXT, "Transfer-Encoding: chunked", method="POST") + b"%x\r\n%s\r\n0\r\n\r\n" % (
                size,
                body,
            )
        return request("/a", TEXT, method="POST", body=body)

    client = tight.client()
    client.send(post(100) + post(101))
    fine, refused = client.responses()
    assert (fine.status, refused.status, refused.code) == (200, 413, "PAYLOAD_TOO_LARGE")
    assert client.closed
    assert len(tight.invocations) == 1


@pytest.mark.parametrize(("size", "status"), [(256, 200), (257, 400)])
def test_the_limit_on_a_chunks_line_from_both_sides(tight: Site, size: int, status: int) -> None:
    raw = request("/a", TEXT, "Transfer-Encoding: chunked", method="POST")
    assert tight.ask(raw + b"0;" + b"e" * (size - 2) + b"\r\n\r\n").status == status


def test_the_limit_on_trailers_from_both_sides(tight: Site) -> None:
    raw = request("/a", TEXT, "Transfer-Encoding: chunked", method="POST") + b"0\r\n"
    for size, status in ((1024, 200), (1025, 431)):
        assert tight.ask(raw + b"X: " + b"y" * (size - 7) + b"\r\n\r\n").status == status


def test_connections_beyond_the_limit_get_503(tight: Site) -> None:
    one, two, three = tight.client(), tight.client(), tight.client()
    [refused] = three.responses()
    assert (refused.status, refused.code, three.closed) == (503, "UNAVAILABLE", True)
    for client in (one, two):
        client.send(request())
        assert [r.status for r in client.responses()] == [200]


def test_a_client_that_does_not_read_gets_no_further_answers(open_site: Open) -> None:
    site = open_site(small(outbox_bytes_max=1000))
    site.functions["f"] = returns({"body": "x" * 400})
    site.route()
    client = site.client()
    client.send(request() * 10)
    begun = len(site.invocations)
    assert 2 <= begun <= 3
    client.end()
    assert [one.status for one in client.responses()] == [200] * 10
    assert client.closed


def test_what_is_read_ahead_is_kept_for_later(tight: Site) -> None:
    tight.route("slow", function_id="slow")
    client = tight.client()
    client.send(request("/slow"))
    for byte in b"".join(request(f"/{number}") for number in range(4)):
        client.send(bytes([byte]))
    assert len(tight.invocations) == 1
    tight.settle(result=1)
    assert [one.status for one in client.responses()] == [200] * 5


# Time


def test_a_slow_head_is_408_and_dripping_does_not_buy_time(tight: Site) -> None:
    client = tight.client()
    client.send(b"GET / HTTP/1.1\r\n")
    for _ in range(9):
        tight.wait(1_000)
        client.send(b"X: y\r\n")
    assert client.read() == b""
    tight.wait(999)
    assert client.read() == b""
    tight.wait(1)
    [response] = client.responses()
    assert (response.status, response.code, client.closed) == (408, "REQUEST_TIMEOUT", True)


def test_a_head_behind_another_request_has_its_time(tight: Site) -> None:
    client = tight.client()
    client.send(request() + b"GET / HT")
    client.read()
    tight.wait(9_999)
    assert client.read() == b""
    tight.wait(1)
    assert [one.status for one in client.responses()] == [408]


def test_a_slow_body_is_408(tight: Site) -> None:
    client = tight.client()
    client.send(request("/", "Content-Length: 5", method="POST") + b"12")
    tight.wait(29_999)
    client.send(b"3")
    assert client.read() == b""
    tight.wait(1)
    assert [one.status for one in client.responses()] == [408]
    assert tight.invocations == []


def test_idle_connections_are_closed_without_a_word(tight: Site) -> None:
    fresh, used = tight.client(), tight.client()
    used.send(request())
    assert [one.status for one in used.responses()] == [200]
    tight.wait(10_000)
    assert (fresh.read(), fresh.closed) == (b"", True)
    tight.wait(64_999)
    assert (used.read(), used.closed) == (b"", False)
    tight.wait(1)
    assert (used.read(), used.closed) == (b"", True)


# Clients that leave


def test_what_came_before_the_end_is_served(tight: Site) -> None:
    client = tight.client()
    client.send(request() + request() + b"GET / HT")
    client.end()
    assert [one.status for one in client.responses()] == [200, 200]
    assert client.closed


def test_a_request_that_takes_long_ends_with_its_client(site: Site) -> None:
    site.route()
    short, long = site.client(), site.client()
    for client in (short, long):
        client.send(request())
        client.end()
    site.wait(999)
    site.settle(result=1)
    assert [one.status for one in short.responses()] == [200]
    site.wait(1)
    assert (long.read(), long.closed) == (b"", True)
    site.settle(result=2)


# Stopping


def test_stop_ends_idle_connections_and_finishes_the_others(site: Site) -> None:
    site.route()
    site.route("a", "POST")
    idle, part, body, busy = (site.client() for _ in range(4))
    part.send(b"GET / HT")
    body.send(request(TEXT, "Content-Length: 2", method="POST").replace(b" Content-Type: text/plain", b" /a") + b"1")
    busy.send(request() + request())
    site.plane.http_stop()
    assert [(one.read(), one.closed) for one in (idle, part)] == [(b"", True)] * 2
    body.send(b"2")
    late = site.client()
    assert [one.status for one in late.responses()] == [503]
    site.settle(result=1)
    [response] = busy.responses()
    assert (response.status, response.header("connection"), busy.closed) == (200, ["close"], True)
    [response] = body.responses()
    assert (response.status, response.header("connection"), body.closed) == (415, ["close"], True)
    assert len(site.invocations) == 1, "the pipelined second request was never begun"
