"""``invokefunction`` as the executing worker sees it. Mirrors ``Request`` in ``rust/core/src/dispatch.rs``."""

from __future__ import annotations

from dataclasses import dataclass

from iii_fast.protocol import Kind
from iii_fast.reference.registry import Function


@dataclass(frozen=True, slots=True)
class Payload:
    """What goes to the executing worker beside the ids: JSON texts."""

    data: str
    metadata: str | None = None
    traceparent: str | None = None
    baggage: str | None = None

    def message(self, invocation_id: str, function: Function) -> str:
        """``invokefunction`` as the worker sees it (rule 9)."""
        optional = "".join(
            f',"{name}":{value}'
            for name, value in (
                ("metadata", self.metadata),
                ("traceparent", self.traceparent),
                ("baggage", self.baggage),
            )
            if value is not None
        )
        return (
            f'{{"type":"{Kind.INVOKE_FUNCTION}","invocation_id":"{invocation_id}","function_id":{function.id_text},'
            f'"data":{self.data}{optional}}}'
        )
