"""What the state functions say of input they cannot use (docs/state.md, Conventions; docs/wire.md, 17)."""

from __future__ import annotations

import json

import pytest

from iii_fast.builtins.functions import STATE_FUNCTIONS
from iii_fast.reference import state_calls
from tests.reference.states import NOW, Store, text

AT = '"scope":"s","key":"k"'
ONE = '{"type":"delete","scope":"s","key":"k"}'
ITEMS = text([{"key": "k"}] * 1_000)[1:-1]
TTL = "expected an integer from 1 to 3153600000000"
EXPIRES = "expected an integer from 0 to 9007199254740991"
VERSION = "expected an integer from 1 to 9007199254740991"


def test_the_list_of_functions_is_what_the_reference_provides() -> None:
    assert set(STATE_FUNCTIONS) == set(state_calls.STATE_FUNCTIONS)
    assert len(STATE_FUNCTIONS) == 14


@pytest.mark.parametrize("function", [name.removeprefix("state::") for name in STATE_FUNCTIONS])
def test_the_input_is_an_object_and_known_members_come_once(function: str) -> None:
    store = Store()
    assert store.unusable(function, "[]") == "invalid type: array, expected an object"
    if function != "list_groups":
        member = "ops" if function == "transact" else "scope"
        assert store.unusable(function, f'{{"{member}":1,"{member}":1}}') == f"duplicate field `{member}`"


