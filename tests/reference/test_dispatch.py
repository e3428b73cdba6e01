"""The reference's sessions without sockets: text in, text out, for the rules of docs/wire.md that the text names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iii_fast.contracts import Call, Limits
from iii_fast.errors import WireError
from iii_fast.reference.calls import AnyCall, Called, Changed, Closed, Message, Settled
from iii_fast.reference.core import Core
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.payload import Payload
from iii_fast.reference.session import TelemetrySession, WorkerSession

ID = "00000000-0000-4000-8000-000000000001"
OTHER_ID = "00000000-0000-4000-8000-000000000002"


class Worker:
    """One session with its outbox."""

    def __init__(self, core: Core, number: int) -> None:
        self.outbox = Outbox()
        self.session = WorkerSession(core, core.connect(number, self.outbox, "loopback", number))
        self.greeting = json.loads(self.sent()[0])

    def says(self, message: str | bytes) -> list[str]:
        """Sends one message; returns what came back to this worker."""
        self.session.receive(message)
        return self.sent()

    def sent(self) -> list[str]:
        return list(iter(self.outbox.pop, None))

    def calls(self, function_id: str, members: str = "", invocation_id: str = ID) -> list[str]:
        ids = f'"invocation_id":"{invocation_id}","function_id":"{function_id}"'
        return self.says(f'{{"type":"invokefunction",{ids}{members}}}')

    def registers(self, function_id: str) -> list[str]:
        return self.says(f'{{"type":"registerfunction","id":"{function_id}"}}')

    def answers(self, invocation_id: str, members: str = "") -> list[str]:
        return self.says(f'{{"type":"invocationresult","invocation_id":"{invocation_id}"{members}}}')


class Wire:
    """A data plane and the workers ``a`` and ``b``; ``b`` provides ``f``."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.core = Core(limits or Limits())
        self.core.registry.define(["engine::x"])
        self.a, self.b = Worker(self.core, 1), Worker(self.core, 2)
        assert self.b.registers("f") == []

    def up(self) -> list[AnyCall]:
        """Takes the calls for the control plane."""
        return list(iter(self.core.calls.pop, None))


@pytest.fixture
def wire() -> Wire:
    return Wire()


def result(function_id: str, outcome: str = "", invocation_id: str = ID) -> str:
    ids = f'"invocation_id":"{invocation_id}","function_id":"{function_id}"'
    return f'{{"type":"invocationresult",{ids}{outcome}}}'


def error(function_id: str, code: str, message: str, invocation_id: str = ID) -> str:
    return result(function_id, f',"error":{{"code":"{code}","message":{json.dumps(message)}}}', invocation_id)


def test_r02_what_is_no_message_is_ignored_and_counted(wire: Wire) -> None:
    unusable = [
        "[]",
        "1",
        "{}",
        '{"type":1}',
        '{"type":"bogus"}',
        '{"type":"pong"}',
        "{",
        '{"type":"workerregistered"}',
    ]
    for text in unusable:
        assert wire.a.says(text) == []
    assert wire.core.counters.messages_ignored == len(unusable)
    assert wire.a.says("") == []
    assert wire.core.counters.messages_ignored == len(unusable)
    assert wire.a.says(' {"x":1, "ty\\u0070e" : "ping"} ') == ['{"type":"pong"}']


def test_r03_binary_messages(wire: Wire) -> None:
    assert wire.a.says(b"OTLP{}") == wire.a.says(b"LOGS") == wire.a.says(b"MTRC") == wire.a.says(b"\xff{}") == []
    assert wire.a.says(b'{"type":"ping"}') == ['{"type":"pong"}']
    TelemetrySession(wire.core).receive("é")
    counters = wire.core.counters
    assert (counters.telemetry_frames, counters.telemetry_bytes, counters.messages_ignored) == (4, 16, 1)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (
            '{"type":"invokefunction","data":NaN,"function_id":"f","invocation_id":"\\u0069"}',
            '{"type":"invocationresult","invocation_id":"\\u0069","function_id":"f","error":'
            '{"code":"invalid_message","message":"Invalid JSON at byte 32: NaN is not a JSON value"}}',
        ),
        (
            '{"type":"invokefunction","data":"\\ud800","function_id":1,"invocation_id":"i"}',
            '{"type":"invocationresult","invocation_id":"i","function_id":"","error":'
            '{"code":"invalid_message","message":"Invalid JSON at byte 33: lone surrogate in a string"}}',
        ),
        ('{"type":"invokefunction","data":NaN,"invocation_id":1}', None),
        ('{"type":"invokefunction","data":NaN,"invocation_id":"i"', None),
        ('{"type":"invokefunction","invocation_id":"i","action":{"x":NaN,"type":"void"}}', None),
        ('{"type":"registerfunction","id":"g","metadata":NaN}', None),
    ],
)
def test_r04_broken_json(wire: Wire, text: str, reply: str | None) -> None:
    assert wire.a.says(text) == ([] if reply is None else [reply])


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ('"function_id":null', "field `function_id` is null, expected a string"),
        ('"x":1', "field `function_id` is missing, expected a string"),
        ('"function_id":"f","action":"void","namespace":1', "field `action` is a string, expected an object"),
        ('"function_id":"f","action":{}', 'field `action.type` is missing, expected "void" or "enqueue"'),
        ('"function_id":"f","action":{"type":[]}', 'field `action.type` is an array, expected "void" or "enqueue"'),
        (
            '"function_id":"f","action":{"type":"bog\\u0075s"}',
            'field `action.type` is "bog\\u0075s", expected "void" or "enqueue"',
        ),
        ('"function_id":"f","action":{"type":"enqueue"}', "field `action.queue` is missing, expected a string"),
        ('"function_id":"f","namespace":false', "field `namespace` is a boolean, expected a string"),
    ],
)
def test_r05_fields(wire: Wire, members: str, problem: str) -> None:
    (reply,) = wire.a.says(f'{{"type":"invokefunction","invocation_id":"i",{members}}}')
    assert json.loads(reply)["error"] == {"code": "invalid_message", "message": f"Invalid invokefunction: {problem}"}
    assert wire.b.sent() == []


