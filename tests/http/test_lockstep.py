"""The same bytes in, the same bytes out: both data planes are fed the same requests and must say the same."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iii_fast.contracts import Answered, Cors, HttpLimits, Limits, Refused
from iii_fast.errors import WireError
from tests.http.corpus import MALFORMED
from tests.http.site import PLANES, Site
from tests.model.examples import look

LIMITS = Limits(http=HttpLimits(head_bytes_max=400, body_bytes_max=60, request_ms=2_000, requests_max=3))
PAGES = {"all": Cors(), "some": Cors(("null", "https://a.example"), ("GET", "PUT"))}
_ERROR_ID = re.compile(rb'(?<="error_id":")[0-9a-f]{12}(?=")')

WORD = st.sampled_from(["a", "b", "%41", "%zz", "caf%C3%A9", "%ff", "", "x y".replace(" ", "%20"), "é"])
PATTERN_SEGMENT = st.sampled_from(
    ["a", "b", ":x", "{y}", ":z", "caf%C3%A9", "é", "*", "*rest", "{*all}", ":", "a b", "%2F"]
)
PATTERN = st.lists(PATTERN_SEGMENT, min_size=1, max_size=4).map("/".join)
METHOD = st.sampled_from(["GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "BREW", "get"])
QUERY = st.lists(st.sampled_from(["a=1", "a=2", "b", "=c", "d=%20+", "%61=3", "&", "e=x=y"]), max_size=12).map("&".join)
HEADER = st.sampled_from(
    [
        "X-A: 1",
        "x-a:2 ",
        "Cookie: a",
        "cookie: b",
        'X-L: \xe9\x80"\\\t.',
        "Connection: close",
        "Connection: keep-alive, x",
        "Expect: 100-continue",
        "Access-Control-Request-Method: PUT",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Content-Length: 3",
        "Content-Length: 61",
        "Content-Type: application/json",
        "Content-Type: text/plain; charset=latin1",
        "Content-Type: Text/Plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: a/B+json;x",
        "Content-Type: image/png",
        "Bad : x",
        " folded",
        "Origin: https://a.example",
        "origin: null",
        "Origin: https://b.example",
        "Host: y",
        "Host: u@y",
    ]
)
BODY = st.one_of(
    st.sampled_from([b"", b"{}", b"[1, 2.50]", b"nul", b"a=1&a=2", b"\xff\xfe", b" ", '"é"'.encode(), b"x" * 61]),
    st.binary(max_size=12),
)


@st.composite
def whole_requests(draw: st.DrawFn) -> bytes:
    """A request that is mostly well-formed."""
    path = "/" + "/".join(draw(st.lists(WORD, max_size=4)))
    query = draw(st.one_of(st.just(""), QUERY.map("?".__add__)))
    version = draw(st.sampled_from(["1.1"] * 8 + ["1.0", "2.0"]))
    lines = [f"{draw(METHOD)} {path}{query} HTTP/{version}", "Host: x", *draw(st.lists(HEADER, max_size=4))]
    body = draw(BODY)
    if draw(st.booleans()):
        lines.append(f"Content-Length: {len(body)}")
    elif draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        extension = draw(st.sampled_from([b"", b"", b";e", b" ", b";\r"]))
        trailer = draw(st.sampled_from([b"", b"", b"T: x\r\n", b"T\r\n"]))
        chunk = b"%x%s\r\n%s\r\n" % (len(body), extension, body) if body else b""
        body = chunk + b"0\r\n" + trailer + b"\r\n"
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body


RAW = st.one_of(whole_requests(), whole_requests(), st.sampled_from([raw for raw, _ in MALFORMED.values()]))


@st.composite
def broken_requests(draw: st.DrawFn) -> bytes:
    """A request with something put in, left out or changed somewhere."""
    raw = draw(RAW)
    at = draw(st.integers(0, len(raw)))
    gone = draw(st.integers(0, 3))
    put_in = draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b"0"]))
    return raw[:at] + put_in + raw[at + gone :]


VALUE = st.sampled_from(
    [
        None,
        1,
        "x",
        [1],
        {"hello": 1},
        {"status_code": 201, "body": {"a": 1.5}},
        {"status_code": 204.0, "body": "x"},
        {"status_code": 999, "headers": {"Content-Type": "text/plain", "X": "é\t"}, "body": 'a"é\n'},
        {"headers": ["Set-Cookie: a", "set-cookie:b", "bad", "x\r: y", 5, "Date: x"], "body": None},
        {"headers": {"content-type": "x/y", "Access-Control-Allow-Origin": "me", "z": 5, "": "q"}, "body": None},
        {"headers": 5, "body": [None]},
        {"status_code": 205, "headers": {"Keep-Alive": "timeout=5", "TE": "x", "Upgrade": "h2c"}, "body": "x"},
    ]
)
ANSWER = st.one_of(
    VALUE.map(lambda value: Answered(None if value is None else json.dumps(value).encode())),
    VALUE.map(lambda value: Answered(json.dumps(value, indent=1).encode(), document=True)),
    st.builds(
        Refused, st.sampled_from([400, 422, 500, 504]), st.sampled_from(["C", 'c"']), st.sampled_from(["m", "é"])
    ),
)
OUTCOME = st.one_of(
    VALUE.map(lambda value: {"result": value}),
    st.sampled_from([{}, {"error": {"code": "C", "message": "é"}}, {"error": "boom"}, {"error": {"message": 5}}]),
)

FED = st.tuples(st.integers(0, 4), st.one_of(RAW, RAW, broken_requests()), st.integers(1, 60))
Step = tuple[str, Any]
STEP: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("bind"), st.tuples(METHOD, PATTERN, st.booleans())),
    st.tuples(st.just("unbind"), st.integers(0, 9)),
    st.tuples(st.just("connect"), st.none()),
    st.tuples(st.just("feed"), FED),
    st.tuples(st.just("feed"), FED),
    st.tuples(st.just("end"), st.integers(0, 4)),
    st.tuples(st.just("lose"), st.integers(0, 4)),
    st.tuples(st.just("settle"), OUTCOME),
    st.tuples(st.just("answer"), st.tuples(st.integers(0, 9), ANSWER)),
    st.tuples(st.just("proceed"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.sampled_from([1, 500, 1_500, 30_000])),
    st.tuples(st.just("forget function"), st.none()),
    st.tuples(st.just("stop"), st.none()),
)


class Actor:
    """One plane with what the steps refer to; ``said`` is everything that came of the last step."""

    def __init__(self, name: str, pages: str = "all") -> None:
        self.site = Site(PLANES[name](LIMITS, PAGES[pages]))
        self.site.say(type="registerfunction", id="f")
        self.clients: list[Any] = []
        self.routes: list[int] = []
        self.exchanges: list[Any] = []

    def do(self, step: Step) -> list[Any]:
        kind, argument = step
        said: list[Any] = []
        try:
            getattr(self, kind.replace(" ", "_"))(argument)
        except WireError as error:
            said.append((str(error.code), error.message))
        self.site.run()
        for number, client in enumerate(self.clients):
            said.append((number, _ERROR_ID.sub(b"?", client.read()), client.closed))
        for call in self.site.calls():
            if call[0] == "requested":
                self.exchanges.append(call[1])
            said.append((call[0], self.exchanges.index(call[1]), *call[2:]))
        said.append([(one["data"], one.get("metadata")) for one in self.site.invocations])
        return said

    def bind(self, argument: tuple[str, str, bool]) -> None:
        method, pattern, direct = argument
        self.routes.append(self.site.route(pattern, method, direct=direct))

    def unbind(self, index: int) -> None:
        if index < len(self.routes):
            self.site.plane.unbind_route(self.routes.pop(index))

    def connect(self, _: None) -> None:
        if len(self.clients) < 5:
            self.clients.append(self.site.client())

    def feed(self, argument: tuple[int, bytes, int]) -> None:
        index, raw, step = argument
        if index < len(self.clients):
            for at in range(0, len(raw), step):
                self.clients[index].send(raw[at : at + step])

    def end(self, index: int) -> None:
        if index < len(self.clients):
            self.clients[index].end()

    def lose(self, index: int) -> None:
        if index < len(self.clients):
            self.site.plane.http_lose(self.clients[index].number)

    def settle(self, outcome: dict[str, Any]) -> None:
        if self.site.held:
            self.site.settle(**outcome)

    def answer(self, argument: tuple[int, Answered | Refused]) -> None:
        index, answer = argument
        if index < len(self.exchanges):
            self.site.plane.answer(self.exchanges[index], answer)

    def proceed(self, index: int) -> None:
        if index < len(self.exchanges):
            self.site.plane.proceed(self.exchanges[index])

    def wait(self, ms: int) -> None:
        self.site.wait(ms)

    def forget_function(self, _: None) -> None:
        self.site.say(type="unregisterfunction", id="f")

    def stop(self, _: None) -> None:
        self.site.plane.http_stop()


START: list[Step] = [("connect", None), ("bind", ("GET", "a/:x", True)), ("bind", ("POST", "*", True))]


@look
@given(st.lists(STEP, max_size=30), st.sampled_from(sorted(PAGES)))
def test_both_say_the_same(steps: list[Step], pages: str) -> None:
    native, reference = Actor("native", pages), Actor("reference", pages)
    for step in [*START, *steps]:
        assert native.do(step) == reference.do(step), step


@look
@given(
    st.lists(st.one_of(RAW, broken_requests()), min_size=1, max_size=3).map(b"".join),
    st.integers(1, 80),
    st.sampled_from(sorted(PAGES)),
)
def test_both_read_the_same_requests(raw: bytes, size: int, pages: str) -> None:
    native, reference = Actor("native", pages), Actor("reference", pages)
    for step in [*START, ("feed", (0, raw, size)), ("end", 0)]:
        assert native.do(step) == reference.do(step)


@look
@given(st.one_of(RAW, broken_requests()), st.integers(1, 80), st.sampled_from(sorted(PAGES)))
def test_how_a_request_is_cut_up_does_not_matter(raw: bytes, size: int, pages: str) -> None:
    for name in PLANES:
        whole, cut = Actor(name, pages), Actor(name, pages)
        for step in START:
            assert whole.do(step) == cut.do(step)
        assert whole.do(("feed", (0, raw, len(raw) + 1))) == cut.do(("feed", (0, raw, size)))
