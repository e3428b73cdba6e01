"""Each published SDK by itself: everything a worker does, on both backends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import http, sdks
from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.polling import eventually
from tests.support.steered_worker import CallFailed, SteeredWorker


def deliveries(worker: SteeredWorker, function_id: str) -> list[Any]:
    return [event["data"] for event in worker.events("delivered", function_id=function_id)]


def test_registers_and_is_called(worker: SteeredWorker) -> None:
    echo = unique("shop::echo")
    worker.do("function", id=echo, behaviour="echo")
    for data in ({"a": [1, 2.5, None, {"ü": "☃ \u0001"}]}, [], "text", 17, False, {}):
        assert worker.call(echo, data) == data


def test_call_without_payload_arrives_as_null(worker: SteeredWorker) -> None:
    echo = unique("shop::echo")
    worker.do("function", id=echo, behaviour="echo")
    assert worker.do("call", function_id=echo) is None
    assert worker.expect("delivered", function_id=echo)["data"] is None


def test_failure_of_a_function_reaches_the_caller(worker: SteeredWorker) -> None:
    fail = unique("shop::fail")
    worker.do("function", id=fail, behaviour="fail")
    with pytest.raises(CallFailed, match="boom") as failure:
        worker.call(fail, {})
    assert failure.value.code == "invocation_failed"


def test_unknown_function_is_told_at_once(worker: SteeredWorker) -> None:
    name = unique("nobody")
    with pytest.raises(CallFailed, match=f"Function {name} not found in namespace default") as failure:
        worker.call(name, {}, timeout_ms=3000)
    assert failure.value.code == "function_not_found"


def test_many_calls_at_once(worker: SteeredWorker) -> None:
    echo = unique("shop::echo")
    worker.do("function", id=echo, behaviour="echo")
    answers = [worker.tell("call", function_id=echo, payload={"n": n}) for n in range(200)]
    assert [answer(10) for answer in answers] == [{"n": n} for n in range(200)]


def test_state_calls(worker: SteeredWorker) -> None:
    scope = unique("scope")

    def state(call: str, **payload: Any) -> Any:
        return worker.call(f"state::{call}", payload)

    assert state("set", scope=scope, key="b", value={"n": 1}) == {"old_value": None, "new_value": {"n": 1}}
    assert state("set", scope=scope, key="a", value=[1]) == {"old_value": None, "new_value": [1]}
    assert state("set", scope=scope, key="b", value={"n": 2}) == {"old_value": {"n": 1}, "new_value": {"n": 2}}
    assert state("get", scope=scope, key="b") == {"n": 2}
    assert state("get", scope=scope, key="none") is None
    assert state("list", scope=scope) == [{"n": 2}, [1]]
    assert scope in worker.call("state::list_groups", {})["groups"]
    ops = [{"type": "increment", "path": "n", "by": 3}, {"type": "set", "path": "s", "value": "x"}]
    updated = {"n": 5, "s": "x"}
    assert state("update", scope=scope, key="b", ops=ops) == {"old_value": {"n": 2}, "new_value": updated}
    assert state("delete", scope=scope, key="b") == updated
    assert state("delete", scope=scope, key="b") is None
    assert state("delete", scope=scope, key="a") == [1]
    assert state("list", scope=scope) == []
    assert scope not in worker.call("state::list_groups", {})["groups"]


def test_state_call_with_a_wrong_field(worker: SteeredWorker) -> None:
    with pytest.raises(CallFailed, match=r"state::set.*scope") as failure:
        worker.call("state::set", {"key": "k", "value": 1})
    assert failure.value.code == "deserialization_error"


def test_void_calls(worker: SteeredWorker) -> None:
    scope, echo = unique("scope"), unique("shop::echo")
    worker.do("function", id=echo, behaviour="echo")
    assert worker.call(echo, {"v": 1}, void=True) is None
    worker.expect("delivered", function_id=echo, data={"v": 1})
    assert worker.call("state::set", {"scope": scope, "key": "k", "value": 1}, void=True) is None
    assert worker.call("state::get", {"scope": scope, "key": "k"}) == 1
    assert worker.call(unique("nobody"), {}, void=True) is None


def test_http_trigger(engine: EngineProcess, worker: SteeredWorker) -> None:
    function, root = unique("shop::http"), unique("orders")
    value = {"status_code": 201, "headers": {"x-made-by": "worker"}, "body": {"made": True}}
    worker.do("function", id=function, behaviour="reply", value=value)
    config = {"api_path": f"/{root}/:id", "http_method": "PUT"}
    worker.do("trigger", type="http", function_id=function, config=config, handle=root)
    worker.taken_in()
    answer = http.request("PUT", engine.http_url(f"{root}/42?q=2"), {"b": 1}, {"X-Foo": "Bar"})
    assert (answer.status, answer.body, answer.headers["x-made-by"]) == (201, {"made": True}, "worker")
    seen = worker.expect("delivered", function_id=function)["data"]
    assert (seen["method"], seen["path_params"], seen["query_params"]) == ("PUT", {"id": "42"}, {"q": "2"})
    assert (seen["body"], seen["headers"]["x-foo"]) == ({"b": 1}, "Bar")
    assert http.request("GET", engine.http_url("none-such")).status == 404
    worker.do("untrigger", handle=root)
    worker.taken_in()
    assert http.request("PUT", engine.http_url(f"{root}/42"), {}).status == 404


def test_state_trigger_sees_changes_in_order(worker: SteeredWorker) -> None:
    function, scope = unique("shop::watch"), unique("scope")
    worker.do("function", id=function, behaviour="reply", value=None)
    worker.do("trigger", type="state", function_id=function, config={"scope": scope, "key": "k"}, handle=scope)
    worker.taken_in()
    for value in (1, 2):
        worker.call("state::set", {"scope": scope, "key": "other", "value": value})
        worker.call("state::set", {"scope": scope, "key": "k", "value": value})
    worker.call("state::delete", {"scope": scope, "key": "k"})

    def three_came() -> list[Any]:
        seen = deliveries(worker, function)
        assert len(seen) >= 3
        return seen

    event = {"type": "state", "scope": scope, "key": "k"}
    assert eventually(three_came) == [
        {**event, "event_type": "state:created", "old_value": None, "new_value": 1},
        {**event, "event_type": "state:updated", "old_value": 1, "new_value": 2},
        {**event, "event_type": "state:deleted", "old_value": 2, "new_value": None},
    ]
    worker.do("untrigger", handle=scope)


def test_durable_publish_waits_for_the_first_subscriber(worker: SteeredWorker) -> None:
    function, topic = unique("shop::subscriber"), unique("topic")
    assert worker.call("iii::durable::publish", {"topic": topic, "data": {"n": 1}}) is None
    worker.do("function", id=function, behaviour="reply", value=None)
    worker.do("trigger", type="durable:subscriber", function_id=function, config={"topic": topic}, handle=topic)
    worker.expect("delivered", function_id=function, data={"n": 1})
    worker.call("iii::durable::publish", {"topic": topic, "data": {"n": 2}})
    worker.expect("delivered", function_id=function, data={"n": 2})
    assert deliveries(worker, function) == [{"n": 1}, {"n": 2}]


def test_enqueue_action_gives_a_receipt(worker: SteeredWorker) -> None:
    function = unique("shop::job")
    worker.do("function", id=function, behaviour="reply", value=None)
    receipt = worker.call(function, {"job": 1}, queue="default")
    assert isinstance(receipt["messageReceiptId"], str)
    worker.expect("delivered", function_id=function, data={"job": 1})


def test_metadata_goes_beside_the_data(sdk: str, worker: SteeredWorker) -> None:
    function = unique("shop::echo")
    worker.do("function", id=function, behaviour="echo")
    metadata = {"tenant": "a"} if sdk in sdks.WITH_METADATA else None
    fields = {"metadata": metadata} if metadata else {}
    assert worker.call(function, {"a": 1}, **fields) == {"a": 1}
    assert worker.expect("delivered", function_id=function)["metadata"] == metadata


def test_provides_a_trigger_type(sdk: str, worker: SteeredWorker) -> None:
    kind, function = unique("webhook"), unique("shop::hooked")
    worker.do("function", id=function, behaviour="reply", value=None)
    worker.do("trigger", type=kind, function_id=function, config={"url": "/a"}, handle=kind)
    worker.do("trigger_type", id=kind)
    bound = worker.expect("bound", trigger_type=kind)
    assert (bound["function_id"], bound["config"]) == (function, {"url": "/a"})
    worker.call(bound["function_id"], {"hook": 1}, void=True)
    worker.expect("delivered", function_id=function, data={"hook": 1})
    worker.do("untrigger", handle=kind)
    if sdk in sdks.HEARS_UNBIND:
        assert worker.expect("unbound", trigger_type=kind)["id"] == bound["id"]
    worker.taken_in()
    worker.do("untrigger_type", id=kind)


def test_leaves_and_is_gone(sdk: str, engine: EngineProcess, worker: SteeredWorker) -> None:
    function = unique("shop::leaving")
    with sdks.worker(sdk, engine.url) as leaving:
        leaving.do("function", id=function, behaviour="echo")
        leaving.taken_in()
        assert worker.call(function, 1) == 1
        assert leaving.leave() == 0

    def gone() -> None:
        with pytest.raises(CallFailed) as failure:
            worker.call(function, 1)
        assert failure.value.code == "function_not_found"

    eventually(gone)
