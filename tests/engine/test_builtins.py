"""Functions that the control plane answers: inputs, results, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock

from iii_fast.broker import ENGINE_SESSION, Function
from iii_fast.builtins import channels, health, log, queues
from iii_fast.builtins.functions import Functions
from iii_fast.builtins.workers import Workers
from iii_fast.contracts import Call, FunctionInfo, Stats, StorageStats, WorkerInfo
from iii_fast.errors import WireError
from tests.engine.fake_backend import FakeBackend, call
from tests.triggers.bench import VirtualClock


class RecordingQueues:
    """Records what would be queued; refuses the queue ``bad``."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, ...]] = []
        self.enqueued: list[tuple[Any, ...]] = []

    def publish(self, topic_name: str, data: bytes, traceparent: str | None = None, baggage: str | None = None) -> None:
        self.published.append((topic_name, data, traceparent, baggage))

    def enqueue(self, queue_name: str, function_id: str, data: bytes, **more: Any) -> str:
        if queue_name == "bad":
            raise WireError("enqueue_error", "bad queue")
        self.enqueued.append((queue_name, function_id, data, more))
        return more.get("job_id") or "made-up"


def raised(function: Function, asked: Call) -> WireError:
    with pytest.raises(WireError) as info:
        function(asked)
    return info.value


def raw(function_id: str, data: bytes, **fields: Any) -> Call:
    return Call(1, "i", function_id, data, **fields)


# Inputs


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"5", "invalid type: number, expected an object"),
        (b'"x"', "invalid type: string, expected an object"),
        (b"{}", "missing field `topic`"),
        (b"null", "missing field `topic`"),
        (b'{"topic":null}', "field `topic`: invalid type: null, expected a string"),
        (b'{"topic":[]}', "field `topic`: invalid type: array, expected a string"),
        (b'{"topic":"a","topic":"b"}', "duplicate field `topic`"),
        (b'{"topic":"a","data":1,"d\\u0061ta":1}', "duplicate field `data`"),
    ],
)
@pytest.mark.parametrize("function_id", ["enqueue", "iii::durable::publish"])
def test_publish_says_what_is_wrong(function_id: str, data: bytes, reason: str) -> None:
    functions = queues.functions(RecordingQueues())
    error = raised(functions[function_id], raw(function_id, data))
    assert error == WireError("deserialization_error", f"Failed to deserialize input for {function_id}: {reason}")


@pytest.mark.parametrize("function_id", ["enqueue", "iii::durable::publish"])
def test_publish(function_id: str) -> None:
    recording = RecordingQueues()
    publish = queues.functions(recording)[function_id]
    asked = raw(function_id, b'{"data":{"n":1.0e2},"topic":"t","other":1}', traceparent="tp", baggage="bg")
    assert publish(asked) is None
    assert publish(raw(function_id, b'{"topic":"t"}')) is None
    assert recording.published == [("t", b'{"n":1.0e2}', "tp", "bg"), ("t", b"null", None, None)]
    assert raised(publish, call(function_id, {"topic": "", "data": 1})) == WireError(
        "topic_not_set", "Topic is not set"
    )


def test_the_enqueue_function() -> None:
    recording = RecordingQueues()
    enqueue = queues.functions(recording)["engine::queue::enqueue"]
    payload = {"queue": "q", "function_id": "f", "data": [1], "messageReceiptId": "r", "traceparent": None}
    result = enqueue(call("engine::queue::enqueue", payload, metadata=b"[9]", baggage="bg"))
    assert result == b'{"messageReceiptId":"r"}'
    more = {"metadata": b"[9]", "traceparent": None, "baggage": "bg", "job_id": "r"}
    assert recording.enqueued == [("q", "f", b"[1]", more)]
    error = raised(enqueue, call("engine::queue::enqueue", payload | {"namespace": "team"}))
    assert error == WireError("enqueue_error", "Function f not found in namespace team.")


def test_the_enqueue_action() -> None:
    recording = RecordingQueues()
    asked = call("f", {"a": 1}, queue="q", metadata=b"[9]", traceparent="tp")
    assert queues.enqueue_action(recording, asked) == b'{"messageReceiptId":"made-up"}'
    more = {"metadata": b"[9]", "traceparent": "tp", "baggage": None}
    assert recording.enqueued == [("q", "f", b'{"a": 1}', more)]
    for absent in (queues.enqueue_action, lambda _, one: queues.enqueue_action(None, one)):
        with pytest.raises(WireError) as info:
            absent(recording, call("f", None, queue="bad"))
        assert info.value.code == "enqueue_error"


