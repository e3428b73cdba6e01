"""Http routes whose worker speaks msgpack: clients see what they would see of a worker that speaks JSON."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from tests.http.site import Response, Site, request
from tests.model.harness import MSGPACK

OWN = {"invocation_id", "function_id"}


class PackedWorker:
    """The site's worker, which says everything in msgpack from now on."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.say({"type": "ping"})
        site.plane.sent(site.worker)

    def say(self, message: dict[str, Any]) -> None:
        self.site.plane.receive(self.site.worker, msgpack.packb(message))

    def asked(self) -> dict[str, Any]:
        """The invocation that waits, which came in msgpack."""
        [message] = self.site.plane.sent(self.site.worker)
        assert message.startswith(MSGPACK)
        taken: dict[str, Any] = msgpack.unpackb(message.removeprefix(MSGPACK).encode("latin-1"))
        assert taken["type"] == "invokefunction"
        return taken

    def serve(self, raw: bytes, **outcome: Any) -> tuple[dict[str, Any], Response]:
        """Lets a client ask and answers it; returns what was asked, and the response."""
        client = self.site.client()
        self.site.plane.http_feed(client.number, raw)
        asked = self.asked()
        self.say({"type": "invocationresult", **{name: asked[name] for name in OWN}, **outcome})
        [response] = client.responses()
        return asked, response


@pytest.fixture
def worker(site: Site) -> PackedWorker:
    site.route("a/:x")
    site.route("a/:x", "POST")
    return PackedWorker(site)


RAW = request(
    "/a/caf%C3%A9?q=1&q=2",
    "X-A: \xe9",
    "Content-Type: application/json",
    method="POST",
    body=b'{"n":[1,2.5,null,true]}',
)


def test_the_request_object_is_that_of_a_worker_that_speaks_json(worker: PackedWorker) -> None:
    asked, response = worker.serve(RAW, result={"status_code": 201, "body": {"n": 1.5}})
    assert (response.status, response.value) == (201, {"n": 1.5})
    site = worker.site
    site.say(type="ping")
    site.plane.sent(site.worker)
    client = site.client()
    client.send(RAW)
    [plain] = site.held
    assert asked["data"] == plain["data"]
    assert asked["data"]["path_params"] == {"x": "café"}
    assert asked["data"]["body"] == {"n": [1, 2.5, None, True]}


def test_numbers_of_a_body_keep_their_kind(worker: PackedWorker) -> None:
    body = b'{"i":-9223372036854775808,"u":18446744073709551615,"f":1.0,"e":1e2}'
    raw = request("/a/1", "Content-Type: application/json", method="POST", body=body)
    asked, _ = worker.serve(raw, result=None)
    assert asked["data"]["body"] == {"i": -(2**63), "u": 2**64 - 1, "f": 1.0, "e": 100.0}
    assert [type(value) for value in asked["data"]["body"].values()] == [int, int, float, float]


@pytest.mark.parametrize("number", [b"18446744073709551616", b"1e999"])
def test_a_number_that_msgpack_cannot_express_reaches_no_function(worker: PackedWorker, number: bytes) -> None:
    raw = request("/a/1", "Content-Type: application/json", method="POST", body=b'{"n":%s}' % number)
    response = worker.site.ask(raw)
    assert (response.status, response.code) == (500, "not_expressible")
    assert "data.body.n" in response.value["error"]["message"]
    assert worker.site.plane.sent(worker.site.worker) == []


@pytest.mark.parametrize(
    ("outcome", "status", "headers", "body"),
    [
        ({}, 204, {}, b""),
        ({"result": None}, 204, {}, b""),
        ({"result": [1, "é"]}, 200, {"content-type": "application/json"}, '[1,"é"]'.encode()),
        ({"result": {"status_code": 404, "body": "x"}}, 404, {"content-type": "application/json"}, b'"x"'),
        (
            {"result": {"headers": ["Content-Type: text/plain", "X-A: 1"], "body": 'é"\n'}},
            200,
            {"content-type": "text/plain", "x-a": "1"},
            'é"\n'.encode(),
        ),
        ({"result": {"headers": {"X\r\nY": "1"}, "body": 1}}, 200, {"content-type": "application/json"}, b"1"),
        ({"result": {"status_code": 204.0, "body": "x"}}, 204, {"content-type": "application/json"}, b""),
    ],
)
def test_what_a_result_means(
    worker: PackedWorker, outcome: dict[str, Any], status: int, headers: dict[str, str], body: bytes
) -> None:
    _, response = worker.serve(request("/a/1"), **outcome)
    assert (response.status, response.body) == (status, body)
    engines = {"date", "content-length", "access-control-allow-origin", "access-control-expose-headers"}
    assert {name: value for name, value in response.headers if name not in engines} == headers


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"\x00\xff", "binary"),
        (float("nan"), "NaN"),
        ({1: 2}, "whose name is no string"),
        (msgpack.ExtType(5, b"x"), "an extension"),
    ],
    ids=["binary", "NaN", "a key", "an extension"],
)
def test_a_result_that_json_cannot_express_is_an_error_that_names_its_place(
    worker: PackedWorker, value: Any, named: str
) -> None:
    _, response = worker.serve(request("/a/1"), result={"body": {"n": value}})
    told = response.value["error"]
    assert response.status == 500
    assert "result.body.n" in told["message"]
    assert named in told["message"]


def test_a_failing_function_is_500_with_its_code(worker: PackedWorker) -> None:
    _, response = worker.serve(request("/a/1"), error={"code": "boom", "message": "é"})
    told = response.value["error"]
    assert (response.status, told["code"], told["message"]) == (500, "boom", "é")


def test_the_codec_of_a_workers_last_message_counts(worker: PackedWorker) -> None:
    site = worker.site
    client = site.client()
    site.plane.http_feed(client.number, request("/a/1"))
    asked = worker.asked()
    # Asked in msgpack, answered in JSON; the next one comes in JSON.
    site.say(type="invocationresult", **{name: asked[name] for name in OWN}, result={"body": [1]})
    assert [one.value for one in client.responses()] == [[1]]
    site.plane.http_feed(client.number, request("/a/2"))
    [message] = site.plane.sent(site.worker)
    assert json.loads(message)["data"]["path_params"] == {"x": "2"}
