"""Names nobody else uses, so that tests can share an engine."""

from __future__ import annotations

import uuid


def unique(stem: str) -> str:
    """``stem`` with something that makes it unique."""
    return f"{stem}-{uuid.uuid4().hex[:12]}"
