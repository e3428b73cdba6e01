"""Files whose disk can be held up, can fail and can lose power; they are real files all the same."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from iii_fast.errors import StorageError
from iii_fast.reference.files import Files, Output

Action: TypeAlias = Literal["create", "write", "sync", "rename", "remove", "sync the directory"]


@dataclass
class Inode:
    """What a file holds, and how much of that is on the disk."""

    data: bytearray = field(default_factory=bytearray)
    synced: int = 0


class Steered(Files):
    """``before(action, name)`` is called before everything that changes a file, in the thread that does it.

    ``names`` is the directory as the operating system has it, ``durable`` as the disk has it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.names: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}
        self.did: list[tuple[Action, str]] = []
        self.before: Callable[[Action, str], None] = lambda *_: None

    def act(self, action: Action, name: str) -> None:
        self.before(action, name)
        self.did.append((action, name))

    def create(self, name: str) -> Output:
        self.act("create", name)
        output = super().create(name)
        inode = self.names[name] = Inode()
        return _Output(output, inode, self)

    def rename(self, old: str, new: str) -> None:
        self.act("rename", new)
        super().rename(old, new)
        self.names[new] = self.names.pop(old)

    def remove(self, name: str) -> None:
        self.act("remove", name)
        super().remove(name)
        del self.names[name]

    def sync_names(self, inner: str = ".") -> None:
        self.act("sync the directory", inner)
        super().sync_names(inner)
        self.durable = dict(self.names)

    def killed(self) -> dict[str, bytes]:
        """What is found when the process ends now."""
        return {name: bytes(inode.data) for name, inode in self.names.items()}

    def without_power(self) -> dict[str, bytes]:
        """What is found when the power goes now and takes along everything that was not synced."""
        return {name: bytes(inode.data[: inode.synced]) for name, inode in self.durable.items()}

    def with_late_names(self) -> dict[str, bytes]:
        """The same, but the system had written by itself which files there are."""
        return {name: bytes(inode.data[: inode.synced]) for name, inode in self.names.items()}


class _Output(Output):
    def __init__(self, output: Output, inode: Inode, files: Steered) -> None:
        super().__init__(output.path, os.dup(output._descriptor))
        output.close()
        self._inode = inode
        self._files = files

    def append(self, data: bytes) -> None:
        self._files.act("write", self.path.name)
        super().append(data)
        self._inode.data += data

    def sync(self) -> None:
        size = len(self._inode.data)
        self._files.act("sync", self.path.name)
        super().sync()
        self._inode.synced = size


def failing(action: Action, path: Path) -> StorageError:
    """The error of a disk that is full."""
    reason = os.strerror(errno.ENOSPC)
    return StorageError(f"{path}: cannot {action}: {reason} (os error {errno.ENOSPC})")


class Gate:
    """Holds up a thread until it is opened; ``reached`` is set as soon as one waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        """Lets everybody pass from now on."""
        self._open.set()

    def pass_through(self) -> None:
        """Waits until it is open."""
        self.reached.set()
        assert self._open.wait(20)
