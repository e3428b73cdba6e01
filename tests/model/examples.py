"""How long the differential tests look for a difference: ``MODEL_EXAMPLES=20000`` makes them look harder."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

MODEL_EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))

look = settings(max_examples=MODEL_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
