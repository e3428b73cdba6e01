"""``engine::log::*``: lines of workers in the engine's own log."""

from __future__ import annotations

import logging
from typing import Final

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Call

logger = logging.getLogger("iii_fast.worker")

LEVELS: Final = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
LINE_CHARACTERS_MAX: Final = 16_384
_CONTEXT: Final = ("service_name", "trace_id", "span_id")


def functions() -> dict[str, Function]:
    """Function ids and what answers them."""
    return {f"engine::log::{name}": _at(level) for name, level in LEVELS.items()}


def _at(level: int) -> Function:
    def log(call: Call) -> None:
        fields = Fields(call, "message", "data", *_CONTEXT)
        message = fields.string("message")
        extra = {name: value for name in _CONTEXT if (value := fields.optional_string(name)) is not None}
        if (data := fields.raw("data")) is not None:
            extra["data"] = data.decode()[:LINE_CHARACTERS_MAX]
        logger.log(level, "%s", message[:LINE_CHARACTERS_MAX], extra={"session": call.session, **extra})

    return log