@pytest.mark.parametrize("namespace", ["null", '"default"', '"d\\u0065fault"'])
def test_r06_the_default_namespace(wire: Wire, namespace: str) -> None:
    assert wire.a.calls("f", f',"namespace":{namespace}') == []
    assert len(wire.b.sent()) == 1


def test_r06_other_namespaces(wire: Wire) -> None:
    blank = "`namespace` is empty: it was named and left blank. Give it a name, or omit it to use `default`."
    assert wire.a.calls("f", ',"namespace":"\\u2003\\n"') == [error("f", "INVALID_NAMESPACE", blank)]
    known = "Function f not found in namespace team. It is registered in namespace(s): default."
    assert wire.a.calls("f", ',"namespace":"team"') == [error("f", "function_not_found", known)]
    unknown = "Function g not found in namespace team."
    assert wire.a.calls("g", ',"namespace":"team"') == [error("g", "function_not_found", unknown)]


def test_r07_void_calls_are_never_answered(wire: Wire) -> None:
    void = ',"action":{"type":"void"}'
    for function_id in ("f", "nope", "state::get", "engine::x"):
        assert wire.a.calls(function_id, void) == []
        assert wire.a.says(f'{{"type":"invokefunction","function_id":"{function_id}"}}') == []
    delivered = [json.loads(text) for text in wire.b.sent()]
    assert len({ID} | {message["invocation_id"] for message in delivered}) == 3
    assert [call.call.invocation_id for call in wire.up() if isinstance(call, Called)] == [None, None]
    assert len(wire.core.invocations) == len(wire.b.session.peer.executing) == 0
    assert wire.b.answers(delivered[0]["invocation_id"], ',"result":1') == wire.a.sent() == []


def test_r08_ids(wire: Wire) -> None:
    c = Worker(wire.core, 3)
    assert wire.a.calls("f") == c.calls("f") == wire.a.calls("f", invocation_id="odd") == []
    first, second, third = (json.loads(text)["invocation_id"] for text in wire.b.sent())
    assert first == ID
    assert len({first, second, third, "odd"}) == 4
    again = "Invocation id `00000000-0000-4000-8000-000000000001` is already in flight on this connection."
    assert wire.a.calls("f") == [error("f", "duplicate_invocation_id", again)]
    for number, invocation_id in enumerate((third, second, first)):
        assert wire.b.answers(invocation_id, f',"result":{number}') == []
    assert wire.a.sent() == [result("f", ',"result":0', "odd"), result("f", ',"result":2')]
    assert c.sent() == [result("f", ',"result":1')]


def test_r09_what_the_worker_receives(wire: Wire) -> None:
    wire.a.calls("f", ',"data":{ "a":1e2,"a":[ ]},"baggage":"k=v","traceparent":"00\\u002d","metadata": {"m":1 }')
    wire.a.calls("f", ',"metadata":null,"baggage":1', OTHER_ID)
    head = '{"type":"invokefunction","invocation_id":'
    extras = '"metadata":{"m":1 },"traceparent":"00\\u002d","baggage":"k=v"'
    assert wire.b.sent() == [
        f'{head}"{ID}","function_id":"f","data":{{ "a":1e2,"a":[ ]}},{extras}}}',
        f'{head}"{OTHER_ID}","function_id":"f","data":null}}',
    ]


