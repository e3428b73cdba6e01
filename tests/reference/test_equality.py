"""When two JSON texts are the same value (docs/state.md, 9)."""

from __future__ import annotations

import pytest

from iii_fast.reference.equality import equal

LONG = "9" * 5_000
"""More digits than Python makes an int of."""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1", "1.0"),
        ("1", "1e0"),
        ("10", "1E+1"),
        ("10", "0.1e2"),
        ("100", "1000e-1"),
        ("0.001", "1e-3"),
        ("-1.50", "-15e-1"),
        ("0", "-0"),
        ("0", "0.000e99"),
        ("0", f"-0e{LONG}"),
        ("1e400", "10e399"),
        ("1e-400", "0.1e-399"),
        ("1e999999999999999999999", "10e999999999999999999998"),
        (f"10e{LONG}", f"1e1{'0' * 5_000}"),
        (f"0.1e-{LONG}", f"1e-1{'0' * 5_000}"),
        (LONG, f"{LONG}.0"),
        (f"0.{LONG}", f"{LONG}e-5000"),
        ('"a"', '"\\u0061"'),
        ('"/"', '"\\/"'),
        ('"😀"', '"\\ud83d\\ude00"'),
        ("[ 1,2 ]", "[1.0,2e0]"),
        ('{"a":1,"b":[null]}', '{ "b" : [ null ], "\\u0061":1 }'),
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"a":{"x":1},"a":3}', '{"a":3,"a":{"x":1},"a":3}'),
    ],
)
def test_equal(first: str, second: str) -> None:
    assert equal(first, second)
    assert equal(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1", "1.0000000000000000000000000000001"),
        ("9007199254740992", "9007199254740993"),
        ("0.1", "0.1000000000000000055511151231257827"),
        ("1", "-1"),
        ("1e400", "1e401"),
        ("1e400", "1e-400"),
        ("1e999999999999999999999", "1e999999999999999999998"),
        (f"1e{LONG}", f"1e{LONG[1:]}"),
        (LONG, f"{LONG}.1"),
        ("1", '"1"'),
        ("1", "true"),
        ("0", "false"),
        ("0", "null"),
        ("0", '""'),
        ("null", "false"),
        ("[]", "{}"),
        ("[]", "null"),
        ("[1,2]", "[2,1]"),
        ("[1]", "[1,1]"),
        ('["","1",0]', "[1]"),
        ('{"a":1}', '{"a":1,"b":1}'),
        ('{"a":null}', "{}"),
        ('{"a":1,"a":2}', '{"a":1}'),
        ('"a"', '"A"'),
        ('"é"', '"e\\u0301"'),
    ],
)
def test_not_equal(first: str, second: str) -> None:
    assert not equal(first, second)
    assert not equal(second, first)
