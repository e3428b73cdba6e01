"""A queue of jobs: order, concurrency, retries with back-off, dead letters. Memory only. Knows no topic and no worker.

Jobs sit in *strands*. A strand runs one job at a time, in order; strands run side by side up to the queue's
concurrency, in order of arrival. In a standard queue every job is a strand of its own; in a fifo queue all jobs of a
group share one, so a job that waits for its retry holds up its group and nobody else.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from iii_fast.clock import Timetable
from iii_fast.config import QueueConfig
from iii_fast.contracts import Invoker, Pending
from iii_fast.errors import WireError
from iii_fast.protocol import Code, function_not_found
from iii_fast.triggers.queue_gate import ArrivalGate, Place

logger = logging.getLogger(__name__)

JOB_S_MAX: Final = 600.0
"""A handler that hangs must not keep its slot for ever: after this the attempt has failed."""
CONDITION_S_MAX: Final = 30.0
"""A condition that hangs holds up the jobs that arrived later, so it gets less."""
PROBE_S: Final = 1.0
"""How often one waiting job asks whether its function is there by now. Costs no attempt."""
DEAD_LETTERS_MAX: Final = 1_000
"""Dead letters kept per queue; the oldest makes room, all are counted."""
DEAD_LETTER_BYTES_MAX: Final = 16 << 20
BACKOFF_S_MAX: Final = 86_400.0
BACKOFF_DOUBLINGS_MAX: Final = 30
"""Enough to get from 1 ms to ``BACKOFF_S_MAX``; many more would not fit a float."""
JOB_BYTES: Final = 500
"""What a job costs beside its payload."""


@dataclass(slots=True, eq=False)
class Job:
    """One item: what to invoke with what, and how often that was tried."""

    id: str
    function_id: str
    data: bytes
    metadata: bytes | None = None
    traceparent: str | None = None
    baggage: str | None = None
    attempts: int = 0

    @property
    def size(self) -> int:
        return JOB_BYTES + len(self.data) + len(self.metadata or b"")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that used up its attempts. ``failed_at`` is monotonic time."""

    job: Job
    error: WireError
    failed_at: float


@dataclass(slots=True, eq=False)
class Strand:
    """Jobs that run one after another; ``group`` is ``None`` for a strand of one job. ``order`` is that of arrival."""

    order: int
    group: str | None
    jobs: deque[Job] = field(default_factory=deque)