@pytest.mark.parametrize(
    ("members", "outcome"),
    [
        ("", ""),
        (',"result":null,"error":null', ""),
        (',"result":[ 1e2 ]', ',"result":[ 1e2 ]'),
        (',"result":1,"error":{"x":[ ], "message":"m","code":"c"}', ',"error":{"x":[ ], "message":"m","code":"c"}'),
        (',"error":{"code":1,"stacktrace":"s","x":2}', ',"error":{"code":"UNKNOWN","message":"","stacktrace":"s"}'),
        (',"error":{"message":"\\u006d"}', ',"error":{"code":"UNKNOWN","message":"\\u006d"}'),
        (',"error":["boom"]', ',"error":{"code":"UNKNOWN","message":"[\\"boom\\"]"}'),
        (
            ',"result":NaN',
            ',"error":{"code":"invalid_message","message":'
            '"Worker\'s result is not usable: Invalid JSON at byte 91: NaN is not a JSON value"}',
        ),
    ],
)
def test_r10_results(wire: Wire, members: str, outcome: str) -> None:
    wire.a.calls("f")
    assert len(wire.b.sent()) == 1
    assert wire.a.answers(ID, ',"result":"mine"') == []
    assert wire.b.answers(ID, members) == []
    assert wire.a.sent() == [result("f", outcome)]
    assert wire.b.answers(ID, members) == wire.a.sent() == []


def test_r11_limits() -> None:
    wire = Wire(Limits(invocations_in_flight_max=1, outbox_bytes_max=250))
    assert wire.a.calls("f") == []
    flight = "This connection has 1 invocations in flight, the limit is 1."
    assert wire.a.calls("f", invocation_id=OTHER_ID) == [error("f", "too_many_invocations", flight, OTHER_ID)]
    full = "The worker has 112 bytes waiting to be read, the limit is 250 bytes."
    data = f',"data":"{"x" * 60}"'
    assert Worker(wire.core, 3).calls("f", data, OTHER_ID) == [error("f", "worker_overloaded", full, OTHER_ID)]
    wire.a.session.peer.message_bytes_max = wire.b.session.peer.message_bytes_max = 120
    large = "Invocation of 168 bytes exceeds what the worker can receive (120 bytes)."
    assert wire.a.calls("f", data, OTHER_ID) == [error("f", "payload_too_large", large, OTHER_ID)]
    large = "Result of 162 bytes exceeds what this connection can receive (120 bytes)."
    wire.b.answers(ID, f',"result":"{"x" * 50}"')
    assert wire.a.sent() == [error("f", "payload_too_large", large)]


def _closing(worker: Worker) -> list[int]:
    return [] if worker.outbox.closing is None else [worker.outbox.closing.code]


def test_r11_a_peer_that_does_not_read_what_the_control_plane_sends_is_given_up() -> None:
    size = len(result("engine::x", ',"result":1')) + 2
    for spare, told in ((0, []), (-1, [1008])):
        wire = Wire(Limits(outbox_bytes_max=size + spare))
        wire.core.settle(1, ID, "engine::x", b"1")
        assert _closing(wire.a) == told
        wire.core.push(2, "x" * (size - 2))
        assert _closing(wire.b) == told
        reason = "does not read: more than outbox_bytes_max waits for it"
        assert [call.reason for call in wire.up() if isinstance(call, Closed)] == [reason] * 2 * len(told)


def test_r12_a_worker_that_goes(wire: Wire) -> None:
    wire.a.registers("g")
    wire.a.calls("f")
    wire.b.calls("g")
    wire.core.invoke(7, "f", Payload("null"))
    wire.b.session.end("connection lost")
    assert wire.a.sent()[1:] == [error("f", "invocation_stopped", "Invocation stopped")]
    assert wire.up() == [
        Settled(7, WireError("invocation_stopped", "Invocation stopped")),
        Closed(2, wire.b.greeting["worker_id"], "connection lost"),
    ]
    assert wire.a.answers(ID, ',"result":1') == []
    assert wire.a.calls("f") == [error("f", "function_not_found", "Function f not found in namespace default.")]
    wire.b.session.end("again")
    assert wire.up() == []


def test_r14_registrations(wire: Wire) -> None:
    rejected = '{{"type":"registrationrejected","code":"FUNCTION_NAMESPACE_CONFLICT","namespace":"default",'
    rejected = rejected.replace("{{", "{") + '"function_id":"%s","owner_worker_id":"%s"}'
    assert wire.a.registers("f") == [rejected % ("f", wire.b.greeting["worker_id"])]
    assert wire.a.registers("state::get") == [rejected % ("state::get", "")]
    assert wire.a.registers("engine::x") == [rejected % ("engine::x", "")]
    assert wire.b.registers("f") == wire.a.registers("") == []
    wire.a.says('{"type":"unregisterfunction","id":"f"}')
    assert wire.core.registry.find("f") is not None
    wire.b.says('{"type":"unregisterfunction","id":"f"}')
    assert wire.core.registry.find("f") is None
    assert wire.a.registers("f") == []


