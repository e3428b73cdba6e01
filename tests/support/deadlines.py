"""How long tests wait for real processes. Generous: a loaded machine must not fail a test, and success never waits."""

from __future__ import annotations

from typing import Final

START_S: Final = 30.0
"""Until a started program says that it is ready."""

ANSWER_S: Final = 10.0
"""Until an engine or worker that runs answers."""

RECONNECT_S: Final = 45.0
"""Until an SDK is back after its connection was cut (they wait 1 to 2 s, with jitter, before the first try)."""