@pytest.mark.parametrize(
    ("function", "data", "reason"),
    [
        # get
        ("get", '{"scope":null,"key":"k"}', "field `scope`: invalid type: null, expected a string"),
        ("get", f'{{{AT},"meta":"yes"}}', "field `meta`: invalid type: string, expected a boolean"),
        ("get", '{"scope":"s","meta":1}', "missing field `key`"),
        # get_many
        ("get_many", '{"scope":1}', "field `scope`: invalid type: number, expected a string"),
        ("get_many", '{"scope":"s"}', "missing field `keys`"),
        ("get_many", '{"keys":null}', "field `keys`: invalid type: null, expected an array"),
        ("get_many", '{"keys":{}}', "field `keys`: invalid type: object, expected an array"),
        ("get_many", '{"keys":[],"meta":1}', "field `keys`: expected 1 to 1000 items, got 0"),
        ("get_many", f'{{"keys":[{ITEMS},1]}}', "field `keys`: expected 1 to 1000 items, got 1001"),
        (
            "get_many",
            '{"scope":"s","keys":[{"key":"k"},"k"]}',
            "field `keys[1]`: invalid type: string, expected an object",
        ),
        ("get_many", '{"keys":[{"key":"k"}]}', "missing field `keys[0].scope`"),
        ("get_many", '{"keys":[{"key":"k","scope":null}]}', "missing field `keys[0].scope`"),
        ("get_many", '{"keys":[{"scope":"s"}]}', "missing field `keys[0].key`"),
        (
            "get_many",
            '{"scope":"s","keys":[{"key":null}]}',
            "field `keys[0].key`: invalid type: null, expected a string",
        ),
        ("get_many", '{"keys":[{"scope":1}]}', "field `keys[0].scope`: invalid type: number, expected a string"),
        ("get_many", '{"keys":[{"key":"k","key":"k"}]}', "field `keys[0].key`: duplicate"),
        (
            "get_many",
            '{"scope":"s","keys":[{"key":"k"}],"meta":0}',
            "field `meta`: invalid type: number, expected a boolean",
        ),
        # list_keys, list_entries
        ("list_keys", '{"scope":"s","prefix":1}', "field `prefix`: invalid type: number, expected a string"),
        ("list_entries", '{"prefix":1}', "missing field `scope`"),
        (
            "list_entries",
            '{"scope":"s","cursor":1,"limit":0}',
            "field `cursor`: invalid type: number, expected a string",
        ),
        *(
            ("list_entries", f'{{"scope":"s","limit":{limit}}}', "field `limit`: expected an integer from 1 to 1000")
            for limit in ("0", "1001", "-1", "-0", "1.0", "1e1", '"1"', "[]", "true", "9" * 30, "9" * 5_000)
        ),
        *(
            (
                "list_entries",
                f'{{"scope":"s","max_bytes":{size}}}',
                "field `max_bytes`: expected an integer from 1 to 16000000",
            )
            for size in ("0", "16000001")
        ),
        # set and its relatives
        ("set", f'{{{AT},"value":1,"data":1}}', "duplicate field `value`"),
        ("set", f'{{{AT},"value":1,"ttl_ms":0}}', f"field `ttl_ms`: {TTL}"),
        ("set", f'{{{AT},"value":1,"ttl_ms":3153600000001}}', f"field `ttl_ms`: {TTL}"),
        ("set", f'{{{AT},"value":1,"expires_at":-1}}', f"field `expires_at`: {EXPIRES}"),
        ("set", f'{{{AT},"value":1,"expires_at":9007199254740992}}', f"field `expires_at`: {EXPIRES}"),
        (
            "set",
            f'{{{AT},"value":1,"ttl_ms":1,"expires_at":1,"durable":1}}',
            "fields `ttl_ms` and `expires_at`: give one of them",
        ),
        ("set", f'{{{AT},"value":1,"ttl_ms":1,"expires_at":"x"}}', f"field `expires_at`: {EXPIRES}"),
        ("set", f'{{{AT},"value":1,"durable":1}}', "field `durable`: invalid type: number, expected a boolean"),
        ("delete", f'{{{AT},"durable":1}}', "field `durable`: invalid type: number, expected a boolean"),
        ("update", f'{{{AT},"ttl_ms":0}}', "missing field `ops`"),
        ("update", f'{{{AT},"ops":[],"ttl_ms":0}}', f"field `ttl_ms`: {TTL}"),
        ("compare-and-set", f'{{{AT},"data":1}}', "missing field `value`"),
        ("compare-and-set", f'{{{AT},"value":1,"version":0}}', f"field `version`: {VERSION}"),
        ("compare-and-set", f'{{{AT},"value":1,"version":9007199254740992}}', f"field `version`: {VERSION}"),
        (
            "compare-and-set",
            f'{{{AT},"value":1,"expected":null,"version":1,"ttl_ms":0}}',
            "fields `expected` and `version`: give one of them",
        ),
        ("compare-and-set", f'{{{AT},"value":1,"ttl_ms":0}}', f"field `ttl_ms`: {TTL}"),
        ("set_many", '{"entries":[]}', "field `entries`: expected 1 to 1000 items, got 0"),
        ("set_many", '{"scope":"s","entries":[{"key":"k"}]}', "missing field `entries[0].value`"),
        (
            "set_many",
            '{"scope":"s","entries":[{"key":"k","value":1,"ttl_ms":1,"expires_at":1}]}',
            "fields `entries[0].ttl_ms` and `entries[0].expires_at`: give one of them",
        ),
        (
            "set_many",
            '{"scope":"s","entries":[{"key":"k","value":1,"ttl_ms":true}],"durable":1}',
            f"field `entries[0].ttl_ms`: {TTL}",
        ),
        ("delete_many", '{"keys":[{}]}', "missing field `keys[0].scope`"),
        ("delete_scope", "{}", "missing field `scope`"),
        # transact
        ("transact", "{}", "missing field `ops`"),
        ("transact", '{"checks":1}', "field `checks`: invalid type: number, expected an array"),
        ("transact", '{"checks":[1],"ops":null}', "field `ops`: invalid type: null, expected an array"),
        ("transact", '{"checks":[1],"ops":[]}', "field `ops`: expected 1 to 1000 items, got 0"),
        (
            "transact",
            f'{{"checks":[1],"ops":[{",".join([ONE] * 1_000)}]}}',
            "fields `checks` and `ops`: expected at most 1000 items, got 1001",
        ),
        ("transact", '{"checks":[1],"ops":[1]}', "field `checks[0]`: invalid type: number, expected an object"),
        ("transact", '{"checks":[{"version":1}],"ops":[1]}', "missing field `checks[0].scope`"),
        ("transact", f'{{"checks":[{{{AT}}}],"ops":[1]}}', "field `checks[0]`: give `version` or `absent`"),
        (
            "transact",
            f'{{"checks":[{{{AT},"absent":false}}],"ops":[1]}}',
            "field `checks[0]`: give `version` or `absent`",
        ),
        (
            "transact",
            f'{{"checks":[{{{AT},"version":1,"absent":true}}],"ops":[1]}}',
            "field `checks[0]`: give `version` or `absent`",
        ),
        (
            "transact",
            f'{{"checks":[{{{AT},"absent":1}}],"ops":[1]}}',
            "field `checks[0].absent`: invalid type: number, expected a boolean",
        ),
        ("transact", f'{{"checks":[{{{AT},"version":0}}],"ops":[1]}}', f"field `checks[0].version`: {VERSION}"),
        ("transact", f'{{"ops":[{ONE},1]}}', "field `ops[1]`: invalid type: number, expected an object"),
        ("transact", '{"ops":[{"scope":1}]}', "missing field `ops[0].type`"),
        ("transact", '{"ops":[{"type":1}]}', "field `ops[0].type`: invalid type: number, expected a string"),
        (
            "transact",
            '{"ops":[{"type":"m\\u0065rge"}]}',
            'field `ops[0].type`: unknown type "m\\u0065rge", expected one of set, update, delete',
        ),
        ("transact", '{"ops":[{"type":"set","type":"set"}]}', "field `ops[0].type`: duplicate"),
        ("transact", '{"ops":[{"type":"delete","ttl_ms":1,"ttl_ms":1}]}', "field `ops[0].ttl_ms`: duplicate"),
        ("transact", '{"ops":[{"type":"delete","key":"k"}]}', "missing field `ops[0].scope`"),
        ("transact", f'{{"ops":[{{"type":"set",{AT},"data":1}}]}}', "missing field `ops[0].value`"),
        ("transact", f'{{"ops":[{{"type":"set",{AT},"value":1,"ttl_ms":0}}]}}', f"field `ops[0].ttl_ms`: {TTL}"),
        ("transact", f'{{"ops":[{{"type":"update",{AT}}}]}}', "missing field `ops[0].ops`"),
        (
            "transact",
            f'{{"ops":[{{"type":"update",{AT},"ops":{{}}}}]}}',
            "field `ops[0].ops`: invalid type: object, expected an array",
        ),
        (
            "transact",
            f'{{"ops":[{{"type":"update",{AT},"ops":[{{"type":"merge","value":1}},{{"type":"set"}}]}}]}}',
            "field `ops[0].ops[1].path`: missing",
        ),
        (
            "transact",
            f'{{"ops":[{{"type":"update",{AT},"ops":[],"expires_at":-1}}],"durable":1}}',
            f"field `ops[0].expires_at`: {EXPIRES}",
        ),
        (
            "transact",
            f'{{"ops":[{ONE}],"durable":1}}',
            "field `durable`: invalid type: number, expected a boolean",
        ),
    ],
)
def test_input_that_cannot_be_used(function: str, data: str, reason: str) -> None:
    assert Store().unusable(function, data) == reason


