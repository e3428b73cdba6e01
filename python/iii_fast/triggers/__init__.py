"""The engine's own trigger types, one module each. A new type is a new module and one line in ``create``."""

from __future__ import annotations

from dataclasses import dataclass

from iii_fast.config import Settings
from iii_fast.contracts import Backend, Clock, Invoker, TriggerType
from iii_fast.triggers.cron import CronTrigger
from iii_fast.triggers.http import HttpTrigger
from iii_fast.triggers.queue import QueueTrigger
from iii_fast.triggers.state import StateTrigger


@dataclass(frozen=True, slots=True)
class TriggerTypes:
    """The types that the settings ask for; one that is switched off is ``None``."""

    http: HttpTrigger | None
    cron: CronTrigger | None
    queue: QueueTrigger | None
    state: StateTrigger | None

    def all(self) -> list[TriggerType]:
        """Every type that is on."""
        return [kind for kind in (self.http, self.cron, self.queue, self.state) if kind is not None]


def create(settings: Settings, invoker: Invoker, backend: Backend, clock: Clock) -> TriggerTypes:
    """Makes the engine's trigger types."""
    return TriggerTypes(
        http=HttpTrigger(invoker, backend, settings.http.middleware) if settings.http.enabled else None,
        cron=CronTrigger(invoker, clock) if settings.cron.enabled else None,
        queue=QueueTrigger(invoker, clock, settings.queue) if settings.queue.enabled else None,
        state=StateTrigger(invoker, backend) if settings.state.enabled and settings.state.triggers_enabled else None,
    )
