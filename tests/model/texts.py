"""Hypothesis strategies for JSON *texts*: valid ones in every spelling, and broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from tests.model.harness import quote

T = TypeVar("T")

spaces = st.sampled_from(["", "", "", " ", "\n", "\t\r "])

INTERESTING_NUMBERS = [
    "0",
    "-0",
    "1.0",
    "-0.0",
    "0.1",
    "0.2",
    "1e2",
    "1E+2",
    "1e-7",
    "12.50",
    "1e16",
    "123456789012345680.0",
    "5e-324",
    "2.5e-310",
    "1.7976931348623157e308",
    "1e400",
    "-1e400",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "9007199254740993",
    "1e22",
    "1e21",
    "0.00001",
    "0.0001",
]

numbers = st.one_of(
    st.integers(-20, 20).map(str),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(INTERESTING_NUMBERS),
    st.integers(1, 5).map(lambda count: "9" * count * 30),
)

_characters = st.one_of(
    st.sampled_from(list("ab ~/._[]{},:'«\u007f\u00e9\u20ac\U0001f600\u2028\ud7ff\ue000")),
    st.characters(exclude_categories=["Cs"], exclude_characters='"\\', min_codepoint=0x20),
)
_escapes = st.sampled_from(
    [
        '\\"',
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u0041",
        "\\u00e9",
        "\\u001F",
        "\\ud83d\\ude00",
        "\\u0000",
    ]
)
strings = st.lists(st.one_of(_characters, _escapes), max_size=6).map(lambda parts: f'"{"".join(parts)}"')


def mostly(usual: st.SearchStrategy[str], rare: st.SearchStrategy[str], one_in: int = 8) -> st.SearchStrategy[str]:
    """One of two, with weights: ``one_of`` alone would weigh every leaf alike."""
    return st.integers(1, one_in).flatmap(lambda number: rare if number == one_in else usual)


def programs(steps: st.SearchStrategy[T], longest: int) -> st.SearchStrategy[list[T]]:
    """Lists of steps, often long: lists alone are mostly too short for things to meet."""
    lengths = st.sampled_from([1, longest // 4, longest // 2, longest])
    return lengths.flatmap(lambda shortest: st.lists(steps, min_size=shortest, max_size=longest))


def escaped(text: str) -> st.SearchStrategy[str]:
    """The JSON string of ``text``, in a few spellings."""
    plain = quote(text)
    spellings = [plain, plain, plain]
    if text:
        spellings.append(
            f'"\\u{ord(text[0]):04x}{plain[2:]}' if plain[1] == text[0] and ord(text[0]) < 0xD800 else plain
        )
    return st.sampled_from(spellings)


def names(pool: Sequence[str]) -> st.SearchStrategy[str]:
    """JSON strings out of a pool."""
    return st.sampled_from(pool).flatmap(escaped)


@st.composite
def joined(draw: st.DrawFn, brackets: str, items: Sequence[str]) -> str:
    """Items in brackets with any white space that may be there."""
    parts = [draw(spaces) + item + draw(spaces) for item in items]
    inner = ",".join(parts) if parts else draw(spaces)
    return brackets[0] + inner + brackets[1]


@st.composite
def objects(draw: st.DrawFn, members: Sequence[tuple[str, str]]) -> str:
    """An object of name and value texts, in their order, with any white space."""
    return draw(joined("{}", [f"{name}{draw(spaces)}:{draw(spaces)}{value}" for name, value in members]))


def arrays(elements: st.SearchStrategy[str], max_size: int = 3) -> st.SearchStrategy[str]:
    """Arrays with any white space."""
    return st.lists(elements, max_size=max_size).flatmap(lambda items: joined("[]", items))


MEMBER_NAMES = ["a", "b", "c", "", "a.b", "é", "\n", "__proto__", "constructor"]

values = st.recursive(
    st.one_of(st.sampled_from(["null", "true", "false"]), numbers, strings),
    lambda inner: st.one_of(
        arrays(inner),
        st.lists(st.tuples(names(MEMBER_NAMES), inner), max_size=4).flatmap(objects),
    ),
    max_leaves=8,
)
"""Valid values."""


def nested(depth: int) -> str:
    """A value of so many levels, objects and arrays in turn."""
    opening = "".join('{"a":' if level % 2 else "[" for level in range(depth))
    closing = "".join("}" if level % 2 else "]" for level in reversed(range(depth)))
    return opening + "1" + closing


broken_values = st.one_of(
    st.sampled_from(
        [
            "NaN",
            "-Infinity",
            "Infinity",
            "[1,NaN]",
            '{"a":-Infinity}',
            '"\\ud800"',
            '"x\\udc00y"',
            '"\\ud800\\u0041"',
            '"\\uD83D"',
        ]
    ),
    st.sampled_from(
        [
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "nul",
            "True",
            "[1,]",
            '{"a":1,}',
            '{"a"}',
            "{a:1}",
            "['a']",
            "[1",
            "2]",
            '"\\x"',
            '"\\u12"',
            "[",
            "{",
            '"a',
            '"\t"',
            '"a\nb"',
            "",
        ]
    ),
    st.sampled_from([115, 116, 117, 118, 119, 120, 121, 125, 1200]).map(nested),
)
"""Values that are no JSON, or nest near or beyond the limit."""
