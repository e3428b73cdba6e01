"""The protocol between several workers: programs of messages, connections and commands on both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iii_fast.contracts import Limits
from tests.model.examples import look
from tests.model.harness import NativePlane, ReferencePlane
from tests.model.lockstep import Lockstep
from tests.model.messages import (
    binaries,
    invocations,
    msgpack_messages,
    no_messages,
    other_messages,
    outcomes,
    plain_invocations,
    registrations,
    results,
    state_calls,
    unregistrations,
)
from tests.model.texts import programs, values

pytestmark = pytest.mark.deadline(3600)

SESSIONS_MAX = 4

Step: TypeAlias = Callable[[Lockstep], object]
"""One step of a program. Numbers in it are taken modulo what there is at that moment."""


def step(function: Callable[..., object]) -> Callable[..., Step]:
    """Makes a step of a function whose first argument is the two planes; shown by name in counterexamples."""

    class Named:
        def __init__(self, *arguments: object) -> None:
            self.arguments = arguments

        def __call__(self, planes: Lockstep) -> object:
            return function(planes, *self.arguments)

        def __repr__(self) -> str:
            return f"{function.__name__}{self.arguments}"

    return Named


@step
def connect(planes: Lockstep) -> None:
    if planes.sessions < SESSIONS_MAX:
        planes.connect()


@step
def disconnect(planes: Lockstep, session: int) -> None:
    planes.do(
        f"disconnect {session % planes.sessions}", lambda plane, at, _: plane.disconnect(at(session % planes.sessions))
    )


@step
def message(planes: Lockstep, session: int, text: str | bytes, msgpack: bool = False) -> None:
    planes.receive(session % planes.sessions, text, msgpack=msgpack)


@step
def answer(planes: Lockstep, number: int, outcome: dict[str, str], by_stranger: bool, msgpack: bool) -> None:
    """A worker answers something it was invoked for, or, as a stranger, something another one was."""
    if planes.delivered:
        session, invocation_id, _ = planes.delivered[number % len(planes.delivered)]
        members = "".join(f',"{name}":{text}' for name, text in outcome.items())
        text = f'{{"type":"invocationresult","invocation_id":"{invocation_id}","function_id":"f"{members}}}'
        planes.receive((session + by_stranger) % planes.sessions, text, msgpack=msgpack)


@step
def reattach(planes: Lockstep, session: int, former: int, token_of: int) -> None:
    worker_id, _ = planes.greetings[former % len(planes.greetings)]
    _, token = planes.greetings[token_of % len(planes.greetings)]
    text = f'{{"type":"reattach","previous_worker_id":"{worker_id}","reattach_token":"{token}"}}'
    planes.receive(session % planes.sessions, text)


@step
def invoke(planes: Lockstep, function_id: str, data: str, metadata: str | None) -> None:
    """The control plane invokes a function."""
    ticket = len(planes.history)
    encoded = None if metadata is None else metadata.encode()
    planes.do(
        f"ticket {ticket}: {function_id!r} {data} {metadata}",
        lambda plane, *_: plane.invoke(ticket, function_id, data.encode(), encoded),
    )


@step
def settle(planes: Lockstep, session: int, invocation_id: str, result: str | None) -> None:
    """The control plane answers a call, which may have been made or not."""
    number = session % planes.sessions
    encoded = None if result is None else result.encode()
    planes.do(
        f"settle {invocation_id!r} of {number}: {result}",
        lambda plane, at, expand: plane.settle(at(number), expand(invocation_id), "engine::x", encoded),
    )


@step
def limit(planes: Lockstep, session: int, message_bytes_max: int) -> None:
    number = session % planes.sessions
    planes.do(
        f"{number} takes {message_bytes_max} bytes",
        lambda plane, at, _: plane.set_peer_message_max(at(number), message_bytes_max),
    )


@step
def watch(planes: Lockstep, scope: str | None, on: bool) -> None:
    planes.do(f"watch {scope} {on}", lambda plane, *_: plane.watch(scope) if on else plane.unwatch(scope))


numbers = st.integers(0, SESSIONS_MAX - 1)
tickets = st.sampled_from(["f", "f", "g", "h\n", "nope", "engine::x", "state::get", "state::set", "state::list"])
payloads = st.one_of(values, st.just('{"scope":"s","key":"k"}'), st.just('{"scope":"s","key":"k","value":[1 ]}'))


def message_steps(*texts: st.SearchStrategy[str]) -> list[st.SearchStrategy[Step]]:
    return [st.builds(message, numbers, text, st.booleans()) for text in texts]


steps: st.SearchStrategy[Step] = st.sampled_from(
    [
        st.builds(connect),
        st.builds(disconnect, numbers),
        *message_steps(invocations, invocations, plain_invocations, plain_invocations, plain_invocations, state_calls),
        *message_steps(registrations, registrations, unregistrations, results, other_messages, no_messages),
        st.builds(message, numbers, binaries),
        st.builds(message, numbers, msgpack_messages),
        st.builds(message, numbers, msgpack_messages),
        st.builds(answer, st.integers(0, 20), outcomes, st.just(False), st.booleans()),
        st.builds(answer, st.integers(0, 20), outcomes, st.just(False), st.booleans()),
        st.builds(answer, st.integers(0, 20), outcomes, st.booleans(), st.booleans()),
        st.builds(reattach, numbers, st.integers(0, 3), st.integers(0, 3)),
        st.builds(invoke, tickets, payloads, st.none() | values),
        st.builds(settle, numbers, st.sampled_from(["i", "", "é\n", "«3»"]), st.none() | values),
        st.builds(limit, numbers, st.integers(80, 260)),
        st.builds(watch, st.sampled_from([None, "s", "t"]), st.booleans()),
    ]
).flatmap(lambda chosen: chosen)


def run(program: list[Step], limits: Limits) -> None:
    planes = Lockstep.of(NativePlane, ReferencePlane, limits)
    planes.do("define", lambda plane, *_: plane.define(["engine::x"]))
    for session, function_id in enumerate("fg"):
        planes.connect()
        planes.receive(session, f'{{"type":"registerfunction","id":"{function_id}"}}')
    for one in program:
        one(planes)


@look
@given(programs(steps, 32))
def test_programs_of_messages(program: list[Step]) -> None:
    run(program, Limits())


@look
@given(programs(steps, 32), st.integers(0, 3), st.integers(100, 400))
def test_programs_of_messages_under_tight_limits(program: list[Step], in_flight: int, outbox_bytes: int) -> None:
    run(program, Limits(invocations_in_flight_max=in_flight, outbox_bytes_max=outbox_bytes))
