"""The six operations on every kind of root and path: docs/wire.md, rules 19 and 20."""

from __future__ import annotations

import json

import pytest

from iii_fast.reference.update import DOC_URL, apply
from iii_fast.reference.update_ops import InputError, read_ops

ROOTS = {
    "absent": None,
    "null": "null",
    "boolean": "true",
    "number": "7",
    "string": '"s"',
    "array": "[1]",
    "object": '{"a":1}',
}


def run(root: str | None, *ops: str) -> tuple[str | None, list[str]]:
    """The new text (``"unchanged"`` when nothing changed) and the messages of the errors, with their codes."""
    updated = apply(root, read_ops(f"[{','.join(ops)}]"))
    errors = [json.loads(error) for error in updated.errors]
    assert all(list(error) == ["op_index", "code", "message", "doc_url"] for error in errors)
    assert all(error["doc_url"] == DOC_URL for error in errors)
    return updated.value if updated.changed else "unchanged", [f"{e['code']}: {e['message']}" for e in errors]


SET_A = '{"type":"set","path":"a","value":[ 2]}'
SET_ROOT = '{"type":"set","path":""}'
REMOVE_A = '{"type":"remove","path":"a"}'
REMOVE_ROOT = '{"type":"remove","path":""}'
INCREMENT_A = '{"type":"increment","path":"a","by":2}'
INCREMENT_ROOT = '{"type":"increment","path":"","by":2}'
DECREMENT_A = '{"type":"decrement","path":"a","by":2}'
DECREMENT_ROOT = '{"type":"decrement","path":"","by":2}'
APPEND_A = '{"type":"append","path":"a","value":"x"}'
APPEND_AB = '{"type":"append","path":["a","b"],"value":"x"}'
APPEND_ROOT = '{"type":"append","value":"x"}'
MERGE_A = '{"type":"merge","path":"a","value":{"m":1}}'
MERGE_AB = '{"type":"merge","path":["a","b"],"value":{"m":1}}'
MERGE_ROOT = '{"type":"merge","value":{"m":1}}'

NOT_OBJECT = "{op}.target_not_object: Cannot {op} at path '{path}': target is {kind}, expected object."
TABLE = {
    SET_A: {"absent": '{"a":[ 2]}', "object": '{"a":[ 2]}', "*": ("set", "a")},
    SET_ROOT: dict.fromkeys(ROOTS, "null"),
    REMOVE_A: {"absent": "unchanged", "object": "{}", "*": ("remove", "a")},
    REMOVE_ROOT: dict.fromkeys(ROOTS, "null") | {"absent": "unchanged"},
    INCREMENT_A: {"absent": '{"a":2}', "object": '{"a":3}', "*": ("increment", "a")},
    DECREMENT_A: {"absent": '{"a":-2}', "object": '{"a":-1}', "*": ("decrement", "a")},
    INCREMENT_ROOT: {
        "absent": "2",
        "number": "9",
        "*": "increment.not_number: Expected number at path 'root', got {kind}.",
    },
    DECREMENT_ROOT: {
        "absent": "-2",
        "number": "5",
        "*": "decrement.not_number: Expected number at path 'root', got {kind}.",
    },
    APPEND_A: {
        "absent": '{"a":"x"}',
        "object": "append.type_mismatch: Cannot append at path 'a': target is number, "
        "expected array, string, null, or missing field.",
        "*": ("append", "a"),
    },
    APPEND_AB: {"absent": '{"a":{"b":["x"]}}', "object": '{"a":{"b":["x"]}}', "*": ("append", "[a, b]")},
    APPEND_ROOT: {
        "absent": '"x"',
        "null": '"x"',
        "string": '"sx"',
        "array": '[1,"x"]',
        "*": "append.type_mismatch: Cannot append at path 'root': target is {kind}, "
        "expected array, string, null, or missing field.",
    },
    MERGE_A: dict.fromkeys(ROOTS, '{"a":{"m":1}}'),
    MERGE_AB: dict.fromkeys(ROOTS, '{"a":{"b":{"m":1}}}'),
    MERGE_ROOT: {"absent": '{"m":1}', "object": '{"a":1,"m":1}', "*": ("merge", "root")},
}


@pytest.mark.parametrize("kind", ROOTS)
@pytest.mark.parametrize("op", TABLE)
def test_every_operation_on_every_kind_of_root(op: str, kind: str) -> None:
    expected = TABLE[op].get(kind, TABLE[op].get("*"))
    value, errors = run(ROOTS[kind], op)
    if isinstance(expected, tuple):
        expected = NOT_OBJECT.format(op=expected[0], path=expected[1], kind=kind)
    assert expected is not None
    if ": " in expected:
        assert (value, errors) == ("unchanged", [expected.replace("{kind}", kind)])
    else:
        assert (value, errors) == (expected, [])


