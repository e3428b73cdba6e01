"""Disks that fill up, and files that cannot grow: from one moment on writes of a running engine fail."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.engine_process import EngineProcess

DISK_BYTES: Final = 6 << 20


def cannot_grow(engine: EngineProcess, size: int) -> None:
    """From now on every file of the engine may have ``size`` bytes at most."""
    resource.prlimit(engine.process.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def may_grow(engine: EngineProcess) -> None:
    """Takes ``cannot_grow`` back."""
    resource.prlimit(
        engine.process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A disk of ``DISK_BYTES`` at ``place``. Needs the right to mount."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def enlarge(place: Path) -> None:
    """Makes the disk at ``place`` ten times as large."""
    subprocess.run(["mount", "-o", f"remount,size={10 * DISK_BYTES}", place], check=True)


def may_mount(place: Path) -> bool:
    """Whether ``small_disk`` works here; ``place`` is an empty directory to try it on."""
    try:
        with small_disk(place):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
