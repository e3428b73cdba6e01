"""Whose pages may read responses: what browsers are told, with and without lists of origins and methods."""

from __future__ import annotations

import pytest

from iii_fast.contracts import EVERY_PAGE, Answered, Cors, Refused
from tests.http.conftest import Open
from tests.http.site import Client, Response, Site, fails, request, returns, small

SHOP, ADMIN = "https://shop.example", "http://localhost:3000"
LISTED = Cors(origins=(SHOP, ADMIN))
EXPOSED = {"access-control-expose-headers": "*"}
ANYONE = {"access-control-allow-origin": "*"} | EXPOSED
VARIES = {"vary": "Origin"}
NOBODY = VARIES
FOR_SHOP = {"access-control-allow-origin": SHOP} | EXPOSED | VARIES
FOR_ADMIN = {"access-control-allow-origin": ADMIN} | EXPOSED | VARIES
ANY_HEADER = {"access-control-allow-headers": "*, authorization"}
PUT = "Access-Control-Request-Method: PUT"


def said(response: Response) -> dict[str, str]:
    """What a response says to browsers."""
    found = [(name, value) for name, value in response.headers if name == "vary" or name.startswith("access-control")]
    assert len({name for name, _ in found}) == len(found), "browsers refuse a header that comes twice"
    return dict(found)


@pytest.fixture
def listed(open_site: Open) -> Site:
    """Pages of two origins may read responses."""
    site = open_site(small(), LISTED)
    site.functions["f"] = returns({"body": 1})
    site.route(method="POST")
    site.route()
    return site


def test_without_a_list_every_page_may_read(site: Site) -> None:
    site.functions["f"] = returns(1)
    site.route()
    for headers in ([], [f"Origin: {SHOP}"], ["Origin: null"]):
        assert said(site.get("/a", *headers)) == ANYONE
        assert said(site.get("/nowhere", *headers)) == ANYONE


def test_a_page_of_the_list_may_read_and_no_other(listed: Site) -> None:
    assert said(listed.get("/a", f"Origin: {SHOP}")) == FOR_SHOP
    assert said(listed.get("/a", f"oRIGIN:\t{ADMIN} ")) == FOR_ADMIN
    others = ["https://other.example", "http://shop.example", f"{SHOP}:444", f"{SHOP}/", f"x{SHOP}", "null", "*", ""]
    for other in others:
        response = listed.get("/a", f"Origin: {other}")
        assert (response.status, response.value) == (200, 1), "it is served: it is the browser that keeps it from pages"
        assert said(response) == NOBODY
    assert said(listed.get("/a", "Origin: https://sh\xf6p.example")) == NOBODY
    assert said(listed.get()) == NOBODY, "a cache must not give the answer to no origin to a page of the list"


def test_each_request_of_a_connection_is_answered_for_its_own_page(listed: Site) -> None:
    origins = [f"Origin: {SHOP}", "X: y", f"Origin: {ADMIN}", "Origin: https://other.example", f"Origin: {SHOP}"]
    client = listed.client()
    client.send(b"".join(request("/a", origin) for origin in origins))
    assert [said(one) for one in client.responses()] == [FOR_SHOP, NOBODY, FOR_ADMIN, NOBODY, FOR_SHOP]


def test_of_several_origins_the_last_counts(listed: Site) -> None:
    assert said(listed.get("/a", "Origin: https://other.example", f"Origin: {SHOP}")) == FOR_SHOP
    assert said(listed.get("/a", f"Origin: {SHOP}", "Origin: https://other.example")) == NOBODY


# Errors


def test_errors_can_be_read_by_the_pages_that_may_read(open_site: Open) -> None:
    site = open_site(small(request_ms=1_000), LISTED)
    site.functions |= {"broken": fails("C", "m"), "typed": returns({"status_code": 422, "body": {}})}
    site.route("broken", "GET", "broken")
    site.route("typed", "GET", "typed")
    site.route("a", "POST")
    asked = {
        404: request("/nowhere", f"Origin: {SHOP}"),
        405: request("/a", f"Origin: {SHOP}"),
        413: request("/a", f"Origin: {SHOP}", method="POST", body=b"x" * 101),
        415: request("/a", f"Origin: {SHOP}", method="POST", body=b"x"),
        422: request("/typed", f"Origin: {SHOP}"),
        500: request("/broken", f"Origin: {SHOP}"),
    }
    for status, raw in asked.items():
        response = site.ask(raw)
        assert (response.status, said(response)) == (status, FOR_SHOP)
        other = site.ask(raw.replace(b"shop", b"other"))
        assert (other.status, said(other)) == (status, NOBODY)


