"""The data directory seen from outside: what is refused before a backend opens it, and what the log tells about it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from iii_fast.contracts import Recovered, Storage
from iii_fast.errors import StorageError

logger = logging.getLogger(__name__)


def refuse_foreign(directory: Path) -> None:
    """Raises ``StorageError`` when the directory holds state of the original iii engine (``*.bin`` files).

    Blocks on the file system: call it in a thread. A directory that is not there yet is fine.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot read the data directory {directory}: {error.strerror or error}") from error
    found = sorted(name for name in names if name.endswith(".bin"))
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise StorageError(
            f"{directory} holds data of the original iii engine ({found[0]}{more}), which stays as it is: choose "
            "another directory (--data-dir DIR, or file_path in the configuration), and bring the data into it with "
            f"`iii-fast import --from-iii {directory}`"
        )


def tell_recovered(recovered: Recovered, directory: Path, seconds: float) -> None:
    """Logs what a backend found when it opened the directory, and how long it took."""
    logger.info(
        "Recovered %d entries up to position %d from %s: %d bytes in %.3f s",
        recovered.entries,
        recovered.position,
        directory.absolute(),
        recovered.bytes_read,
        seconds,
    )
    if recovered.torn_bytes:
        logger.warning(
            "Cut %d bytes off the end of the journal: writes that were not finished when the engine ended",
            recovered.torn_bytes,
        )
    if recovered.salvaged is not None:
        logger.warning(
            "SALVAGED: what is missing, and %d damaged bytes, are given up; what was dropped (dropped.bin), and the "
            "files as they were, are in %s",
            recovered.dropped_bytes,
            recovered.salvaged.absolute(),
        )


def tell_place(storage: Storage) -> None:
    """Logs where state is kept."""
    if storage.redis is not None:
        redis = storage.redis
        logger.info("State is kept in Redis at %s:%d, database %d", redis.host, redis.port, redis.database)
        return
    if storage.directory is None:
        logger.warning("State is kept IN MEMORY ONLY: it ends with the engine")
        return
    level = f"interval, {storage.sync_interval_ms} ms" if storage.sync == "interval" else storage.sync
    logger.info("State is kept in %s (sync: %s)", storage.directory.absolute(), level)