@pytest.mark.parametrize(
    ("before", "op", "after"),
    [
        ('{ "a" : 1 , "b":2 }', SET_A, '{ "a" : [ 2] , "b":2 }'),
        ('{"a":1,"b":0,"a":3}', SET_A, '{"a":1,"b":0,"a":[ 2]}'),
        ('{ "\\u0061" :1}', SET_A, '{ "\\u0061" :[ 2]}'),
        ('{ "b" : 1\n}', SET_A, '{ "b" : 1,"a":[ 2]\n}'),
        ("{ }", SET_A, '{"a":[ 2] }'),
        ('{"b":1}', '{"type":"set","path":"\\u0022\\n"}', '{"b":1,"\\"\\n":null}'),
        ('{ "a":1 , "b":2 }', REMOVE_A, '{ "b":2 }'),
        ('{ "b":2 , "a":1 }', REMOVE_A, '{ "b":2 }'),
        ('{ "a":1 }', REMOVE_A, "{  }"),
        ('{"a":1, "b":2,\t"a":3}', REMOVE_A, '{"b":2}'),
        ('{"c":0 ,"a":1, "b":2,"a":3}', REMOVE_A, '{"c":0, "b":2}'),
        ('{"a":[ 1 ]}', '{"type":"append","path":"a","value":{ }}', '{"a":[ 1,{ } ]}'),
        ('{"a":[ ]}', '{"type":"append","path":["a"],"value":[2]}', '{"a":[[2] ]}'),
        (
            '{"a":"\\u0041"}',
            '{"type":"append","path":"a","value":"\\n\\ud83d\\ude00"}',
            '{"a":"\\u0041\\n\\ud83d\\ude00"}',
        ),
        ('{"a":null}', '{"type":"append","path":"a","value":1}', '{"a":[1]}'),
        ('{"a":{"b":null}}', APPEND_AB, '{"a":{"b":"x"}}'),
        ('{"a":{"b":"y"}}', APPEND_AB, '{"a":{"b":"yx"}}'),
        ('{ "a" :[1], "c":0}', APPEND_AB, '{ "a" :{"b":["x"]}, "c":0}'),
        (
            '{"m" : 0,"n":1.0}',
            '{"type":"merge","value":{"n":[ ], "m":2, "m":3 ,"\\u006f":4}}',
            '{"m" : 3,"n":[ ],"o":4}',
        ),
        ('{"a":1,"b" :{ "m":0 }}', '{"type":"merge","path":["b"],"value":{"k":1}}', '{"a":1,"b" :{ "m":0,"k":1 }}'),
        ("[1]", '{"type":"merge","path":[],"value":{"k":1}}', None),
        ("{}", '{"type":"merge","value":{ }}', "unchanged"),
        ('{"a":{}}', '{"type":"merge","path":"a","value":{}}', "unchanged"),
        (None, '{"type":"merge","value":{ }}', "{}"),
        ("{}", '{"type":"merge","path":"a","value":{}}', '{"a":{}}'),
        ('{"b":1}', REMOVE_A, "unchanged"),
    ],
)
def test_all_other_text_stays(before: str | None, op: str, after: str | None) -> None:
    value, errors = run(before, op)
    if after is None:
        assert (value, len(errors)) == ("unchanged", 1)
    else:
        assert (value, errors) == (after, [])


@pytest.mark.parametrize(
    ("number", "op", "by", "total"),
    [
        ("1", "increment", "2", "3"),
        ("-0", "increment", "-0", "0"),
        ("9223372036854775807", "increment", "1", "9223372036854775808"),
        ("18446744073709551614", "increment", "1", "18446744073709551615"),
        ("18446744073709551615", "increment", "1", None),
        ("-9223372036854775807", "decrement", "1", "-9223372036854775808"),
        ("-9223372036854775808", "decrement", "1", None),
        ("-1", "increment", "18446744073709551615", "18446744073709551614"),
        ("0", "decrement", "18446744073709551615", None),
        ("18446744073709551616", "decrement", "1", None),
        ("1" * 5000, "decrement", "1.5", None),
        ("1", "increment", "1.0", "2.0"),
        ("0.1", "increment", "0.2", "0.30000000000000004"),
        ("1e2", "increment", "1", "101.0"),
        ("1", "decrement", "0.5", "0.5"),
        ("1e99", "increment", "9e99", "1e+100"),
        ("9007199254740993", "increment", "0.0", "9007199254740992.0"),
        ("1e308", "increment", "1e308", None),
        ("1e400", "increment", "1", None),
        ("0", "increment", "1e16", "1e+16"),
        ("-0.0", "decrement", "0", "-0.0"),
    ],
)
def test_sums(number: str, op: str, by: str, total: str | None) -> None:
    value, errors = run(f'{{"n":{number}}}', f'{{"type":"{op}","path":"n","by":{by}}}')
    if total is None:
        assert (value, errors) == ("unchanged", [f"{op}.not_number: Number overflow at path 'n'."])
    else:
        assert (value, errors) == (f'{{"n":{total}}}', [])