def test_a_body_that_becomes_too_long_or_takes_too_long(listed: Site) -> None:
    chunked = request("/a", f"Origin: {SHOP}", "Transfer-Encoding: chunked", method="POST")
    assert said(response := listed.ask(chunked + b"65\r\n" + b"x" * 101)) == FOR_SHOP
    assert response.status == 413
    client = listed.client()
    client.send(chunked)
    listed.wait(60_000)
    [response] = client.responses()
    assert (response.status, said(response)) == (408, FOR_SHOP)


def test_a_time_out_can_be_read(open_site: Open) -> None:
    site = open_site(small(request_ms=1_000), LISTED)
    site.route()
    client = site.client()
    client.send(request("/a", f"Origin: {SHOP}"))
    site.wait(1_000)
    [response] = client.responses()
    assert (response.status, said(response)) == (504, FOR_SHOP)


def test_what_is_no_request_belongs_to_no_page(listed: Site) -> None:
    client: Client = listed.client()
    client.send(request("/a", f"Origin: {SHOP}"))
    assert [said(one) for one in client.responses()] == [FOR_SHOP]
    client.send(b"GET /a HTTP/1.1\r\nOrigin: " + SHOP.encode() + b"\r\n\r\n")
    [response] = client.responses()
    assert (response.status, said(response)) == (400, NOBODY)


def test_what_the_control_plane_answers(open_site: Open) -> None:
    site = open_site(small(), LISTED)
    site.route(direct=False)
    for answer, status in ((Answered(b"1"), 200), (Refused(500, "C", "m"), 500)):
        client = site.client()
        client.send(request("/a", f"Origin: {ADMIN}"))
        [(_, exchange, *_)] = site.calls()
        site.plane.answer(exchange, answer)
        [response] = client.responses()
        assert (response.status, said(response)) == (status, FOR_ADMIN)
        site.plane.http_lose(client.number)


# A function's own headers


def test_a_functions_own_headers_are_kept(open_site: Open) -> None:
    own = {"Access-Control-Allow-Origin": "https://mine"}
    for cors in (EVERY_PAGE, LISTED):
        site = open_site(None, cors)
        site.functions["f"] = returns({"headers": own})
        site.route()
        assert site.get("/a", f"Origin: {SHOP}").header("access-control-allow-origin") == ["https://mine"]


def test_what_a_function_varies_by_is_told_beside(open_site: Open) -> None:
    site = open_site(None, LISTED)
    site.functions["f"] = returns({"headers": {"Vary": "Accept"}})
    site.route()
    assert site.get("/a", f"Origin: {SHOP}").header("vary") == ["Accept", "Origin"]


# Preflights


def test_preflight_is_answered_for_every_path(site: Site) -> None:
    site.route("a", "OPTIONS")
    for path in ("/nowhere", "/a"):
        response = site.get(path, "Origin: http://x", PUT, method="OPTIONS")
        assert (response.status, response.body) == (200, b"")
        assert said(response) == ANYONE | ANY_HEADER | {"access-control-allow-methods": "*"}
    assert site.invocations == []


def test_preflight_for_pages_of_the_list(listed: Site) -> None:
    for path in ("/nowhere", "/a"):
        response = listed.get(path, f"Origin: {SHOP}", PUT, method="OPTIONS")
        assert response.status == 200
        assert said(response) == FOR_SHOP | ANY_HEADER | {"access-control-allow-methods": "*"}
        for headers in (["Origin: https://other.example"], []):
            response = listed.get(path, PUT, *headers, method="OPTIONS")
            assert (response.status, said(response)) == (200, NOBODY)


def test_preflight_says_the_methods_of_the_list(open_site: Open) -> None:
    site = open_site(None, Cors(methods=("GET", "PUT")))
    for asked in ("PUT", "DELETE"):
        response = site.get("/a", "Origin: x", f"Access-Control-Request-Method: {asked}", method="OPTIONS")
        assert said(response) == ANYONE | ANY_HEADER | {"access-control-allow-methods": "GET, PUT"}
    site.functions["f"] = returns(1)
    site.route(method="DELETE")
    assert site.get(method="DELETE").status == 200, "browsers do not send what a preflight does not allow; others may"
    both = open_site(None, Cors(origins=(SHOP,), methods=("GET",)))
    response = both.get("/a", f"Origin: {SHOP}", PUT, method="OPTIONS")
    assert said(response) == FOR_SHOP | ANY_HEADER | {"access-control-allow-methods": "GET"}


def test_options_that_is_no_preflight(listed: Site) -> None:
    response = listed.get("/a", f"Origin: {SHOP}", method="OPTIONS")
    assert (response.status, response.header("allow")) == (200, ["GET, HEAD, OPTIONS, POST"])
    assert said(response) == FOR_SHOP


def test_who_is_turned_away_is_told_nothing_about_pages(open_site: Open) -> None:
    site = open_site(small(connections_max=1), LISTED)
    site.client()
    [response] = site.client().responses()
    assert (response.status, said(response)) == (503, NOBODY)
