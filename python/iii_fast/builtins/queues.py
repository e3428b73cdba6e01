"""``enqueue``, ``iii::durable::publish`` and ``engine::queue::enqueue``: how messages and jobs get into queues."""

from __future__ import annotations

from typing import Protocol

from iii_fast.broker import Function
from iii_fast.builtins.fields import Fields
from iii_fast.contracts import Call
from iii_fast.errors import WireError
from iii_fast.jsontext import encode
from iii_fast.protocol import DEFAULT_NAMESPACE, Code, function_not_found


class Queues(Protocol):
    """What takes messages and jobs: the ``queue`` trigger type, seen from here."""

    def publish(self, topic_name: str, data: bytes, traceparent: str | None = None, baggage: str | None = None) -> None:
        """Hands a message to the subscribers of a topic. Raises ``WireError``."""

    def enqueue(
        self,
        queue_name: str,
        function_id: str,
        data: bytes,
        *,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
        job_id: str | None = None,
    ) -> str:
        """Puts an invocation into a named queue and returns its receipt. Raises ``WireError``."""


def functions(queues: Queues) -> dict[str, Function]:
    """Function ids and what answers them."""

    def publish(call: Call) -> None:
        fields = Fields(call, "topic", "data")
        topic = fields.string("topic")
        if not topic:
            raise WireError(Code.TOPIC_NOT_SET, "Topic is not set")
        queues.publish(topic, fields.raw("data") or b"null", call.traceparent, call.baggage)

    def enqueue(call: Call) -> bytes:
        names = ("queue", "function_id", "data", "messageReceiptId", "traceparent", "baggage", "namespace")
        fields = Fields(call, *names)
        queue, function_id = fields.string("queue"), fields.string("function_id")
        namespace = fields.optional_string("namespace") or DEFAULT_NAMESPACE
        if namespace != DEFAULT_NAMESPACE:
            raise WireError(Code.ENQUEUE_ERROR, function_not_found(function_id, namespace))
        job_id = queues.enqueue(
            queue,
            function_id,
            fields.raw("data") or b"null",
            metadata=call.metadata,
            traceparent=fields.optional_string("traceparent") or call.traceparent,
            baggage=fields.optional_string("baggage") or call.baggage,
            job_id=fields.optional_string("messageReceiptId"),
        )
        return receipt(job_id)

    return {"enqueue": publish, "iii::durable::publish": publish, "engine::queue::enqueue": enqueue}


def enqueue_action(queues: Queues | None, call: Call) -> bytes:
    """Answers an invocation whose action is ``enqueue`` with a receipt. Raises ``WireError`` (``enqueue_error``)."""
    if queues is None or call.queue is None:
        raise WireError(Code.ENQUEUE_ERROR, "Queues are switched off in this engine's configuration.")
    job_id = queues.enqueue(
        call.queue,
        call.function_id,
        call.data,
        metadata=call.metadata,
        traceparent=call.traceparent,
        baggage=call.baggage,
    )
    return receipt(job_id)


def receipt(job_id: str) -> bytes:
    """What the caller of an enqueued invocation gets."""
    return encode({"messageReceiptId": job_id})