def test_the_largest_numbers_are_taken() -> None:
    store = Store()
    store.set("a", ttl_ms=3153600000000)
    assert store.entry("a")["expires_at"] == NOW + 3153600000000
    store.set("b", expires_at=9007199254740991)
    assert store.entry("b")["expires_at"] == 9007199254740991
    assert store.call("list_entries", scope="s", limit=1_000, max_bytes=16_000_000) is not None
    assert store.call("list_entries", scope="empty", limit=1, max_bytes=1) is not None
    assert store.call("compare-and-set", scope="s", key="a", value=2, version=9007199254740991) is not None
    found = store.call("get_many", scope="s", keys=[{"key": "a"}] * 1_000)
    assert json.loads(found or "") == {"values": [1] * 1_000}
    ops = [{"type": "delete", "scope": "s", "key": "x"}] * 999
    check = {"scope": "s", "key": "x", "absent": True}
    assert store.call("transact", checks=[check], ops=ops) == text(
        {"committed": True, "version": None, "results": [None] * 999}
    )


def test_optional_members_may_be_null_and_unknown_ones_anything() -> None:
    store = Store()
    store.set("k", "v")
    assert store.call("get", scope="s", key="k", meta=None, x=[]) == '"v"'
    assert store.call("list_keys", scope="s", prefix=None) == '{"keys":["k"]}'
    page = '{"entries":[["k","v"]],"next_cursor":null,"done":true,"total":1}'
    assert store.call("list_entries", scope="s", prefix=None, cursor=None, limit=None, max_bytes=None) == page
    assert store.call("set", scope="s", key="k", value=None, ttl_ms=None, expires_at=None, durable=None) is not None
    assert store.entry("k") == {"value": None, "version": 2, "expires_at": None}
    assert store.call("compare-and-set", scope="s", key="k", value=1, expected=None, version=None) == (
        '{"swapped":true,"current":1,"version":3}'
    )
    ops = [{"type": "set", "scope": "s", "key": "k", "value": None, "ttl_ms": None, "expires_at": 5, "x": 1}]
    assert store.call("transact", checks=None, ops=ops, durable=False, x=1) == (
        '{"committed":true,"version":4,"results":[{"old_value":1,"new_value":null}]}'
    )