@pytest.mark.parametrize(
    ("op", "error"),
    [
        (
            '{"type":"set","path":"__proto__"}',
            "set.path.proto_polluted: Path segment '__proto__' is not allowed (prototype pollution).",
        ),
        (
            f'{{"type":"remove","path":"{"é" * 129}"}}',
            "remove.path.segment_too_long: Path segment of 258 bytes exceeds maximum of 256",
        ),
        ('{"type":"append","path":["a",""],"value":1}', "append.path.empty_segment: Path contains an empty segment"),
        (
            f'{{"type":"merge","path":{json.dumps([""] * 33)},"value":1}}',
            "merge.path.too_deep: Path depth 33 exceeds maximum of 32",
        ),
        ('{"type":"merge","value":[]}', "merge.value.not_an_object: Merge value must be a JSON object"),
        (
            f'{{"type":"merge","value":{json.dumps(dict.fromkeys(map(str, range(1025))))}}}',
            "merge.value.too_many_keys: Merge value has 1025 top-level keys, exceeds maximum of 1024",
        ),
        (
            f'{{"type":"merge","value":{{"a":{"[" * 16}{"]" * 16}}}}}',
            "merge.value.too_deep: Merge value JSON nesting depth 17 exceeds maximum of 16",
        ),
        (
            '{"type":"merge","value":{"a":1,"prototype":2}}',
            'merge.value.proto_polluted: Merge value top-level key "prototype" is a prototype-pollution sink',
        ),
        (
            f'{{"type":"append","path":["s","t"],"value":{"[" * 118}{"]" * 118}}}',
            "append.value.too_deep: Append value at path '[s, t]' would nest 121 levels, exceeds maximum of 120",
        ),
        (
            '{"type":"append","path":"s","value":1}',
            "append.type_mismatch: Expected string append value at path 's', got number.",
        ),
    ],
)
def test_operations_that_fail(op: str, error: str) -> None:
    assert run('{"s":"t"}', op) == ("unchanged", [error])


@pytest.mark.parametrize(
    ("short", "tagged"),
    [
        ('{"set":[ 1]}', '{"type":"set","path":"","value":[ 1]}'),
        ('{"merge":{"b":1 }}', '{"type":"merge","value":{"b":1 }}'),
        ('{"merge":1}', '{"type":"merge","value":1}'),
        ('{"increment":{"by":2,"field":"a"}}', INCREMENT_A),
        ('{"decrement":{"field":"","by":2}}', DECREMENT_ROOT),
        ('{"remove":"a"}', REMOVE_A),
    ],
)
def test_operations_as_iii_0_10_wrote_them(short: str, tagged: str) -> None:
    assert run('{"a":1}', short) == run('{"a":1}', tagged)


def test_a_failed_operation_does_not_stop_the_others() -> None:
    updated = apply("[]", read_ops(f"[{SET_A},{APPEND_ROOT},{SET_A},{REMOVE_ROOT}]"))
    assert updated.value == "null"
    assert [json.loads(error)["op_index"] for error in updated.errors] == [0, 2]


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ("null", "field `ops`: invalid type: null, expected an array"),
        ('[{"type":"set","path":""},1]', "field `ops[1]`: invalid type: number, expected an object"),
        ("[{}]", "field `ops[0].type`: missing"),
        ('[{"type":1}]', "field `ops[0].type`: invalid type: number, expected a string"),
        (
            '[{"type":"bogus"}]',
            'field `ops[0].type`: unknown operation "bogus", '
            "expected one of set, merge, increment, decrement, append, remove",
        ),
        ('[{"type":"set"}]', "field `ops[0].path`: missing"),
        ('[{"type":"set","path":null}]', "field `ops[0].path`: invalid type: null, expected a string"),
        ('[{"type":"remove","path":["a"]}]', "field `ops[0].path`: invalid type: array, expected a string"),
        (
            '[{"type":"merge","path":1}]',
            "field `ops[0].path`: invalid type: number, expected a string or an array of strings",
        ),
        (
            '[{"type":"append","path":["a",1]}]',
            "field `ops[0].path`: invalid type: array, expected a string or an array of strings",
        ),
        ('[{"type":"increment","path":"a"}]', "field `ops[0].by`: missing"),
        ('[{"type":"decrement","path":"a","by":"1"}]', "field `ops[0].by`: invalid type: string, expected a number"),
        ('[{"type":"merge","path":null}]', "field `ops[0].value`: missing"),
        ('[{"type":"append"}]', "field `ops[0].value`: missing"),
        ('[{"append":1}]', "field `ops[0].type`: missing"),
        ('[{"set":1,"x":2}]', "field `ops[0].type`: missing"),
        ('[{"remove":1}]', "field `ops[0].remove`: invalid type: number, expected a string"),
        ('[{"increment":1}]', "field `ops[0].increment`: invalid type: number, expected an object"),
        ('[{"increment":{"field":"a"}}]', "field `ops[0].increment.by`: missing"),
        ('[{"decrement":{"by":1}}]', "field `ops[0].decrement.field`: missing"),
        ('[{"type":"set","path":"a","path":"b"}]', "field `ops[0].path`: duplicate"),
    ],
)
def test_operations_that_are_none(ops: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read_ops(ops)
    assert str(caught.value) == reason
