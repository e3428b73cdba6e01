"""The functions ``state::*`` by id. Mirrors ``rust/core/src/state``.

Knows no sessions and no messages. Rules: docs/wire.md 17 and 18, docs/state.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import state_reads as reads
from iii_fast.reference import state_writes as writes
from iii_fast.reference.state import State
from iii_fast.reference.state_answer import Answer
from iii_fast.reference.state_transact import transact
from iii_fast.reference.update_ops import InputError

Function: TypeAlias = Callable[[State, int, str], Answer]
"""Takes the state, the time of the call (Unix ms) and its input."""

STATE_FUNCTIONS: Final[dict[str, Function]] = {
    "state::set": writes.set_value,
    "state::get": reads.get,
    "state::delete": writes.delete,
    "state::list": reads.list_values,
    "state::list_groups": reads.list_groups,
    "state::update": writes.update,
    "state::get_many": reads.get_many,
    "state::list_keys": reads.list_keys,
    "state::list_entries": reads.list_entries,
    "state::compare-and-set": writes.compare_and_set,
    "state::set_many": writes.set_many,
    "state::delete_many": writes.delete_many,
    "state::delete_scope": writes.delete_scope,
    "state::transact": transact,
}
"""The built-in functions of every backend, by id."""


def call(state: State, function_id: str, data: str) -> Answer:
    """Calls one of ``STATE_FUNCTIONS`` with ``data``. Raises ``WireError`` for unusable input and for limits."""
    try:
        return STATE_FUNCTIONS[function_id](state, state.now_ms(), data)
    except InputError as error:
        reason = f"Failed to deserialize input for {function_id}: {error}"
        raise WireError(Code.DESERIALIZATION_ERROR, reason) from error
