"""``engine::functions::list``: what can be invoked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.builtins.workers import Workers
from iii_fast.contracts import Backend, Call, FunctionInfo
from iii_fast.jsontext import decode, encode
from iii_fast.protocol import DEFAULT_NAMESPACE

STATE_FUNCTIONS = (
    "state::set",
    "state::get",
    "state::delete",
    "state::list",
    "state::list_groups",
    "state::update",
    "state::get_many",
    "state::list_keys",
    "state::list_entries",
    "state::compare-and-set",
    "state::set_many",
    "state::delete_many",
    "state::delete_scope",
    "state::transact",
)
"""What every backend provides by itself."""

ENGINE_WORKER = "engine"
"""``worker_name`` of functions that the engine provides."""


class Functions:
    """The list. ``own_ids`` gives the ids of the control plane's own functions."""

    def __init__(self, backend: Backend, workers: Workers, own_ids: Callable[[], Sequence[str]]) -> None:
        self._backend = backend
        self._workers = workers
        self._own_ids = own_ids

    def functions(self) -> dict[str, Function]:
        """Function ids and what answers them."""
        return {"engine::functions::list": self.list}

    def list(self, call: Call) -> bytes:
        """``{"functions":[{function_id,namespace,worker_name,description?,metadata?}]}`` sorted by id.

        Filters: ``search`` (in the id), ``prefix``, ``worker``, ``workers`` (by name). Unless ``include_internal``,
        ``engine::*`` except ``engine::queue::*`` and functions whose metadata says ``internal`` are left out.
        """
        fields = Fields(call, "search", "prefix", "worker", "workers", "include_internal")
        search, prefix = fields.optional_string("search"), fields.optional_string("prefix") or ""
        names = set(fields.strings("workers"))
        if (worker := fields.optional_string("worker")) is not None:
            names.add(worker)
        internal = fields.optional_boolean("include_internal")
        entries = [self._entry(function) for function in self._backend.functions()]
        entries += [_own_entry(function_id) for function_id in self._own_ids()]
        found = [
            entry
            for entry in entries
            if (search is None or search.lower() in entry["function_id"].lower())
            and entry["function_id"].startswith(prefix)
            and (not names or entry["worker_name"] in names)
            and (internal or not _is_internal(entry))
        ]
        found.sort(key=lambda entry: entry["function_id"])
        return encode({"functions": found})

    def _entry(self, function: FunctionInfo) -> dict[str, Any]:
        entry = {
            "function_id": function.function_id,
            "namespace": DEFAULT_NAMESPACE,
            "worker_name": self._workers.name(function.session, function.worker_id),
        }
        registration = decode(function.registration)
        for name in ("description", "metadata"):
            if registration.get(name) is not None:
                entry[name] = registration[name]
        return entry


def _own_entry(function_id: str) -> dict[str, Any]:
    return {"function_id": function_id, "namespace": DEFAULT_NAMESPACE, "worker_name": ENGINE_WORKER}


def _is_internal(entry: dict[str, Any]) -> bool:
    function_id = entry["function_id"]
    if function_id.startswith("engine::") and not function_id.startswith("engine::queue::"):
        return True
    metadata = entry.get("metadata")
    return isinstance(metadata, dict) and metadata.get("internal") is True
