"""The trigger types ``queue`` and ``durable:subscriber``, and the named queues. Memory only for now.

A topic has one queue per subscribed function: each gets a copy of every message, and several triggers of one function
share its queue. Messages of a topic that nobody subscribes to yet wait for the first subscriber. A function whose last
trigger goes stays subscribed for ``DETACHED_S``, so a worker that reconnects misses nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Final

import trio

from iii_fast.config import QueueConfig, QueueKind, QueueSettings
from iii_fast.config.workers import COUNT_MAX, DURATION_MS_MAX
from iii_fast.contracts import Clock, Invoker, Trigger
from iii_fast.errors import WireError
from iii_fast.jsontext import is_null, members
from iii_fast.protocol import Code
from iii_fast.triggers.config_reader import condition, natural, optional_string, refused
from iii_fast.triggers.config_reader import members as config_members
from iii_fast.triggers.queue_jobs import Job, JobQueue, JobRunner

logger = logging.getLogger(__name__)

QUEUE_BYTES_MAX: Final = 256 << 20
"""What all waiting jobs of the engine may take in memory; publishers get an error beyond it."""
DETACHED_S: Final = 3_600.0
DETACHED_MAX: Final = 1_000

_HONOURED: Final = frozenset({"type", "maxRetries", "concurrency", "backoffDelayMs"})


# Config


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A bound trigger: its config, read."""

    trigger: Trigger
    topic: str
    condition: str | None
    config: QueueConfig

    @staticmethod
    def read(trigger: Trigger, defaults: QueueConfig) -> Subscriber:
        """Raises ``WireError`` for a config that cannot be bound."""
        config = config_members(trigger.config)
        topic = optional_string(config, "topic") or optional_string(config, "queue")
        if not topic:
            raise refused(f"topic is required for {trigger.trigger_type} triggers")
        own = config_members(config.get("queue_config"))
        return Subscriber(trigger, topic, condition(config), _overridden(_flat(defaults, config), own))


def _flat(defaults: QueueConfig, config: dict[str, Any]) -> QueueConfig:
    """The spellings beside ``topic``, an older form; there ``concurrency`` 0 pauses the queue."""
    concurrency = natural(config, "concurrency", 0, COUNT_MAX)
    return replace(
        defaults,
        kind=_kind(config) or defaults.kind,
        concurrency=defaults.concurrency if concurrency is None else concurrency,
    )


def _kind(config: dict[str, Any]) -> QueueKind | None:
    named = optional_string(config, "type")
    return None if named is None else "fifo" if named == "fifo" else "standard"


def _overridden(defaults: QueueConfig, own: dict[str, Any]) -> QueueConfig:
    for name in own.keys() - _HONOURED:
        logger.info("queue_config.%s is not used by this engine", name)
    # The first attempt is not a retry, and the configuration file bounds attempts.
    retries = natural(own, "maxRetries", 0, COUNT_MAX - 1)
    concurrency = natural(own, "concurrency", 1, COUNT_MAX)
    backoff_ms = natural(own, "backoffDelayMs", 0, DURATION_MS_MAX)
    return replace(
        defaults,
        kind=_kind(own) or defaults.kind,
        max_retries=defaults.max_retries if retries is None else retries + 1,
        concurrency=concurrency or defaults.concurrency,
        backoff_ms=defaults.backoff_ms if backoff_ms is None else backoff_ms,
    )


@dataclass(slots=True, eq=False)
class _Lane:
    """The queue of one function on one topic, and the triggers that share it."""

    topic: str
    function_id: str
    queue: JobQueue
    subscribers: list[Subscriber] = field(default_factory=list)
    detached_at: float = 0.0

    @property
    def group(self) -> str | None:
        """All messages of a fifo subscriber are one group: a topic has no field to group by."""
        return "" if self.queue.config.kind == "fifo" else None

    def use_newest(self) -> None:
        """The newest trigger decides how jobs run."""
        newest = self.subscribers[-1]
        kind = self.queue.config.kind
        self.queue.config = newest.config
        self.queue.condition = newest.condition
        self.queue.metadata = newest.trigger.metadata
        if kind != newest.config.kind:
            self.queue.regroup(self.group)


@dataclass(slots=True)
class _Topic:
    lanes: dict[str, _Lane] = field(default_factory=dict)
    waiting: deque[Job] = field(default_factory=deque)


