"""Workers in different languages on one engine: they call each other, and provide trigger types for each other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from itertools import pairwise

import pytest

from tests.support import sdks
from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.steered_worker import CallFailed, SteeredWorker

RING = ("npm-0.9.0", "pypi-0.11.6", "crate-0.25.0", "npm-0.22.1", "pypi-0.25.0", "npm-0.11.6")
NEWEST = ("npm-0.22.1", "pypi-0.25.0", "crate-0.25.0")

Workers = dict[str, SteeredWorker]


@pytest.fixture(scope="module")
def workers(engine: EngineProcess) -> Generator[Workers]:
    """One worker on each SDK."""
    with ExitStack() as stack:
        yield {sdk: stack.enter_context(sdks.worker(sdk, engine.url)) for sdk in sdks.SDKS}


def test_a_call_goes_round_all_languages(workers: Workers) -> None:
    ring = unique("ring")
    workers[RING[0]].do("function", id=f"{ring}::home", behaviour="echo")
    for sdk, following in pairwise((*RING, "home")):
        workers[sdk].do("function", id=f"{ring}::{sdk}", behaviour="forward", to=f"{ring}::{following}")
    for worker in workers.values():
        worker.taken_in()
    result = workers[RING[-1]].call(f"{ring}::{RING[0]}", {"trace": [], "cargo": {"ü": [1, None]}})
    assert result["trace"] == ["node", "python", "rust", "node", "python", "node"]
    assert result["cargo"] == {"ü": [1, None]}


@pytest.mark.parametrize("callee", NEWEST)
@pytest.mark.parametrize("caller", NEWEST)
def test_errors_and_metadata_cross_languages(workers: Workers, caller: str, callee: str) -> None:
    name = unique("cross")
    workers[callee].do("function", id=f"{name}::fail", behaviour="fail")
    workers[callee].do("function", id=f"{name}::echo", behaviour="echo")
    workers[callee].taken_in()
    with pytest.raises(CallFailed, match="boom") as failure:
        workers[caller].call(f"{name}::fail", {})
    assert failure.value.code == "invocation_failed"
    assert workers[caller].call(f"{name}::echo", [1], metadata={"by": caller}) == [1]
    workers[callee].expect("delivered", function_id=f"{name}::echo", metadata={"by": caller})


@pytest.mark.parametrize("consumer", NEWEST)
@pytest.mark.parametrize("provider", NEWEST)
def test_provided_trigger_type_serves_other_languages(workers: Workers, provider: str, consumer: str) -> None:
    kind, function = unique("webhook"), unique("hooked")
    providing, consuming = workers[provider], workers[consumer]
    consuming.do("function", id=function, behaviour="reply", value=None)
    consuming.do("trigger", type=kind, function_id=function, config={"n": 1}, metadata={"m": 1}, handle=kind)
    consuming.taken_in()  # the trigger is parked: its type does not exist yet
    providing.do("trigger_type", id=kind)
    bound = providing.expect("bound", trigger_type=kind)
    assert (bound["function_id"], bound["config"], bound["metadata"]) == (function, {"n": 1}, {"m": 1})
    providing.call(function, {"fired": True}, void=True, metadata=bound["metadata"])
    consuming.expect("delivered", function_id=function, data={"fired": True}, metadata={"m": 1})
    consuming.do("untrigger", handle=kind)
    assert providing.expect("unbound", trigger_type=kind)["id"] == bound["id"]
    assert len(providing.events("bound", trigger_type=kind)) == 1


@pytest.mark.parametrize("provider", NEWEST)
def test_refused_trigger_is_offered_again_to_the_next_provider(
    workers: Workers, engine: EngineProcess, provider: str
) -> None:
    kind, function = unique("webhook"), unique("hooked")
    consumer = workers["pypi-0.25.0"]
    with sdks.worker(provider, engine.url) as refusing:
        refusing.do("trigger_type", id=kind, refuse=True)
        refusing.taken_in()
        consumer.do("trigger", type=kind, function_id=function, config={"n": 1}, handle=kind)
        bound = refusing.expect("bound", trigger_type=kind)
        refusing.leave()
    with sdks.worker(provider, engine.url) as accepting:
        accepting.do("trigger_type", id=kind)
        assert accepting.expect("bound", trigger_type=kind)["id"] == bound["id"]
    consumer.do("untrigger", handle=kind)


def test_a_taken_function_id_stays_with_its_owner(workers: Workers) -> None:
    function = unique("owned")
    workers["npm-0.22.1"].do("function", id=function, behaviour="reply", value="first")
    workers["npm-0.22.1"].taken_in()
    for sdk in ("pypi-0.25.0", "crate-0.25.0", "npm-0.11.6"):
        workers[sdk].do("function", id=function, behaviour="reply", value=sdk)
        workers[sdk].taken_in()  # the newcomers read the rejection and live on
        assert workers["pypi-0.11.6"].call(function, {}) == "first"