class Memory:
    """The bound on what all queues of the engine hold together, dead letters left out (they have their own)."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self.jobs = 0

    def take(self, job: Job) -> None:
        """Accounts for a job. Raises ``WireError`` (``enqueue_error``) when there is no room."""
        if self.bytes + job.size > self.bytes_max:
            text = f"The queues hold {self.bytes} bytes in {self.jobs} jobs, the limit is {self.bytes_max} bytes."
            raise WireError(Code.ENQUEUE_ERROR, text)
        self.bytes += job.size
        self.jobs += 1

    def give(self, job: Job) -> None:
        """Ends the accounting for a job."""
        self.bytes -= job.size
        self.jobs -= 1


class JobRunner:
    """What all queues share: how to invoke, the parent of running jobs, timers, the memory bound."""

    def __init__(self, invoker: Invoker, bytes_max: int) -> None:
        self.invoker = invoker
        self.memory = Memory(bytes_max)
        self.timetable = Timetable()
        self._nursery: trio.Nursery | None = None
        self._running = 0
        self._idle = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled; no queue may start a job before that."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self.timetable.run()

    async def drain(self) -> None:
        """Returns when no job runs. Jobs that wait for a retry, a function or a subscriber do not count."""
        await trio.lowlevel.checkpoint()
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()

    def start(self, job: Callable[[], Awaitable[None]]) -> None:
        """Runs a job in the background."""
        assert self._nursery is not None, "JobRunner.run has not started"
        self._running += 1
        self._nursery.start_soon(self._run, job)

    async def _run(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        finally:
            self._running -= 1
            self._idle.set()


class JobQueue:
    """One queue. ``config`` may change at any time; a queue that is not ``open`` keeps its jobs and starts none.

    ``condition`` and ``metadata`` are for jobs that bring no metadata of their own (the subscriber's, for topics).
    """

    def __init__(self, name: str, config: QueueConfig, runner: JobRunner) -> None:
        self.name = name
        self.config = config
        self.condition: str | None = None
        self.metadata: bytes | None = None
        self.open = True
        self.dead: deque[DeadLetter] = deque()
        self.dead_count = 0
        self._dead_bytes = 0
        self._runner = runner
        self._order = itertools.count()
        self._gate = ArrivalGate()
        self._ready: deque[Strand] = deque()
        self._groups: dict[str, Strand] = {}
        self._jobs: dict[Job, None] = {}
        self._running = 0
        self._out: set[Strand] = set()
        """Strands whose first job runs or waits for its retry: neither ready nor waiting for a function."""
        self._held: Strand | None = None
        self._ahead: set[Strand] = set()
        """The strands that must end before the held one may start."""
        self._missing: dict[str, list[Strand]] = {}
        self._probes: dict[str, Strand | None] = {}

    @property
    def depth(self) -> int:
        """Jobs that have not come to an end, running ones included."""
        return len(self._jobs)

    def put(self, job: Job, group: str | None = None) -> None:
        """Adds a job that ``Memory`` has accounted for; of a fifo queue with its group."""
        self._jobs[job] = None
        if group is not None and (strand := self._groups.get(group)) is not None:
            strand.jobs.append(job)
            return
        strand = Strand(next(self._order), group, deque([job]))
        if group is not None:
            self._groups[group] = strand
        self._ready.append(strand)
        self.pump()

    def clear(self) -> int:
        """Throws all jobs away, for a queue that nobody will serve any more; returns how many. Running ones finish."""
        count = len(self._jobs)
        for job in self._jobs:
            self._runner.memory.give(job)
        self._jobs.clear()
        self._ready.clear()
        self._missing.clear()
        self._held = None
        self.open = False
        return count

    def regroup(self, group: str | None) -> None:
        """Puts all jobs into one group, or each into a strand of its own (``None``); those that have started go first.

        For a queue whose ``config.kind`` changed. Call ``pump`` afterwards.
        """
        waiting = self._take_waiting_jobs()
        self._groups.clear()
        self._held = None
        if group is None:
            self._ahead.clear()
            self._ready.extend(Strand(next(self._order), None, deque([job])) for job in waiting)
        elif waiting or self._out:
            strand = self._groups[group] = Strand(next(self._order), group, deque(waiting))
            if self._out:
                self._held, self._ahead = strand, set(self._out)
            else:
                self._ready.append(strand)

    def _take_waiting_jobs(self) -> list[Job]:
        """Empties all strands but for the first jobs of those that are out. Returns the jobs in order of arrival."""
        for strand in self._out:
            strand.group = None
            strand.jobs = deque([strand.jobs[0]])
        self._ready.clear()
        self._missing.clear()
        started = {strand.jobs[0] for strand in self._out}
        return [job for job in self._jobs if job not in started]

    def pump(self) -> None:
        """Starts what can start."""
        while self.open and self._ready and self._running < self.config.concurrency:
            strand = self._ready.popleft()
            waiting = self._missing.get(strand.jobs[0].function_id)
            if waiting is None:
                self._start(strand)
            else:
                waiting.append(strand)

    def function_appeared(self, function_id: str) -> None:
        """Lets the jobs go on that waited for a function."""
        waiting = self._missing.pop(function_id, None)
        if waiting is None:
            return
        self._ready.extendleft(sorted(waiting, key=lambda strand: strand.order, reverse=True))
        self.pump()

    # Running

    def _start(self, strand: Strand) -> None:
        job = strand.jobs[0]
        job.attempts += 1
        self._running += 1
        self._out.add(strand)
        begin = partial(self._begin, job)
        # A fifo strand keeps its order by itself, and its group must not wait for the conditions of others.
        gate = self._gate if strand.group is None else ArrivalGate()
        # Placed here and not in the task: tasks start in any order, and jobs must start in order of arrival.
        place = gate.take_place(begin)
        condition = self.condition
        if condition is None:
            gate.decide(place, True)
        self._runner.start(partial(self._run, strand, job, condition, gate, place))

    def _begin(self, job: Job) -> Pending:
        metadata = self.metadata if job.metadata is None else job.metadata
        return self._runner.invoker.begin(
            job.function_id, job.data, metadata=metadata, traceparent=job.traceparent, baggage=job.baggage
        )

    async def _run(self, strand: Strand, job: Job, condition: str | None, gate: ArrivalGate, place: Place) -> None:
        try:
            try:
                error = await self._attempt(job, condition, gate, place)
            finally:
                self._running -= 1
            self._settle(strand, job, condition, error)
        except Exception:
            self._give_up(strand, job)
        self.pump()

    async def _attempt(self, job: Job, condition: str | None, gate: ArrivalGate, place: Place) -> WireError | None:
        """One attempt; returns why it failed. A denied job has succeeded."""
        try:
            if place.allowed is None:
                await self._ask(job, condition, gate, place)
            if not place.allowed:
                return None
            pending = await place.begun_in_turn()
            with trio.fail_after(JOB_S_MAX):
                await pending.outcome()
        except WireError as error:
            return error
        except trio.TooSlowError:
            return WireError(Code.TIMEOUT, f"no result within {JOB_S_MAX:.0f} s")
        return None

    async def _ask(self, job: Job, condition: str | None, gate: ArrivalGate, place: Place) -> None:
        """Decides a place by its condition; one that fails denies, and is raised."""
        try:
            with trio.fail_after(CONDITION_S_MAX):
                allowed = await self._runner.invoker.allows(condition, job.data)
        except trio.TooSlowError:
            gate.decide(place, False)
            raise WireError(Code.TIMEOUT, f"the condition gave no result within {CONDITION_S_MAX:.0f} s") from None
        except Exception:
            gate.decide(place, False)
            raise
        gate.decide(place, allowed)

    def _give_up(self, strand: Strand, job: Job) -> None:
        """Buries a job that a bug of ours has hit: retried, it would hit the same bug, and its group must go on."""
        logger.exception("Bug in the engine: job %s of queue %s cannot run", job.id, self.name)
        self._bury(job, WireError(Code.INTERNAL_ERROR, "The job failed inside the engine; its log has the details."))
        self._end(strand, job)

    def _settle(self, strand: Strand, job: Job, condition: str | None, error: WireError | None) -> None:
        if error is not None and _nobody_there(error, job.function_id, condition):
            job.attempts -= 1
            self._park(strand, job.function_id)
            return
        if self._probes.get(job.function_id) is strand:
            del self._probes[job.function_id]
        self.function_appeared(job.function_id)
        if error is None:
            self._end(strand, job)
        elif job.attempts >= self.config.max_retries:
            self._bury(job, error)
            self._end(strand, job)
        else:
            doublings = min(job.attempts - 1, BACKOFF_DOUBLINGS_MAX)
            delay_s = min(self.config.backoff_ms / 1000 * 2**doublings, BACKOFF_S_MAX)
            logger.info("Job %s of queue %s failed, again in %.1f s: %s", job.id, self.name, delay_s, error)
            self._runner.timetable.after(delay_s, partial(self._again, strand))

    def _again(self, strand: Strand) -> None:
        self._out.discard(strand)
        self._ready.append(strand)
        self.pump()

    def _end(self, strand: Strand, job: Job) -> None:
        strand.jobs.popleft()
        if job in self._jobs:
            del self._jobs[job]
            self._runner.memory.give(job)
        self._out.discard(strand)
        self._make_ready(strand)
        if self._held is not None:
            self._ahead.discard(strand)
            if not self._ahead:
                held, self._held = self._held, None
                self._make_ready(held)

    def _make_ready(self, strand: Strand) -> None:
        if strand.jobs:
            self._ready.append(strand)
        elif strand.group is not None:
            del self._groups[strand.group]

    def _bury(self, job: Job, error: WireError) -> None:
        logger.error(
            "Job %s of queue %s is a dead letter after %d attempts: %s", job.id, self.name, job.attempts, error
        )
        self.dead.append(DeadLetter(job, error, trio.current_time()))
        self.dead_count += 1
        self._dead_bytes += job.size
        while len(self.dead) > DEAD_LETTERS_MAX or self._dead_bytes > DEAD_LETTER_BYTES_MAX:
            self._dead_bytes -= self.dead.popleft().job.size

    # A function that is not there costs no attempts: one job asks now and then, the others wait.

    def _park(self, strand: Strand, function_id: str) -> None:
        self._out.discard(strand)
        self._missing.setdefault(function_id, []).append(strand)
        if self._probes.get(function_id) is strand:
            del self._probes[function_id]
        if function_id not in self._probes:
            self._probe_later(function_id)

    def _probe_later(self, function_id: str) -> None:
        self._probes[function_id] = None
        self._runner.timetable.after(PROBE_S, partial(self._probe, function_id))

    def _probe(self, function_id: str) -> None:
        del self._probes[function_id]
        waiting = self._missing.get(function_id)
        if not waiting:
            return
        if not self.open or self._running >= self.config.concurrency:
            self._probe_later(function_id)
            return
        strand = min(waiting, key=lambda strand: strand.order)
        waiting.remove(strand)
        self._probes[function_id] = strand
        self._start(strand)
        self._runner.timetable.after(PROBE_S, partial(self._trust, function_id, strand))

    def _trust(self, function_id: str, strand: Strand) -> None:
        """A probe that is still out has found its function: its absence would have been told at once."""
        if self._probes.get(function_id) is strand:
            del self._probes[function_id]
            self.function_appeared(function_id)


def _nobody_there(error: WireError, *function_ids: str | None) -> bool:
    """Whether the engine itself did not find one of the functions; handlers may fail with the same code for others."""
    return error.code == Code.FUNCTION_NOT_FOUND and any(
        name is not None and error.message == function_not_found(name) for name in function_ids
    )