class QueueTrigger:
    """Implements ``contracts.TriggerType``; ``publish`` and ``enqueue`` are what builtins call."""

    ids: tuple[str, ...] = ("queue", "durable:subscriber")

    def __init__(self, invoker: Invoker, clock: Clock, settings: QueueSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._runner = JobRunner(invoker, QUEUE_BYTES_MAX)
        self._topics: dict[str, _Topic] = {}
        self._subscribers: dict[str, Subscriber] = {}
        self._detached: dict[_Lane, None] = {}
        self._queues = {name: JobQueue(name, config, self._runner) for name, config in settings.queue_configs.items()}

    # Bind, unbind

    def bind(self, trigger: Trigger) -> None:
        """Subscribes a function to a topic. Raises ``WireError``."""
        subscriber = Subscriber.read(trigger, self._settings.topic)
        topic = self._topics.setdefault(subscriber.topic, _Topic())
        lane = topic.lanes.get(trigger.function_id)
        if lane is None:
            name = f"{subscriber.topic} -> {trigger.function_id}"
            queue = JobQueue(name, subscriber.config, self._runner)
            lane = topic.lanes[trigger.function_id] = _Lane(subscriber.topic, trigger.function_id, queue)
        self._detached.pop(lane, None)
        self._subscribers[trigger.id] = subscriber
        lane.subscribers.append(subscriber)
        lane.use_newest()
        lane.queue.open = True
        while topic.waiting:
            job = topic.waiting.popleft()
            job.function_id = trigger.function_id
            lane.queue.put(job, lane.group)
        lane.queue.function_appeared(trigger.function_id)
        lane.queue.pump()

    def unbind(self, trigger: Trigger) -> None:
        """Ends it; jobs under way finish, the others wait for a while for the function to come back."""
        subscriber = self._subscribers.pop(trigger.id)
        lane = self._topics[subscriber.topic].lanes[trigger.function_id]
        lane.subscribers.remove(subscriber)
        if lane.subscribers:
            lane.use_newest()
            lane.queue.pump()
            return
        lane.queue.open = False
        lane.detached_at = self._clock.monotonic()
        self._detached[lane] = None
        self._drop_old_lanes()

    def _drop_old_lanes(self) -> None:
        now = self._clock.monotonic()
        while self._detached:
            lane = next(iter(self._detached))
            if len(self._detached) <= DETACHED_MAX and now - lane.detached_at < DETACHED_S:
                return
            del self._detached[lane]
            topic = self._topics[lane.topic]
            del topic.lanes[lane.function_id]
            self._drop_if_empty(lane.topic)
            if lost := lane.queue.clear():
                logger.error("%d messages lost: no subscriber of %s came back", lost, lane.queue.name)

    def _drop_if_empty(self, name: str) -> None:
        topic = self._topics[name]
        if not topic.lanes and not topic.waiting:
            del self._topics[name]

    # Run, fire

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs jobs until cancelled."""
        await self._runner.run(task_status=task_status)

    async def drain(self) -> None:
        """Returns when no job runs, and tells what is lost with this engine."""
        await self._runner.drain()
        if left := self._runner.memory.jobs:
            logger.warning("%d jobs are lost: queues are in memory only", left)

    def publish(self, topic_name: str, data: bytes, traceparent: str | None = None, baggage: str | None = None) -> None:
        """Hands a message to every function subscribed to a topic. Raises ``WireError`` when memory is full."""
        self._drop_old_lanes()
        topic = self._topics.get(topic_name) or _Topic()
        jobs = [
            Job(str(uuid.uuid4()), function_id, data, None, traceparent, baggage) for function_id in topic.lanes or [""]
        ]
        self._take(jobs)
        self._topics[topic_name] = topic
        for job in jobs:
            if job.function_id:
                lane = topic.lanes[job.function_id]
                lane.queue.put(job, lane.group)
            else:
                topic.waiting.append(job)

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
        """Puts an invocation into a named queue; returns the job's id, which is the receipt. Raises ``WireError``."""
        queue = self._queues.get(queue_name)
        if queue is None:
            known = ", ".join(sorted(self._queues))
            raise WireError(Code.ENQUEUE_ERROR, f"Queue `{queue_name}` is not configured. Configured queues: {known}.")
        group = _group(queue, data)
        job = Job(job_id or str(uuid.uuid4()), function_id, data, metadata, traceparent, baggage)
        self._take([job])
        queue.put(job, group)
        return job.id

    def _take(self, jobs: list[Job]) -> None:
        """Accounts for all or none."""
        taken = 0
        try:
            for job in jobs:
                self._runner.memory.take(job)
                taken += 1
        except WireError:
            for job in jobs[:taken]:
                self._runner.memory.give(job)
            raise


# Result: what a handler returns means nothing here; that it returned is the acknowledgement.


def _group(queue: JobQueue, data: bytes) -> str | None:
    """The group of a job in a fifo queue. Raises ``WireError`` (``enqueue_error``) without one."""
    name = queue.config.message_group_field
    if queue.config.kind != "fifo" or name is None:
        return None
    value = dict(members(data) or ()).get(name)
    if value is None or is_null(value):
        raise WireError(
            Code.ENQUEUE_ERROR, f"Queue `{queue.name}` is fifo and needs the field `{name}` in the payload."
        )
    return value.decode()
