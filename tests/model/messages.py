"""Hypothesis strategies for wire messages of workers: good ones, odd ones, broken ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgpack
from hypothesis import strategies as st

from tests.model.lockstep import GIVEN_UUIDS
from tests.model.state_payloads import calls
from tests.model.texts import broken_values, mostly, names, nested, objects, strings, values

Texts = st.SearchStrategy[str]

FUNCTIONS = ["f", "g", "h\n", "é", "", "engine::x", "state::get", "state::set", "state::update", "state::list_groups"]
FUNCTIONS += ["state::transact", "state::compare-and-set", "state::watches"]
OTHER_KINDS = ["registertrigger", "unregistertrigger", "registertriggertype", "unregistertriggertype"]
OTHER_KINDS += ["triggerregistrationresult", "registerservice", "ping", "pong", "workerregistered", "bogus", ""]


@dataclass(frozen=True)
class Field:
    """A member: its good values, its odd ones, and how often it is there."""

    good: Texts
    odd: Texts
    always: bool = False


@st.composite
def messages(draw: st.DrawFn, kind: str, fields: Mapping[str, Field]) -> str:
    """A message with good members, mostly; else one is odd, or some are missing, repeated, out of place."""
    odd = draw(st.sampled_from([None, None, None, *fields, "members"]))
    members = [("type", f'"{kind}"')]
    for name, field in fields.items():
        if name == odd:
            members.append((name, draw(field.odd)))
        elif field.always or draw(st.integers(0, 2)) == 2:
            members.append((name, draw(field.good)))
    if odd == "members":
        names_of_strays = st.sampled_from([*fields, "type", "x"])
        members += draw(st.lists(st.tuples(names_of_strays, mostly(values, broken_values)), max_size=2))
        members = list(draw(st.permutations(members)))[: draw(st.integers(1, len(members)))]
    return draw(objects([(f'"{name}"', text) for name, text in members]))


anything = mostly(values, broken_values, one_in=4)
function_ids = mostly(st.sampled_from(['"f"', '"g"']), names(FUNCTIONS), one_in=3)
given_ids = st.sampled_from([f'"{given}"' for given in GIVEN_UUIDS])
odd_ids = st.one_of(
    st.sampled_from(['"i"', '""', '"\\u0069"', '"é\\n\\""', f'"{GIVEN_UUIDS[1][:-1]}\\u0031"', '"urn:uuid:x"']),
    st.sampled_from([f'"{GIVEN_UUIDS[0].replace("4", "A")}"', f'"{{{GIVEN_UUIDS[0]}}}"', f'"{"0" * 32}"']),
    st.integers(0, 12).map(lambda number: f'"«{number}»"'),
    st.sampled_from(["null", "1", "{}", '"\\ud800"']),
)
invocation_ids = mostly(given_ids, odd_ids, one_in=3)
good_actions = st.sampled_from(['{"type":"void"}', '{"type":"enqueue","queue":"q"}', "null"])
odd_actions = st.sampled_from(
    [
        '{"type":"enqueue"}',
        '{"type":"enqueue","queue":1}',
        '{"type":"enqueue","queue":null}',
        '{"type":"enqueue","queue":""}',
        "{}",
        "[]",
        '"void"',
        "NaN",
        '{"type":"bog\\u0075s"}',
        '{"type":null}',
        '{"type":1,"type":"void"}',
        '{"type":"void","type":2}',
        '{"typ\\u0065" : "v\\u006fid" }',
        '{"type":"void","x":NaN}',
        '{"x":"\\ud800","type":"void"}',
        '{"type":"enqueue","queue":NaN}',
    ]
)
good_namespaces = st.sampled_from(['"default"', "null", '"d\\u0065fault"'])
odd_namespaces = st.sampled_from(
    ['"team"', '""', '" "', '"\\t\\u00a0\\u3000"', '"\\u001c"', '"\\u200b"', "1", "[]", '" default"', '"Default"']
)
metadata = mostly(values, st.just("null"), one_in=3)

invocations = messages(
    "invokefunction",
    {
        "function_id": Field(function_ids, anything, always=True),
        "invocation_id": Field(given_ids, odd_ids, always=True),
        "data": Field(values, broken_values),
        "action": Field(good_actions, odd_actions),
        "namespace": Field(good_namespaces, odd_namespaces),
        "metadata": Field(metadata, broken_values),
        "traceparent": Field(strings, anything),
        "baggage": Field(strings, anything),
    },
)
plain_invocations = st.tuples(function_ids, mostly(given_ids, odd_ids, one_in=8)).map(
    lambda ids: f'{{"type":"invokefunction","function_id":{ids[0]},"invocation_id":{ids[1]},"data":{{"n":1 }}}}'
)
state_calls = calls.map(
    lambda call: f'{{"type":"invokefunction","invocation_id":"s","function_id":"state::{call[0]}","data":{call[1]}}}'
)
registrations = messages(
    "registerfunction",
    {"id": Field(function_ids, anything, always=True), "metadata": Field(values, broken_values)},
)
unregistrations = messages("unregisterfunction", {"id": Field(function_ids, anything, always=True)})

good_errors = st.sampled_from(
    [
        '{"code":"c","message":"m"}',
        '{"message":"m\\n","code":"c","stacktrace":"s","x":[1 ]}',
        '{"code":"\\u0063","message":"\\/","stacktrace":null}',
        '{"code":2,"message":"m","code":"a","stacktrace":7}',
    ]
)
odd_errors = st.one_of(
    st.sampled_from(
        [
            "null",
            '"boom\\n"',
            "1",
            "[]",
            "{}",
            "false",
            '{"code":"c"}',
            '{"message":"m\\n"}',
            '{"code":1,"message":"m","stacktrace":"s","x":1}',
            '{ "stacktrace" : "s" , "c\\u006fde":"C" }',
            '{"code":"a","message":"m","code":2}',
        ]
    ),
    values,
)
errors = mostly(good_errors, odd_errors, one_in=2)
outcomes = st.one_of(
    st.fixed_dictionaries({"result": values}),
    st.fixed_dictionaries({"error": errors}, optional={"result": values}),
    st.fixed_dictionaries({}, optional={"result": mostly(st.just("null"), broken_values, one_in=2)}),
)
"""Members ``result`` and ``error`` of an ``invocationresult``."""
results = messages(
    "invocationresult",
    {
        "invocation_id": Field(given_ids, odd_ids, always=True),
        "result": Field(values, broken_values),
        "error": Field(errors, broken_values),
    },
)
other_messages = st.sampled_from(OTHER_KINDS).flatmap(lambda kind: messages(kind, {"id": Field(values, broken_values)}))
no_messages = st.one_of(
    values,
    broken_values,
    st.sampled_from(["", " ", "{", '{"type":"ping"', '{"type":"ping"}x', '\ufeff{"type":"ping"}', '{"type":1}']),
    st.sampled_from(
        [' {"type":"ping"} ', '{"type":"po\\u006eg"}', '{"typ\\u0065":"ping"}', '{"type":"pong","type":"ping"}']
    ),
    st.integers(116, 122).map(
        lambda depth: f'{{"type":"invokefunction","invocation_id":"deep","function_id":"f","data":{nested(depth)}}}'
    ),
    broken_values.map(lambda text: f'{{"é":"€","type":"invokefunction","invocation_id":"broken","data":{text}}}'),
)
binaries = st.one_of(
    st.sampled_from(
        [b"", b"OTLP{}", b"MTRC", b"LOGSx", b"OTL", b'{"type":"ping"}', b"\xff", b'{"type":"ping"}\xed\xa0\x80']
    ),
    st.binary(max_size=8),
)


msgpack_values = st.recursive(
    st.one_of(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4),
        st.binary(max_size=3),
        st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(min_size=4, max_size=4)),
        st.sampled_from([float("nan"), float("-inf"), -0.0, msgpack.Timestamp(1), "a" * 40, 1.5]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(mostly(st.text(max_size=3), st.binary(max_size=2) | st.integers(-3, 3)), inner, max_size=3),
    ),
    max_leaves=6,
)
"""What msgpack has, also what JSON does not."""


def _input(*optional: str, **members: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    place: dict[str, st.SearchStrategy[object]] = {
        "scope": st.sampled_from(["s", "t"]),
        "key": st.sampled_from(["k", "l"]),
    }
    known = {"meta": st.booleans(), "expected": msgpack_values, "ttl_ms": st.integers(1, 20)}
    return st.fixed_dictionaries({**place, **members}, optional={name: known[name] for name in optional})


_packed_ops = st.lists(
    st.one_of(
        st.builds(
            lambda kind, path, value: {"type": kind, "path": path, "value": value},
            st.sampled_from(["set", "append", "merge"]),
            st.sampled_from(["", "a", "b"]),
            msgpack_values,
        ),
        st.sampled_from(["", "a"]).map(lambda path: {"type": "increment", "path": path, "by": 1.5}),
        st.sampled_from(["", "a"]).map(lambda path: {"type": "remove", "path": path}),
    ),
    max_size=3,
)
_packed_writes = st.lists(
    st.one_of(
        _input("ttl_ms", type=st.just("set"), value=msgpack_values),
        _input(type=st.just("update"), ops=_packed_ops),
        _input(type=st.just("delete")),
    ),
    min_size=1,
    max_size=3,
)
_packed_inputs = {
    "get": _input("meta"),
    "set": _input("ttl_ms", value=msgpack_values),
    "delete": _input(),
    "update": _input(ops=_packed_ops),
    "compare-and-set": _input("expected", value=msgpack_values),
    "set_many": st.lists(_input(value=msgpack_values), min_size=1, max_size=3).map(lambda items: {"entries": items}),
    "get_many": st.lists(_input(), min_size=1, max_size=3).map(lambda keys: {"keys": keys, "meta": True}),
    "transact": _packed_writes.map(lambda ops: {"ops": ops}),
    "list": _input(),
    "list_entries": _input(),
    "list_keys": _input(),
    "list_groups": st.none(),
    "delete_scope": _input(),
}


@st.composite
def packed_state_calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """A state function, and a message in msgpack that calls it, with values that JSON does not have among them."""
    name = draw(st.sampled_from(["get", "set", "set", "update", "compare-and-set", *_packed_inputs]))
    message = {
        "type": "invokefunction",
        "invocation_id": "i",
        "function_id": f"state::{name}",
        "data": draw(_packed_inputs[name]),
    }
    return name, bytes(msgpack.packb(message))


@st.composite
def changed(draw: st.DrawFn, message: bytes) -> bytes:
    """The message, or one with a byte changed, or cut, or with something behind it."""
    at = draw(st.integers(0, len(message) - 1))
    how = draw(st.integers(0, 7))
    if how == 0:
        return message[:1] + message[1:at] + bytes([draw(st.integers(0, 255))]) + message[max(at, 1) + 1 :]
    if how == 1:
        return message[: at + 1]
    return message + b"\xc0" if how == 2 else message


def deep(levels: int) -> bytes:
    """A call with a value of so many levels."""
    head = msgpack.packb({"type": "invokefunction", "invocation_id": "deep", "function_id": "f", "data": 0})
    return bytes(head[:-1]) + b"\x91" * levels + b"\xc0"


msgpack_messages = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["invokefunction", "invokefunction", "invocationresult", "registertrigger", "ping"]
            ),
            "function_id": st.sampled_from(["f", "g", "engine::x", "state::set", "state::get"]),
        },
        optional={
            "invocation_id": st.sampled_from(["i", *GIVEN_UUIDS]) | msgpack_values,
            "data": msgpack_values
            | st.builds(lambda value: {"scope": "s", "key": "k", "value": value}, msgpack_values),
            "metadata": msgpack_values,
            "result": msgpack_values,
            "action": st.sampled_from([None, {"type": "void"}, {"type": "enqueue", "queue": "q"}, b"", {1: 2}]),
        },
    )
    .map(lambda members: bytes(msgpack.packb(members)))
    .flatmap(changed),
    st.sampled_from([118, 119, 120, 100_000]).map(deep),
    st.just(b"\x82\xa4type\xaeinvokefunction\xadinvocation_id\xa2\xffi"),
)
"""Binary messages that begin with a msgpack map, sound or not."""
