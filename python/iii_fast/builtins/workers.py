"""``engine::workers::*``: what workers say about themselves, and the list of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from iii_fast.broker import ENGINE_SESSION, Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Backend, Call, SessionId, WorkerInfo
from iii_fast.errors import WireError
from iii_fast.jsontext import encode
from iii_fast.protocol import (
    DEFAULT_NAMESPACE,
    FEATURE_LARGE_MESSAGES,
    SMALL_PEER_MESSAGE_BYTES_MAX,
    Code,
)

logger = logging.getLogger(__name__)

METADATA_CHARACTERS_MAX: Final = 1_000
"""Longer texts about a worker are cut: they are for people to read."""

_TEXTS: Final = ("runtime", "version", "name", "description", "os", "isolation")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a worker said about itself."""

    texts: Mapping[str, str | None]
    pid: int | None


class Workers:
    """The functions, and what they remember per connection."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._metadata: dict[SessionId, Metadata] = {}

    def functions(self) -> dict[str, Function]:
        """Function ids and what answers them."""
        return {"engine::workers::register": self.register, "engine::workers::list": self.list}

    def forget(self, session: SessionId) -> None:
        """A worker is gone."""
        self._metadata.pop(session, None)

    def name(self, session: SessionId, worker_id: str) -> str:
        """What a worker calls itself, else its id."""
        metadata = self._metadata.get(session)
        return (metadata.texts["name"] if metadata else None) or worker_id

    def register(self, call: Call) -> bytes:
        """Stores what a worker says about itself; all of it is optional."""
        fields = Fields(call, *_TEXTS, "pid", "namespace", "features")
        if call.session == ENGINE_SESSION:
            raise WireError(
                Code.NOT_SUPPORTED, "engine::workers::register describes a connected worker: call it from one"
            )
        _check_namespace(fields, call)
        texts = {name: _short(fields.optional_string(name)) for name in _TEXTS}
        pid = fields.value("pid")
        self._metadata[call.session] = Metadata(texts, pid if isinstance(pid, int) else None)
        features = fields.value("features")
        if texts["runtime"] == "python" and not (isinstance(features, list) and FEATURE_LARGE_MESSAGES in features):
            self._backend.set_peer_message_max(call.session, SMALL_PEER_MESSAGE_BYTES_MAX)
        return b'{"success":true}'

    def list(self, call: Call) -> bytes:
        """``{"workers":[...]}``, oldest first; ``search`` (in the name), ``runtime`` and ``status`` filter."""
        fields = Fields(call, "search", "runtime", "status")
        search, runtime = fields.optional_string("search"), fields.optional_string("runtime")
        status = fields.optional_string("status")
        counts = Counter(function.session for function in self._backend.functions())
        entries = [self._entry(worker, counts[worker.session]) for worker in self._backend.workers()]
        found = [
            entry
            for entry in entries
            if (search is None or search.lower() in entry["name"].lower())
            and (runtime is None or runtime == entry["runtime"])
            and (status is None or status == entry["status"])
        ]
        return encode({"workers": found})

    def _entry(self, worker: WorkerInfo, function_count: int) -> dict[str, Any]:
        metadata = self._metadata.get(worker.session)
        texts = metadata.texts if metadata is not None else dict.fromkeys(_TEXTS)
        return {
            "name": self.name(worker.session, worker.worker_id),
            "description": texts["description"],
            "version": texts["version"],
            "id": worker.worker_id,
            "namespace": DEFAULT_NAMESPACE,
            "runtime": texts["runtime"],
            "os": texts["os"],
            "status": "connected",
            "function_count": function_count,
            "connected_at_ms": worker.connected_at_ms,
            "active_invocations": worker.invocations_in_flight,
            "isolation": texts["isolation"],
            "ip_address": worker.address.rpartition(":")[0] or worker.address,
        }


def _check_namespace(fields: Fields, call: Call) -> None:
    namespace = fields.optional_string("namespace")
    if namespace is None or namespace == DEFAULT_NAMESPACE:
        return
    if not namespace.strip():
        raise WireError(
            Code.INVALID_NAMESPACE,
            "`namespace` is empty: it was named and left blank. Give it a name, or omit it to use `default`.",
        )
    logger.warning(
        "Session %s asks for namespace %r: this engine has only %r, its functions are there",
        call.session,
        namespace,
        DEFAULT_NAMESPACE,
    )


def _short(text: str | None) -> str | None:
    return None if text is None else text[:METADATA_CHARACTERS_MAX]
