"""Reads the ``config`` of a trigger, member by member, with the errors its registrant sees. Touches nothing."""

from __future__ import annotations

from typing import Any

from iii_fast.errors import WireError
from iii_fast.protocol import Code


def refused(message: str) -> WireError:
    """A config that cannot be bound."""
    return WireError(Code.TRIGGER_REGISTRATION_FAILED, message)


def members(config: Any) -> dict[str, Any]:
    """The config's members; null counts as an empty object. Raises ``WireError``."""
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise refused(f"Failed to parse trigger config: invalid type: {kind(config)}, expected an object")
    return config


def optional_string(config: dict[str, Any], name: str) -> str | None:
    """A member that is a string, null or absent. Raises ``WireError``."""
    value = config.get(name)
    if value is None or isinstance(value, str):
        return value
    raise refused(f"Failed to parse trigger config: field `{name}`: invalid type: {kind(value)}, expected a string")


def string_list(config: dict[str, Any], name: str) -> tuple[str, ...]:
    """A member that is an array of strings, null or absent. Raises ``WireError``."""
    value = config.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise refused(f"Failed to parse trigger config: field `{name}`: invalid type: {kind(value)}, expected an array")
    for index, item in enumerate(value):
        if not isinstance(item, str):
            where = f"field `{name}[{index}]`"
            raise refused(f"Failed to parse trigger config: {where}: invalid type: {kind(item)}, expected a string")
    return tuple(value)


def natural(config: dict[str, Any], name: str, least: int, most: int) -> int | None:
    """A member that is an integer from ``least`` to ``most``, null or absent. Raises ``WireError``."""
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refused(f"Failed to parse trigger config: field `{name}`: expected an integer from {least} to {most}")
    return value


def condition(config: dict[str, Any]) -> str | None:
    """The condition function; ``_condition_path`` is its older name."""
    name = "condition_function_id" if config.get("condition_function_id") is not None else "_condition_path"
    return optional_string(config, name) or None


def kind(value: Any) -> str:
    """What a parsed JSON value is called in error texts."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for python_type, name in ((str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, python_type):
            return name
    return "number"
