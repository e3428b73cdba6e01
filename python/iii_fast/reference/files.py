"""The few things that are done with files, all in one directory. Mirrors ``rust/journal/src/files.rs``.

Everything blocks: call it in a thread. What the system refuses is raised as ``StorageError``, which names the file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iii_fast.errors import StorageError


@contextmanager
def _telling(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot {action}: {error.strerror} (os error {error.errno})") from error


class Output:
    """A file that is written to its end, and the only handle of it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        """Gives ``data`` to the operating system."""
        rest = memoryview(data)
        with _telling(self.path, "write"):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """Brings everything that was appended to the disk."""
        with _telling(self.path, "sync"):
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """No more of it."""
        os.close(self._descriptor)


class Files:
    """The files of ``directory``. Names are those of files in it; ``salvaged-N/name`` is the only path among them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock: int | None = None

    def lock(self) -> None:
        """Makes the directory if it is not there (for its owner only), and takes it; until ``unlock`` or the end."""
        with _telling(self.directory, "lock the directory"):
            self._make()
            descriptor = os.open(self.directory / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise StorageError(
                    f"{self.directory}: the directory is in use by another engine or command; "
                    "stop it first, or choose another directory"
                ) from None
            self._lock = descriptor

    def unlock(self) -> None:
        """Gives it back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        missing = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700)
            _sync_directory(path.parent)

    def sizes(self) -> dict[str, int]:
        """The files with their bytes, by name; no directories."""
        with _telling(self.directory, "list the directory"), os.scandir(self.directory) as found:
            return {entry.name: entry.stat().st_size for entry in found if entry.is_file(follow_symlinks=False)}

    def read(self, name: str, bytes_max: int = -1) -> bytes:
        """A file, or the first bytes of it."""
        path = self.directory / name
        with _telling(path, "read"), path.open("rb") as file:
            return file.read(bytes_max)

    def create(self, name: str) -> Output:
        """Makes an empty file, also in the place of one that is there."""
        path = self.directory / name
        with _telling(path, "create"):
            return Output(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666))

    def truncate(self, name: str, size: int) -> None:
        """Cuts a file, and brings it to the disk as it is then."""
        path = self.directory / name
        with _telling(path, "truncate"), path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def rename(self, old: str, new: str) -> None:
        """Gives a file another name, over whatever has that name."""
        with _telling(self.directory / old, "rename"):
            os.rename(self.directory / old, self.directory / new)

    def remove(self, name: str) -> None:
        """Removes a file; one that is gone already is gone as well."""
        with _telling(self.directory / name, "remove"), suppress(FileNotFoundError):
            os.remove(self.directory / name)

    def make_directory(self, name: str) -> bool:
        """Makes a directory; false when there is one."""
        with _telling(self.directory / name, "make the directory"):
            try:
                os.mkdir(self.directory / name, 0o700)
            except FileExistsError:
                return False
            return True

    def random(self) -> int:
        """A u64 that nobody can know before."""
        return secrets.randbits(64)

    def sync_names(self, inner: str = ".") -> None:
        """Brings what files there are, and their names, to the disk; ``inner`` is a directory in the directory."""
        with _telling(self.directory / inner, "sync the directory"):
            _sync_directory(self.directory / inner)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
