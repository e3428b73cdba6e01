"""The reference's JSON reading: the fast way and the exact way agree, and errors name the byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iii_fast.reference import codec_json
from iii_fast.reference.codec_json_scan import JsonError, Scanner
from tests.model.texts import broken_values, mostly, names, nested, objects, spaces, values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at byte 0: unexpected end of the text"),
        ("  nul", "at byte 5: unexpected end of the text"),
        ("nulx", "at byte 0: expected a value"),
        ("\ufeff1", "at byte 0: expected a value"),
        ('["é",NaN]', "at byte 6: NaN is not a JSON value"),
        ("[-Infinity]", "at byte 1: -Infinity is not a JSON value"),
        ('{"a":Infinity}', "at byte 5: Infinity is not a JSON value"),
        ("[NaN", "at byte 1: NaN is not a JSON value"),
        ("[" * 121, "at byte 120: more than 120 nested levels"),
        (nested(121), "at byte 360: more than 120 nested levels"),
        ('["€\\ud800x"]', "at byte 5: lone surrogate in a string"),
        ('"\\udc00\\ud800"', "at byte 1: lone surrogate in a string"),
        ('"\\ud800\\ud800\\udc00"', "at byte 1: lone surrogate in a string"),
        ('{"\\uDFFF":1}', "at byte 2: lone surrogate in a string"),
        ('"a\tb"', "at byte 2: control character in a string"),
        ('"\\x"', "at byte 1: invalid escape in a string"),
        ('"\\u12g4"', "at byte 1: invalid escape in a string"),
        ('"\\u12', "at byte 5: unexpected end of the text"),
        ('"\\', "at byte 2: unexpected end of the text"),
        ("[1,]", "at byte 3: expected a value"),
        ("[1 2]", "at byte 3: expected `,` or `]`"),
        ('{"a":1,}', "at byte 7: expected a string"),
        ('{"a" 1}', "at byte 5: expected `:`"),
        ('{"a":1;}', "at byte 6: expected `,` or `}`"),
        ("[01]", "at byte 1: invalid number"),
        ("[-]", "at byte 2: invalid number"),
        ("1.", "at byte 2: unexpected end of the text"),
        ("1e+x", "at byte 3: invalid number"),
        ("{} {}", "at byte 3: characters after the value"),
    ],
)
def test_the_first_error_is_named_with_its_byte(text: str, problem: str) -> None:
    with pytest.raises(JsonError) as caught:
        codec_json.validate(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "text",
    [
        nested(120),
        " [ ] ",
        '"\\ud83d\\ude00"',
        '"\\\\ud800"',
        "9" * 5000,
        "-0",
        "1E400",
        '"\u007f\U0001f600"',
        '{"a":1,"a":2}',
    ],
)
def test_everything_that_is_json_is_taken(text: str) -> None:
    codec_json.validate(text)


def _exactly_valid(text: str) -> bool:
    try:
        Scanner(text).document()
    except JsonError:
        return False
    return True


@given(st.tuples(spaces, mostly(values, broken_values, 2), spaces).map("".join))
def test_the_fast_and_the_exact_scanner_agree(text: str) -> None:
    try:
        codec_json.validate(text)
    except JsonError:
        assert not _exactly_valid(text)
    else:
        assert _exactly_valid(text)


@given(values, st.integers(0, 60), st.sampled_from(['"', "\\", "{", "]", ",", ":", "e", "0", "\\ud800", "\x00", ""]))
def test_they_agree_about_damaged_texts(text: str, at: int, damage: str) -> None:
    damaged = text[:at] + damage + text[at + 1 :]
    try:
        codec_json.validate(damaged)
    except JsonError:
        assert not _exactly_valid(damaged)
    else:
        assert _exactly_valid(damaged)


@given(st.lists(st.tuples(names(["a", "b", "\n"]), values), max_size=5))
def test_members_come_as_they_stand_in_the_text(members: list[tuple[str, str]]) -> None:
    text = "{ " + " , ".join(f"{name}\t:\n{value}" for name, value in members) + " }"
    assert list(codec_json.members(text)) == [(json.loads(name), value) for name, value in members]


@given(st.lists(values, max_size=5))
def test_elements_come_as_they_stand_in_the_text(elements: list[str]) -> None:
    text = "[ " + "\r,\t".join(elements) + "]"
    assert list(codec_json.elements(text)) == elements


@given(st.lists(st.tuples(names(["a", "b"]), values), max_size=5).flatmap(objects))
def test_the_lenient_scanner_reads_valid_objects_as_the_strict_one_does(text: str) -> None:
    assert codec_json.read_lenient(text) == dict(codec_json.members(text))


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('{"a":NaN,"b":[-Infinity],"a":1}', {"a": "1", "b": "[-Infinity]"}),
        ('{"a":"\\ud800"}', {"a": '"\\ud800"'}),
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", {"a": "[" * 5000 + "]" * 5000}),
        ('{"a":1,}', None),
        ('{"a":1', None),
        ('{"a":1}x', None),
        ("[NaN]", None),
        ('{"a":nan}', None),
    ],
)
def test_lenient_reading_takes_what_common_encoders_write_wrongly(text: str, members: dict[str, str] | None) -> None:
    assert codec_json.read_lenient(text) == members


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_are_escaped_as_little_as_json_allows(text: str) -> None:
    written = codec_json.string_text(text)
    assert json.loads(written) == codec_json.unescape(written) == text
    assert all(ord(char) >= 0x20 for char in written)
    special = sum(char in '"\\' or ord(char) < 0x20 for char in text)
    assert written.count("\\") == special + text.count("\\")


@pytest.mark.parametrize(
    ("text", "depth"), [("1", 0), ('"[["', 0), ("[]", 1), ('{"a":[{}]}', 3), ('[1,[2],"\\"]]",[[3]]]', 3)]
)
def test_depth_counts_levels(text: str, depth: int) -> None:
    assert codec_json.depth(text) == depth
