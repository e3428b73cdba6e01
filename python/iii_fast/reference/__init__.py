"""The data plane in plain Python: the specification that is easy to read, and the measure for the native one.

Files mirror ``rust/core`` and ``rust/journal`` by name. ``backend`` is the door; everything else is used from inside.
"""

from __future__ import annotations

from iii_fast.reference.backend import ReferenceBackend

__all__ = ["ReferenceBackend"]