# Workers


def worker(session: int, worker_id: str) -> WorkerInfo:
    return WorkerInfo(session, worker_id, f"127.0.0.1:{40000 + session}", 1000 + session, session)


REGISTER = "engine::workers::register"


def test_registering_and_listing_workers() -> None:
    backend = FakeBackend(worker_list=[worker(1, "w1"), worker(2, "w2")])
    backend.function_list = [FunctionInfo("f", 1, "w1", b"{}"), FunctionInfo("g", 1, "w1", b"{}")]
    workers = Workers(backend)
    said = {"runtime": "node", "version": "1", "name": "box:1", "os": "Linux", "pid": 5, "isolation": None}
    assert (
        workers.register(call(REGISTER, said | {"namespace": None, "telemetry": {"language": "C"}}))
        == b'{"success":true}'
    )
    listed = json.loads(workers.list(call("engine::workers::list")))
    assert listed["workers"][0] == {
        "name": "box:1",
        "description": None,
        "version": "1",
        "id": "w1",
        "namespace": "default",
        "runtime": "node",
        "os": "Linux",
        "status": "connected",
        "function_count": 2,
        "connected_at_ms": 1001,
        "active_invocations": 1,
        "isolation": None,
        "ip_address": "127.0.0.1",
    }
    assert [one["name"] for one in listed["workers"]] == ["box:1", "w2"]
    workers.forget(1)
    workers.forget(77)
    assert workers.name(1, "w1") == "w1"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"search": "BOX"}, ["w1"]),
        ({"runtime": "node"}, ["w1"]),
        ({"status": "connected"}, ["w1", "w2"]),
        ({"status": "available"}, []),
        ({"search": None}, ["w1", "w2"]),
    ],
)
def test_filters_of_the_worker_list(filters: dict[str, Any], found: list[str]) -> None:
    workers = Workers(FakeBackend(worker_list=[worker(1, "w1"), worker(2, "w2")]))
    workers.register(call(REGISTER, {"name": "box", "runtime": "node"}))
    listed = json.loads(workers.list(call("engine::workers::list", filters)))
    assert [one["id"] for one in listed["workers"]] == found


@pytest.mark.parametrize(
    ("said", "small"),
    [
        ({"runtime": "python"}, True),
        ({"runtime": "python", "features": []}, True),
        ({"runtime": "python", "features": "large-messages.v1"}, True),
        ({"runtime": "python", "features": ["observe.v1", "large-messages.v1"]}, False),
        ({"runtime": "node"}, False),
        ({"runtime": "rust", "features": []}, False),
        ({}, False),
    ],
)
def test_old_python_workers_get_small_messages(said: dict[str, Any], small: bool) -> None:
    backend = FakeBackend()
    Workers(backend).register(call(REGISTER, said, session=7))
    assert backend.peer_maxima == ({7: 1 << 20} if small else {})


