"""Equality of JSON values given as text (docs/state.md, 9): numbers by value and exactly, objects by name in any order.

Mirrors ``rust/core/src/state``. No number becomes a float, and an exponent is never worked out: ``1e999999999`` costs
what its text costs.
"""

from __future__ import annotations

import json
import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, Final, TypeAlias

from iii_fast.reference.codec_value import to_json
from iii_fast.reference.transcode import InexpressibleError

_Number: TypeAlias = tuple[str, str, Decimal]
"""Sign, digits without zeros at either end, and the power of ten of the last digit. Equal numbers have equal ones."""

_ZERO: Final[_Number] = ("", "", Decimal(0))
_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?")
# Python refuses to make an int of very many digits; a Decimal takes any number of them and adds them exactly.
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def equal(first: str, second: str) -> bool:
    """Whether two values are the same: as JSON. What JSON does not have is the same only byte by byte."""
    try:
        return first == second or _value(to_json(first)) == _value(to_json(second))
    except InexpressibleError:
        return False


def _number(text: str) -> _Number:
    match = _NUMBER.fullmatch(text)
    assert match is not None  # JSON's numbers are validated at the door
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", match[4] or "0"
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return _ZERO
    shift = len(digits) - len(significant) - len(fraction)
    return sign, significant, _EXACT.add(_EXACT.create_decimal(exponent), Decimal(shift))


# Of duplicate names the last counts, as it does in a dict. Numbers are tuples, which equal nothing else that JSON has.
_DECODER: Final = json.JSONDecoder(parse_int=_number, parse_float=_number)


def _value(text: str) -> Any:
    return _DECODER.decode(text)
