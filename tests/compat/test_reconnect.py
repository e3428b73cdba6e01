"""Each SDK behind a connection that is cut: it comes back by itself, and nothing is there twice."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import sdks
from tests.support.cutting_proxy import CuttingProxy
from tests.support.deadlines import ANSWER_S, RECONNECT_S
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.naming import unique
from tests.support.polling import eventually
from tests.support.steered_worker import CallFailed, SteeredWorker


def answers(caller: SteeredWorker, function: str, data: Any) -> None:
    """Calls, and turns the absence of the function into an ``AssertionError``."""
    try:
        assert caller.call(function, data) == data
    except CallFailed as failed:
        raise AssertionError(str(failed)) from failed


@pytest.mark.deadline(120)
@pytest.mark.parametrize("sdk", sdks.SDKS)
def test_comes_back_after_a_cut(sdk: str, engine: EngineProcess) -> None:
    function, watch, scope = unique("cut::echo"), unique("cut::watch"), unique("scope")
    with (
        CuttingProxy(engine.worker) as proxy,
        sdks.worker(sdk, proxy.url) as worker,
        sdks.worker("npm-0.22.1", engine.url) as caller,
    ):
        worker.do("function", id=function, behaviour="echo")
        worker.do("function", id=watch, behaviour="reply", value=None)
        worker.do("trigger", type="state", function_id=watch, config={"scope": scope}, handle="watch")
        worker.taken_in()
        answers(caller, function, {"before": 1})

        proxy.cut()
        eventually(lambda: answers(caller, function, {"after": 1}), timeout_s=RECONNECT_S)
        worker.taken_in()  # the replay is through, its triggers too
        assert worker.call("state::set", {"scope": scope, "key": "k", "value": 1})["new_value"] == 1
        caller.call("state::set", {"scope": scope, "key": "k", "value": 2})

        for value in (1, 2):
            eventually(lambda value=value: seen_once(worker, watch, value))
        caller.call("state::delete", {"scope": scope, "key": "k"})
        eventually(lambda: seen_once(worker, watch, None))
        assert len(worker.events("delivered", function_id=watch)) == 3


def seen_once(worker: SteeredWorker, function: str, new_value: Any) -> None:
    """One delivery with this new value has come."""
    events = worker.events("delivered", function_id=function)
    assert [event["data"]["new_value"] for event in events].count(new_value) == 1


@pytest.mark.deadline(120)
@pytest.mark.parametrize("sdk", ["npm-0.22.1", "pypi-0.25.0", "crate-0.25.0"])
def test_provider_comes_back_and_gets_its_triggers_again(sdk: str, engine: EngineProcess) -> None:
    kind, function = unique("webhook"), unique("hooked")
    with (
        CuttingProxy(engine.worker) as proxy,
        sdks.worker(sdk, proxy.url) as provider,
        sdks.worker("pypi-0.25.0", engine.url) as consumer,
    ):
        consumer.do("trigger", type=kind, function_id=function, config={"n": 1}, handle=kind)
        provider.do("trigger_type", id=kind)
        first = provider.expect("bound", trigger_type=kind)
        proxy.cut()

        def bound_again() -> list[dict[str, Any]]:
            bound = provider.events("bound", trigger_type=kind)
            assert len(bound) >= 2
            return bound

        bound = eventually(bound_again, timeout_s=RECONNECT_S)
        assert [one["id"] for one in bound] == [first["id"]] * 2


@pytest.mark.deadline(120)
@pytest.mark.parametrize("backend", BACKENDS)
def test_all_come_back_after_an_engine_restart(backend: str) -> None:
    functions = {sdk: unique("restart::echo") for sdk in sdks.SDKS}
    with ExitStack() as stack:
        first = stack.enter_context(EngineProcess(backend))
        proxy = stack.enter_context(CuttingProxy(first.worker))  # the address that stays
        workers = {sdk: stack.enter_context(sdks.worker(sdk, proxy.url)) for sdk in sdks.SDKS}
        for sdk, worker in workers.items():
            worker.do("function", id=functions[sdk], behaviour="echo")
            worker.taken_in()
        proxy.refuse()
        first.process.signal(signal.SIGTERM)
        assert first.process.wait(ANSWER_S) == 0
        second = stack.enter_context(EngineProcess(backend))
        proxy.listen(second.worker)
        caller = stack.enter_context(sdks.worker("npm-0.22.1", second.url))
        for sdk, function in functions.items():
            try:
                eventually(lambda function=function: answers(caller, function, {"after": 1}), timeout_s=RECONNECT_S)
            except AssertionError as error:
                error.add_note("\n".join([sdk, *workers[sdk].process.lines]))
                raise
