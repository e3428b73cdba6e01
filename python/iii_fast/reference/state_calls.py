"""The functions ``state::*``: reads their input from JSON text, works on the state, writes their result as JSON text.

Mirrors ``rust/core/src/state``. Knows no sessions and no messages. Rules: docs/wire.md 17 and 18.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.state import State
from iii_fast.reference.update_ops import InputError, read_ops


@dataclass(frozen=True, slots=True)
class Answer:
    """What a state function came to: JSON text or no result, and whether something was written."""

    result: str | None
    wrote: bool = False


def call(state: State, function_id: str, data: str) -> Answer:
    """Calls one of ``STATE_FUNCTIONS`` with ``data``. Raises ``WireError`` for unusable input and for limits."""
    try:
        return STATE_FUNCTIONS[function_id](state, data)
    except InputError as error:
        reason = f"Failed to deserialize input for {function_id}: {error}"
        raise WireError(Code.DESERIALIZATION_ERROR, reason) from error


def _get(state: State, data: str) -> Answer:
    fields = _fields(data, "scope", "key")
    return Answer(state.get(_string(fields, "scope"), _string(fields, "key")))


def _set(state: State, data: str) -> Answer:
    fields = _fields(data, "scope", "key", "value", aliases={"data": "value"})
    scope, key, value = _string(fields, "scope"), _string(fields, "key"), _required(fields, "value")
    old = state.set(scope, key, value)
    return Answer(f'{{"old_value":{old or "null"},"new_value":{value}}}', wrote=True)


def _delete(state: State, data: str) -> Answer:
    fields = _fields(data, "scope", "key")
    old = state.delete(_string(fields, "scope"), _string(fields, "key"))
    return Answer(old, wrote=old is not None)


def _list(state: State, data: str) -> Answer:
    fields = _fields(data, "scope")
    return Answer(f"[{','.join(state.values(_string(fields, 'scope')))}]")


def _list_groups(state: State, data: str) -> Answer:
    if data != "null":
        _fields(data)
    return Answer(f'{{"groups":[{",".join(map(json_text.string_text, state.groups()))}]}}')


def _update(state: State, data: str) -> Answer:
    fields = _fields(data, "scope", "key", "ops")
    scope, key = _string(fields, "scope"), _string(fields, "key")
    old, updated = state.update(scope, key, read_ops(_required(fields, "ops")))
    errors = f',"errors":[{",".join(updated.errors)}]' if updated.errors else ""
    result = f'{{"old_value":{old or "null"},"new_value":{updated.value or "null"}{errors}}}'
    return Answer(result, wrote=updated.changed)


STATE_FUNCTIONS: Final[dict[str, Callable[[State, str], Answer]]] = {
    "state::set": _set,
    "state::get": _get,
    "state::delete": _delete,
    "state::list": _list,
    "state::list_groups": _list_groups,
    "state::update": _update,
}
"""The built-in functions of every backend, by id."""


def _fields(data: str, *names: str, aliases: dict[str, str] | None = None) -> dict[str, str]:
    """The known members of the input. Raises ``InputError`` when it is no object or has one of them twice."""
    if json_text.kind(data) != "object":
        raise InputError(f"invalid type: {json_text.kind(data)}, expected an object")
    fields: dict[str, str] = {}
    for name, value in json_text.members(data):
        field = (aliases or {}).get(name, name)
        if field not in names:
            continue
        if field in fields:
            raise InputError(f"duplicate field `{field}`")
        fields[field] = value
    return fields


def _required(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"missing field `{name}`")
    return fields[name]


def _string(fields: dict[str, str], name: str) -> str:
    value = _required(fields, name)
    if json_text.kind(value) != "string":
        raise InputError(f"field `{name}`: invalid type: {json_text.kind(value)}, expected a string")
    return json_text.unescape(value)
