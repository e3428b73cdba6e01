"""``engine::channels::create``: says clearly that there are no channels yet, so that no caller waits for one."""

from __future__ import annotations

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Call
from iii_fast.errors import WireError
from iii_fast.protocol import Code


def functions() -> dict[str, Function]:
    """Function ids and what answers them."""
    return {"engine::channels::create": _create}


def _create(call: Call) -> bytes:
    fields = Fields(call, "buffer_size")
    size = fields.value("buffer_size")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise fields.error("field `buffer_size`: expected a non-negative integer")
    raise WireError(Code.NOT_SUPPORTED, "Streaming channels are not supported by this version of the engine.")