def test_r15_reattach(wire: Wire) -> None:
    greeting = wire.b.greeting
    message = {"type": "reattach", "previous_worker_id": greeting["worker_id"], "reattach_token": ID}
    assert wire.a.says(json.dumps(message)) == []
    assert wire.up() == []
    message["reattach_token"] = greeting["reattach_token"]
    assert wire.b.says(json.dumps(message)) == wire.a.says(json.dumps(message)) == []
    assert wire.up() == [Closed(2, greeting["worker_id"], "replaced by a new connection")]
    closing = wire.b.outbox.closing
    assert closing is not None
    assert (closing.code, closing.reason) == (1000, "replaced by a new connection")
    assert wire.a.registers("f") == []
    assert wire.b.says('{"type":"ping"}') == []


def test_r23_a_reply_too_large_says_what_was_written(wire: Wire) -> None:
    place = '"scope":"s","key":"k"'
    wire.a.session.peer.message_bytes_max = 200
    (reply,) = wire.a.calls("state::set", f',"data":{{{place},"value":"{"é" * 50}"}}')
    text = "Result of 252 bytes exceeds what this connection can receive (200 bytes); the write was applied."
    assert reply == error("state::set", "payload_too_large", text)
    (reply,) = wire.a.calls("state::list", f',"data":{{{place}}}')
    text = "Result of 224 bytes exceeds what this connection can receive (200 bytes)."
    assert reply == error("state::list", "payload_too_large", text)
    entry = wire.core.state.get("s", "k", now=0)
    assert entry is not None
    assert entry.value == f'"{"é" * 50}"'


def test_calls_of_the_control_plane(wire: Wire) -> None:
    members = ',"data":[ 1],"metadata":{},"traceparent":"\\u0074","baggage":1'
    assert wire.a.calls("engine::x", members, "\\u0069") == []
    assert wire.a.calls("nope", members + ',"action":{"type":"enqueue","queue":"q"}') == []
    fields: dict[str, Any] = {"session": 1, "data": b"[ 1]", "metadata": b"{}", "traceparent": "t", "baggage": None}
    assert wire.up() == [
        Called(Call(invocation_id="i", function_id="engine::x", queue=None, **fields)),
        Called(Call(invocation_id=ID, function_id="nope", queue="q", **fields)),
    ]
    wire.core.settle(1, "i", "engine::x", b'{"ok":1 }')
    wire.core.settle(1, ID, "nope", WireError("enqueue_error", "full", "trace"))
    wire.core.settle(99, ID, "nope", None)
    failed = ',"error":{"code":"enqueue_error","message":"full","stacktrace":"trace"}'
    assert wire.a.sent() == [result("engine::x", ',"result":{"ok":1 }', "i"), result("nope", failed)]


def test_messages_of_the_control_plane_go_up_as_they_came(wire: Wire) -> None:
    text = '{ "type":"registertrigger","config":{"é":1e2}, "x":1}'
    assert wire.a.says(text) == []
    assert wire.up() == [Message(1, "registertrigger", text.encode())]


def test_tickets_settle_once_and_forgotten_ones_never(wire: Wire) -> None:
    for ticket in (1, 2):
        wire.core.invoke(ticket, "f", Payload("null"))
        wire.core.invoke(ticket + 10, "state::list", Payload('{"scope":"s"}'))
    wire.core.invoke(20, "nope", Payload("null"))
    wire.core.forget(2)
    wire.core.forget(12)
    for text in wire.b.sent():
        wire.b.answers(json.loads(text)["invocation_id"], ',"error":{"code":"c","message":"m","stacktrace":"s"}')
    assert wire.up() == [
        Settled(11, b"[]"),
        Settled(20, WireError("function_not_found", "Function nope not found in namespace default.")),
        Settled(1, WireError("c", "m", "s")),
    ]
    assert len(wire.core.invocations) == 0


def test_watches_are_counted(wire: Wire) -> None:
    def write() -> list[str]:
        wire.a.calls("state::set", ',"data":{"scope":"s","key":"\\u006b","value":null}')
        return [call.event.decode() for call in wire.up() if isinstance(call, Changed)]

    state = wire.core.state
    state.watch("s")
    state.watch(None)
    event = '{"type":"state","event_type":"state:%s","scope":"s","key":"k","old_value":null,"new_value":null}'
    assert write() == [event % "created"]
    assert write() == [event % "updated"]
    state.unwatch("s")
    assert write() == [event % "updated"]
    state.unwatch(None)
    assert write() == []