def test_namespaces_of_workers(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers(FakeBackend())
    assert raised(workers.register, call(REGISTER, {"namespace": " "})).code == "INVALID_NAMESPACE"
    workers.register(call(REGISTER, {"namespace": "default"}))
    assert caplog.text == ""
    workers.register(call(REGISTER, {"namespace": "team"}))
    assert "'team'" in caplog.text


def test_the_engine_itself_is_no_worker() -> None:
    workers = Workers(FakeBackend())
    assert raised(workers.register, call(REGISTER, {}, session=ENGINE_SESSION)).code == "not_supported"


# Functions


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["a::f", "b::g", "engine::queue::enqueue", "enqueue", "state::set"]),
        (None, ["a::f", "b::g", "engine::queue::enqueue", "enqueue", "state::set"]),
        ({"prefix": "a::"}, ["a::f"]),
        ({"search": "QUEUE"}, ["engine::queue::enqueue", "enqueue"]),
        ({"worker": "box"}, ["a::f"]),
        ({"workers": ["box", "w2"]}, ["a::f", "b::g"]),
        ({"include_internal": True, "prefix": "engine::f"}, ["engine::functions::list"]),
        ({"include_internal": True, "search": "secret"}, ["secret"]),
    ],
)
def test_the_function_list(filters: Any, found: list[str]) -> None:
    backend = FakeBackend()
    backend.function_list = [
        FunctionInfo("b::g", 2, "w2", b'{"id":"b::g"}'),
        FunctionInfo("a::f", 1, "w1", b'{"id":"a::f","description":"d","metadata":{"k":1}}'),
        FunctionInfo("secret", 2, "w2", b'{"id":"secret","metadata":{"internal":true}}'),
    ]
    workers = Workers(backend)
    workers.register(call(REGISTER, {"name": "box"}))
    own = ["engine::functions::list", "enqueue", "engine::queue::enqueue", "state::set"]
    listed = json.loads(Functions(backend, workers, lambda: own).list(call("engine::functions::list", filters)))
    assert [one["function_id"] for one in listed["functions"]] == found
    described = [one for one in listed["functions"] if one["function_id"] == "a::f"]
    for one in described:
        assert one == {
            "function_id": "a::f",
            "namespace": "default",
            "worker_name": "box",
            "description": "d",
            "metadata": {"k": 1},
        }


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ({"prefix": 1}, "field `prefix`: invalid type: number, expected a string"),
        ({"workers": "x"}, "field `workers`: invalid type: string, expected an array"),
        ({"workers": [1]}, "field `workers[0]`: expected a string"),
        ({"include_internal": "yes"}, "field `include_internal`: invalid type: string, expected a boolean"),
    ],
)
def test_wrong_filters(filters: Any, reason: str) -> None:
    backend = FakeBackend()
    functions = Functions(backend, Workers(backend), list)
    error = raised(functions.list, call("engine::functions::list", filters))
    assert error.message == f"Failed to deserialize input for engine::functions::list: {reason}"


# Health, log, channels


async def test_health(mock_clock: MockClock) -> None:
    backend = FakeBackend(current=Stats(3, 4, 5, 6, 7, 8))
    check = health.functions(backend, VirtualClock(12.5), "9.9", lambda: 2)["engine::health::check"]
    for payload in ({}, None):
        result = json.loads(check(call("engine::health::check", payload)) or b"")
        assert (result["status"], result["timestamp"], result["version"]) == ("healthy", 12500, "9.9")
        assert result["components"]["otel"] == {"status": "healthy", "details": {"frames": 7, "bytes": 8}}
        assert result["components"]["invocations"]["details"] == {"in_flight": 4, "of_triggers": 2}


POSITIONS = {"position": 40, "acknowledged": 39, "synced": 30}


@pytest.mark.parametrize("failure", [None, "no space left"])
async def test_health_of_state(mock_clock: MockClock, failure: str | None) -> None:
    storage = StorageStats("file", "interval", 5, 600, 7000, failure=failure, **POSITIONS)
    check = health.functions(FakeBackend(current=Stats(storage=storage)), VirtualClock(0), "1", lambda: 0)
    result = json.loads(check["engine::health::check"](call("engine::health::check")) or b"")
    details = {"kind": "file", "sync": "interval", "keys": 5, "live_bytes": 600, "disk_bytes": 7000, **POSITIONS}
    if failure is not None:
        details["failure"] = failure
    status = "healthy" if failure is None else "unhealthy"
    assert result["components"]["state"] == {"status": status, "details": details}
    assert result["status"] == status
    assert result["components"]["workers"]["status"] == "healthy"


@pytest.mark.parametrize(("name", "level"), [("trace", 5), ("debug", 10), ("info", 20), ("warn", 30), ("error", 40)])
def test_log(name: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    function_id = f"engine::log::{name}"
    function = log.functions()[function_id]
    with caplog.at_level(1, logger="iii_fast.worker"):
        payload = {"message": "100% done", "trace_id": "t", "service_name": "s", "data": {"a": 1}}
        assert function(call(function_id, payload)) is None
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (level, "100% done")
    fields = vars(record)
    assert (fields["trace_id"], fields["service_name"], json.loads(fields["data"])) == ("t", "s", {"a": 1})
    error = raised(function, call(function_id, {}))
    assert error.message == f"Failed to deserialize input for {function_id}: missing field `message`"


def test_channels_say_that_they_are_not_there() -> None:
    create = channels.functions()["engine::channels::create"]
    for payload in ({}, None, {"buffer_size": 5}, {"buffer_size": None}):
        assert raised(create, call("engine::channels::create", payload)).code == "not_supported"
    assert raised(create, call("engine::channels::create", {"buffer_size": "x"})).code == "deserialization_error"
