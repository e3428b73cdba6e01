"""Hypothesis strategies for inputs of ``state::*``: good ones, odd ones, broken ones, all about few keys."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from hypothesis import strategies as st

from tests.model.texts import arrays, broken_values, mostly, names, nested, numbers, objects, strings, values

Texts = st.SearchStrategy[str]

SCOPES = ["s", "s", "s", "t", "", "é"]
KEYS = ["k", "k", "k", "l", "", "\n"]
PATHS = ["a", "a", "a", "b", "b", "c", "", "", "a.b", "\n"]
ODD_PATHS = ["__proto__", "prototype", "x" * 256, "x" * 257, "é" * 128, "é" * 129]

anything = mostly(values, broken_values)

paths = mostly(names(PATHS), names(ODD_PATHS))
nested_paths = mostly(
    st.lists(paths, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    st.one_of(
        st.integers(31, 34).map(lambda depth: "[" + ",".join(['"a"'] * depth) + "]"),
        st.sampled_from(["[]", "null", '["a",1]', "[null]"]),
    ),
)
many_keys = st.integers(1023, 1026).map(lambda count: "{" + ",".join(f'"k{index}":1' for index in range(count)) + "}")
merge_values = mostly(
    st.lists(st.tuples(names(["a", "b", "c", "\n"]), values), max_size=3).flatmap(objects),
    st.one_of(
        st.integers(14, 18).map(lambda depth: '{"a":' + nested(depth - 1) + "}"),
        many_keys,
        st.just('{"a":1,"__proto__":2}'),
        values,
    ),
    one_in=4,
)


def members(*fields: tuple[str, Texts]) -> Texts:
    """Objects of all ``fields``, mostly: some lose, repeat or swap members, or get unknown ones."""
    usual = st.tuples(*(value.map(lambda text, name=name: (f'"{name}"', text)) for name, value in fields))
    stray = st.tuples(names([*(name for name, _ in fields), "data", "x", "type"]), anything)
    odd = st.tuples(usual, st.lists(stray, max_size=2), st.randoms(use_true_random=False)).map(_shuffled)
    return mostly(usual.flatmap(objects), odd.flatmap(objects))


def _shuffled(parts: tuple[tuple[tuple[str, str], ...], list[tuple[str, str]], Random]) -> Sequence[tuple[str, str]]:
    usual, strays, random = parts
    repeated = random.sample(usual, random.randint(0, min(1, len(usual))))
    all_members = [*usual, *repeated, *strays]
    random.shuffle(all_members)
    return all_members[: random.randint(0, len(all_members))]


def op(kind: str, *fields: tuple[str, Texts]) -> Texts:
    """One operation."""
    return members(("type", st.just(f'"{kind}"')), *fields)


field_and_by = members(("field", paths), ("by", numbers))
short_operations = st.one_of(
    members(("set", values)),
    members(("merge", merge_values)),
    members(("increment", field_and_by)),
    members(("decrement", mostly(field_and_by, values))),
    members(("remove", mostly(paths, values))),
    members(("append", values)),
)
"""As iii 0.10 wrote them."""

operations = st.one_of(
    short_operations,
    op("set", ("path", paths), ("value", values)),
    op("set", ("path", paths)),
    op("remove", ("path", paths)),
    op("increment", ("path", paths), ("by", numbers)),
    op("decrement", ("path", paths), ("by", numbers)),
    op("append", ("path", paths), ("value", values)),
    op("append", ("path", nested_paths), ("value", strings)),
    op("append", ("value", values)),
    op("merge", ("path", nested_paths), ("value", merge_values)),
    op("merge", ("value", merge_values)),
    op("merge", ("path", paths), ("value", merge_values)),
    op("bogus"),
    values,
)


# --- members of docs/state.md ----------------------------------------------------------------------------------------

EQUALS: Final = [
    "1",
    "1.0",
    "1e0",
    "10e-1",
    "-0",
    "0",
    "null",
    '"a"',
    '"\\u0061"',
    '{"a":1,"b":[2]}',
    '{"b":[2.0],"a":1}',
]
EQUALS += ['{"a":2,"a":1,"b":[2]}', "[1,2]", "[2,1]", "1e400", "10e399", "{}", "[]"]
ODD_INTEGERS: Final = ["-1", "1.0", "1e3", '"1"', "null", "true", "0", "9007199254740991", "9007199254740992", "1001"]
ODD_INTEGERS += ["3153600000000", "3153600000001", "16000000", "16000001", "1000", "99999999999999999999999999"]

comparable = mostly(st.sampled_from(EQUALS), values, one_in=4)
ODD_CURSORS: Final = ['"c0"', '"c01"', '"c"', '""', '"c\\u0031"', '"x\\n"', '"c18446744073709551615"', "null", "1"]
ODD_CURSORS += ['"c18446744073709551616"', '"c\u0663"', '"c+1"', '"c1 "', '"C1"']

Named = tuple[str, Texts]


def good_members(*fields: Named) -> Texts:
    """Objects of all ``fields``."""
    return st.tuples(*(value.map(lambda text, name=name: (f'"{name}"', text)) for name, value in fields)).flatmap(
        objects
    )


safe_operations = st.one_of(
    good_members(("type", st.just('"increment"')), ("path", names(["a", "b"])), ("by", st.integers(-3, 3).map(str))),
    good_members(("type", st.just('"set"')), ("path", names(["", "a"])), ("value", comparable)),
    good_members(("type", st.just('"remove"')), ("path", names(["a", "b"]))),
)


class Style:
    """How inputs are made: as they should be, or here and there not."""

    def __init__(self, *, odd: bool) -> None:
        self._odd = odd
        integers = st.sampled_from(ODD_INTEGERS)
        self.flags = self.mostly(
            st.sampled_from(["true", "true", "false"]), st.sampled_from(["null", '"true"', "1", "[]"])
        )
        self.durable = ("durable", self.mostly(st.just("false"), self.flags))
        self.expiry = (
            ("ttl_ms", self.mostly(st.integers(1, 30).map(str), integers)),
            ("expires_at", self.mostly(st.integers(990, 1060).map(str), integers)),
        )
        self.version = ("version", self.mostly(st.integers(1, 9).map(str), integers))
        # Good programs are about very few keys, so that their calls meet.
        self.scope = ("scope", names(SCOPES) if odd else st.sampled_from(['"s"'] * 5 + ['"t"']))
        self.key = ("key", names(KEYS) if odd else st.sampled_from(['"k"', '"k"', '"k"', '"l"', '"m"', '"\\u006b"']))
        self.place = (self.scope, self.key)

    def mostly(self, usual: Texts, rare: Texts, one_in: int = 8) -> Texts:
        return mostly(usual, rare, one_in) if self._odd else usual

    def members(self, *fields: Named) -> Texts:
        return members(*fields) if self._odd else good_members(*fields)

    def input(self, required: Sequence[Named], *optional: Named) -> Texts:
        """An input with required members and, sometimes, some of the optional ones."""
        chosen = st.tuples(*(st.integers(0, 2) for _ in optional))
        return chosen.flatmap(
            lambda draws: self.members(
                *required, *(field for field, drawn in zip(optional, draws, strict=True) if not drawn)
            )
        )

    def many(self, item: Texts, lengths: int = 4) -> Texts:
        """Items, mostly enough."""
        usual = st.lists(item, min_size=1, max_size=lengths).map(lambda items: f"[{','.join(items)}]")
        return self.mostly(usual, st.one_of(st.just("[]"), values, arrays(values)), one_in=12)

    def expiring(self, required: Sequence[Named], *optional: Named) -> Texts:
        """With at most one way to say when it expires, or, when odd, any."""
        ways = [self.input(required, field, *optional) for field in self.expiry]
        return st.one_of(*ways, self.input(required, *self.expiry, *optional)) if self._odd else st.one_of(*ways)

    def transact_items(self) -> Texts:
        """Operations of ``transact``."""

        def typed(name: str) -> Named:
            return ("type", st.just(f'"{name}"'))

        good = [
            self.expiring([typed("set"), *self.place, ("value", comparable)]),
            self.expiring([typed("update"), *self.place, ("ops", arrays(safe_operations))]),
            self.input([typed("delete"), *self.place], ("value", values)),
        ]
        if not self._odd:
            return st.one_of(*good)
        odd_types = st.sampled_from(['"bogus\\u0021"', '"s\\u0065t"', "1", "null"])
        return st.one_of(
            *good,
            self.expiring([typed("update"), *self.place, ("ops", arrays(operations, 2))]),
            self.input([("type", odd_types), *self.place, ("value", values)]),
        )

    def check_items(self) -> Texts:
        """Checks of ``transact``."""
        absent = ("absent", self.mostly(st.just("true"), self.flags))
        good = [self.input([*self.place, self.version]), self.input([*self.place, absent])]
        return st.one_of(*good, self.input(self.place, self.version, absent)) if self._odd else st.one_of(*good)

    def payloads(self) -> dict[str, Texts]:
        """Inputs of each function, by its name behind ``state::``."""
        value = ("value", self.mostly(comparable, anything, one_in=3))
        keys = ("keys", self.many(self.input([self.key], self.scope)))
        entries = ("entries", self.many(self.expiring([self.key, ("value", comparable)], self.scope)))
        prefix = ("prefix", self.mostly(names(["", "k", "l", "\n", "m"]), st.sampled_from(["null", "1", "{}"])))
        cursor = self.mostly(st.integers(1, 30).map(lambda number: f'"c{number}"'), st.sampled_from(ODD_CURSORS))
        limit = self.mostly(st.integers(1, 4).map(str), st.sampled_from(ODD_INTEGERS))
        size = self.mostly(st.integers(4, 60).map(str), st.sampled_from(ODD_INTEGERS))
        page = (prefix, ("cursor", cursor), ("limit", limit), ("max_bytes", size))
        new, expected = [*self.place, ("value", comparable)], ("expected", comparable)
        swaps = [self.expiring([*new, *more], self.durable) for more in ([], [expected], [self.version])]
        if self._odd:
            swaps.append(self.input(new, expected, self.version))
        safe = st.lists(safe_operations, min_size=1, max_size=2).map(lambda items: f"[{','.join(items)}]")
        own_scope = [self.scope] if not self._odd else []
        return {
            "get": self.input(self.place, ("meta", self.flags)),
            "set": st.one_of(
                self.expiring([*self.place, value], self.durable), self.members(*self.place, ("data", values))
            ),
            "delete": self.input(self.place, self.durable),
            "list": self.members(self.scope),
            "list_groups": st.one_of(self.members(), values),
            "update": self.expiring([*self.place, ("ops", arrays(operations, 5) if self._odd else safe)], self.durable),
            "get_many": self.input([*own_scope, keys], ("meta", self.flags), *([] if own_scope else [self.scope])),
            "list_keys": self.input([self.scope], prefix),
            "list_entries": self.input([self.scope], *page),
            "compare-and-set": st.one_of(*swaps),
            "set_many": self.input([self.scope, entries], self.durable),
            "delete_many": self.input([self.scope, keys], self.durable),
            "delete_scope": self.input([self.scope], self.durable),
            "transact": st.one_of(
                self.input([("ops", self.many(self.transact_items()))], self.durable),
                self.input([("checks", self.many(self.check_items(), 2)), ("ops", self.many(self.transact_items()))]),
            ),
        }


GOOD: Final = Style(odd=False).payloads()
ODD: Final = Style(odd=True).payloads()
FUNCTIONS: Final = [*GOOD, "set", "set", "compare-and-set", "set_many", "transact", "update"]


def _call(parts: tuple[str, int]) -> st.SearchStrategy[tuple[str, str]]:
    function, number = parts
    data = anything if number == 0 else ODD[function] if number < 4 else GOOD[function]
    return st.tuples(st.just(function), data)


calls = st.tuples(st.sampled_from(FUNCTIONS), st.integers(0, 15)).flatmap(_call)
"""A function and its input."""
