"""A power loss, as far as one can be had without pulling a plug: what was not synced is cut off, zeroed or torn.

An engine that is to lose its power runs with a small library that notes after each sync how long the file was by then
(``synced.c``). After ``kill -9`` everything behind that length is what a disk may have, in part, or not.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

SOURCE: Final = Path(__file__).with_name("synced.c")
BLOCK_BYTES: Final = 512
"""What a disk writes whole or not at all."""


class PowerLoss:
    """Engines started with ``environment`` can lose their power; ``place`` is a directory for the notes."""

    def __init__(self, place: Path) -> None:
        library, self._log = place / "synced.so", place / "synced.log"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "SYNCED_LOG": str(self._log)}

    def strike(self, directory: Path, random: Random) -> int:
        """Leaves in ``directory`` what a disk might have, the engine being dead; how many bytes were at stake."""
        synced = self._synced()
        at_stake = 0
        for path in sorted(directory.iterdir()):
            about = path.stat()
            size, safe = about.st_size, synced.get((about.st_ino, str(path).removesuffix(".tmp")), 0)
            if size > safe:
                at_stake += size - safe
                _tear(path, safe, size, random)
            with self._log.open("a") as log:  # what is there now has survived
                log.write(f"{time.monotonic_ns()} {about.st_ino} {path.stat().st_size} {path}\n")
        return at_stake

    def _synced(self) -> dict[tuple[int, str], int]:
        """Lengths as of the sync of each file that began last, by inode and path, whatever name it gets later."""
        found: dict[tuple[int, str], int] = {}
        notes = [line.split(" ", 3) for line in self._log.read_text().splitlines()]
        for _, inode, size, path in sorted(notes, key=lambda note: int(note[0])):
            found[int(inode), path.removesuffix(".tmp")] = int(size)
        assert any(path.endswith(".log") for _, path in found), "the engine has synced no journal that the library saw"
        return found


def _tear(path: Path, safe: int, size: int, random: Random) -> None:
    kind = random.choice(("cut", "shorter", "zeroed", "blocks", "flipped"))
    rest = bytearray(path.read_bytes()[safe:])
    match kind:
        case "cut":
            rest.clear()
        case "shorter":
            del rest[random.randrange(len(rest)) :]
        case "zeroed":
            rest[:] = bytes(len(rest))
        case "blocks":
            # Blocks reach the disk in any order.
            for start in range(-(safe % BLOCK_BYTES), len(rest), BLOCK_BYTES):
                if random.random() < 0.5:
                    begin, end = max(start, 0), min(start + BLOCK_BYTES, len(rest))
                    rest[begin:end] = bytes(end - begin)
        case "flipped":
            for _ in range(random.randint(1, 8)):
                rest[random.randrange(len(rest))] ^= 1 << random.randrange(8)
    with path.open("r+b") as file:
        file.truncate(safe)
        file.seek(safe)
        file.write(rest)
        os.fsync(file.fileno())
