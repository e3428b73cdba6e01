"""How commands that talk to an engine fail: a text on stderr and exit status 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from iii_fast.cli.session import NoEngineError
from iii_fast.errors import StorageError, WireError


class CommandError(Exception):
    """The command could not do what it was asked; the text says why and what to do next."""


@contextmanager
def telling_failures() -> Iterator[None]:
    """Turns the expected failures of the block into a text on stderr and status 1."""
    try:
        yield
        sys.stdout.flush()
    except (CommandError, NoEngineError, StorageError) as error:
        fail(str(error))
    except WireError as error:
        fail(f"error {error}" + (f"\n{error.stacktrace}" if error.stacktrace else ""))
    except BrokenPipeError:
        # Nobody reads stdout any more; without this the interpreter would complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def fail(text: str) -> NoReturn:
    """Leaves with status 1."""
    print(text, file=sys.stderr)
    sys.exit(1)
