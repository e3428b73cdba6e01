"""Progress bars on stderr: only on a terminal, and gone when the work is done."""

from __future__ import annotations

from typing import Any, Literal

from tqdm import tqdm


def progress_bar(unit: Literal["entries", "B"], total: int | None = None, initial: int = 0) -> tqdm[Any]:
    """A bar to ``update`` and ``close``; use it as a context manager. ``total`` ``None`` shows count and rate only."""
    return tqdm(
        total=total,
        initial=initial,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        disable=None,
        leave=False,
        dynamic_ncols=True,
    )
