"""JSON as text: validation, and spans that keep what they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iii_fast import jsontext
from iii_fast.jsontext import JsonTextError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"[NaN]", "NaN is not a JSON value"),
        (b"-Infinity", "-Infinity is not a JSON value"),
        (b'"\\uD800"', "lone surrogate"),
        (b'{"a":"\\udc00"}', "lone surrogate"),
        (b"[\xff]", "not UTF-8 at byte 1"),
        (b"[" * 121 + b"]" * 121, "more than 120 nested levels"),
        (b"[" * 100_000, "more than 120 nested levels"),
        (b"{} {}", "Extra data at character 3"),
        (b'"\n"', "control character"),
        (b"", "Expecting value"),
        (b"\xef\xbb\xbf1", "Expecting value"),
    ],
)
def test_what_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(JsonTextError, match=text):
        jsontext.check(raw)


@pytest.mark.parametrize(
    "raw", [b'"\\ud83d\\ude00"', b"[" * 120 + b"]" * 120, b"1" * 10_000, b"1e999", b' {"a":1,"a":2} ', b'"\\u0000"']
)
def test_what_is_accepted(raw: bytes) -> None:
    jsontext.check(raw)


@given(VALUES)
def test_accepts_all_that_python_writes(value: Any) -> None:
    jsontext.check(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(st.lists(st.tuples(st.text(), VALUES), max_size=6), st.sampled_from(["", " ", "\n\t "]))
def test_members_are_the_spans_in_order_with_duplicates(pairs: list[tuple[str, Any]], space: str) -> None:
    texts = [(name, json.dumps(value).encode()) for name, value in pairs]
    gap = space.encode()
    inner = (gap + b"," + gap).join(json.dumps(name).encode() + gap + b":" + gap + text for name, text in texts)
    assert jsontext.members(gap + b"{" + gap + inner + gap + b"}" + gap) == texts


@pytest.mark.parametrize("raw", [b"[1]", b"null", b'"{}"', b"5"])
def test_members_of_what_is_no_object(raw: bytes) -> None:
    assert jsontext.members(raw) is None


@given(st.lists(VALUES, max_size=6), st.sampled_from(["", " ", "\n\t "]))
def test_elements_are_the_spans_in_order(values: list[Any], space: str) -> None:
    texts = [json.dumps(value).encode() for value in values]
    gap = space.encode()
    assert jsontext.elements(gap + b"[" + gap + (gap + b"," + gap).join(texts) + gap + b"]" + gap) == texts


@pytest.mark.parametrize("raw", [b"{}", b"null", b'"[]"', b"5"])
def test_elements_of_what_is_no_array(raw: bytes) -> None:
    assert jsontext.elements(raw) is None


def test_number_text_survives() -> None:
    raw = b'{"a":1.0e400,"b":-0,"c":123456789012345678901234567890}'
    members = jsontext.members(raw)
    assert members == [("a", b"1.0e400"), ("b", b"-0"), ("c", b"123456789012345678901234567890")]
    assert jsontext.build(members) == raw


def test_decode_takes_integers_of_any_length() -> None:
    assert jsontext.decode(b"1" * 1000) == int("1" * 1000)
    assert jsontext.decode(b"1" * 5000) == float("inf")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"null", "null"),
        (b" true", "boolean"),
        (b"false", "boolean"),
        (b"-1", "number"),
        (b"1", "number"),
        (b'\n"x"', "string"),
        (b"[]", "array"),
        (b"{}", "object"),
    ],
)
def test_kinds(text: bytes, kind: str) -> None:
    assert jsontext.kind(text) == kind


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quote_reads_back(text: str) -> None:
    assert json.loads(jsontext.quote(text)) == text


def test_encode_refuses_what_json_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsontext.encode(float("nan"))
