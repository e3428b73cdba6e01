"""``iii-fast export``: writes the entries of a running engine's state to a file or to stdout."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import trio

from iii_fast.cli import saved_progress, state_reader
from iii_fast.cli.address import engine_url
from iii_fast.cli.arguments import UsageError, add_engine_options, check_timeout, command_parser, text_argument
from iii_fast.cli.client import converse
from iii_fast.cli.failure import CommandError, telling_failures
from iii_fast.cli.progress_bar import progress_bar
from iii_fast.cli.record import FORMATS, Format, Record, RecordError, to_line, to_msgpack
from iii_fast.cli.saved_progress import ExportProgress
from iii_fast.cli.session import Session

CHECKPOINT_S: Final = 1.0
"""How often the file is synced and the progress saved."""

STDOUT: Final = "-"

EPILOG: Final = """\
One record per entry, scopes in the order of their names, entries in the order in which their keys were created:
  jsonl    a line {"scope":S,"key":K,"value":V,"expires_at":MS} each; V is the text that is stored, digit for digit.
           A value that JSON does not have (binary, NaN) ends the export with an error that names it
  msgpack  the same as msgpack maps; smaller, keeps values but not their text. A number that msgpack cannot hold
           exactly (an integer beyond 64 bits, 1e400) ends the export with an error that names it
expires_at (Unix time in ms) is there for entries that expire. The engine goes on working: each entry is as it was when
its page was read. For a copy of one instant, and for the fastest one, see `iii-fast backup`.

While it is not complete, FILE.progress is beside FILE. After an interruption --resume cuts off what is torn at FILE's
end and goes on. An engine that keeps state in memory only must not have been restarted in between.

examples:
  iii-fast export state.jsonl
  iii-fast export --scope users --scope orders | gzip > two-scopes.jsonl.gz
  iii-fast export state.msgpack --format msgpack --address engine.internal
  iii-fast export state.jsonl --resume

environment: III_URL (or III_ENGINE_URL) is the engine's address where --address and --port say nothing.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """The command line. ``path`` ``None`` is stdout; ``only`` are scopes in order, ``None`` for all."""

    url: str
    timeout_ms: int
    path: Path | None
    format: Format
    only: list[str] | None
    resume: bool


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 2 for bad usage and 1 for an export that is not complete."""
    parser = _parser()
    try:
        request = _request(parser.parse_args(arguments))
    except UsageError as error:
        parser.error(str(error))
    with telling_failures():
        progress = trio.run(_run, request)
    where = "" if request.path is None else f" to {request.path}"
    counts = f"{progress.entries} entries of {progress.scopes} scopes, {progress.bytes} bytes"
    print(f"exported {counts}{where}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "export", description="Write the state of a running engine to a file or to stdout.", epilog=EPILOG
    )
    parser.add_argument("file", nargs="?", default=STDOUT, metavar="FILE", help="a new file, or - for stdout (default)")
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="default: jsonl")
    parser.add_argument("--scope", action="append", metavar="SCOPE", help="this scope only; may be given several times")
    parser.add_argument("--resume", action="store_true", help="go on with an export that was interrupted")
    add_engine_options(parser)
    return parser


def _request(options: argparse.Namespace) -> Request:
    check_timeout(options.timeout_ms)
    path = None if options.file == STDOUT else Path(options.file)
    if path is None and options.resume:
        raise UsageError("--resume needs a FILE: what went to stdout cannot be continued")
    if path is None and options.format == "msgpack" and sys.stdout.isatty():
        raise UsageError("msgpack is not for terminals: name a FILE")
    only = None if options.scope is None else sorted({text_argument(one) for one in options.scope}, key=str.encode)
    url = engine_url(options.address, options.port, os.environ)
    return Request(url, options.timeout_ms, path, options.format, only, options.resume)


async def _run(request: Request) -> ExportProgress:
    return await converse(request.url, lambda session: _export(session, request), timeout_ms=request.timeout_ms)


async def _export(session: Session, request: Request) -> ExportProgress:
    target = await trio.to_thread.run_sync(_open, request)
    try:
        await _copy(session, request, target)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(target.finish)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(target.interrupted)
        raise
    return target.progress


async def _copy(session: Session, request: Request, target: _Target) -> None:
    scopes = request.only if request.only is not None else await state_reader.scopes(session)
    first = target.progress.scope
    with progress_bar("entries", initial=target.progress.entries) as bar:
        for at, scope in enumerate(scopes):
            if first is not None and scope.encode() < first.encode():
                continue
            if scope != first:
                target.begin(scope)
            bar.set_description(f"scope {at + 1} of {len(scopes)}")
            async with aclosing(_pages(session, request, scope, target)) as pages:
                async for page in pages:
                    await trio.to_thread.run_sync(target.write, page)
                    bar.update(len(page.records))
            if request.only is not None and target.progress.after_key is None:
                print(f"no entries in scope {scope}", file=sys.stderr)


def _pages(session: Session, request: Request, scope: str, target: _Target) -> AsyncGenerator[state_reader.Page]:
    """What is left of a scope."""
    now, take_packed = target.progress, request.format == "msgpack"
    return state_reader.pages(session, scope, now.cursor, now.after_key, take_packed=take_packed)


class _Target:
    """The file, or stdout (``path`` ``None``), and how far it is written. Its methods block: call them in threads."""

    def __init__(self, file: BinaryIO, path: Path | None, progress: ExportProgress) -> None:
        self.progress = progress
        self._file = file
        self._path = path
        self._saved_at = time.monotonic()

    def begin(self, scope: str) -> None:
        """The scopes before this one are done."""
        done = self.progress.scopes + 1
        self.progress = replace(self.progress, scope=scope, cursor=None, after_key=None, scopes=done)

    def write(self, page: state_reader.Page) -> None:
        """Appends the entries of a page. Raises ``CommandError``."""
        data = b"".join(_encoded(record, self.progress.format) for record in page.records)
        with self._telling():
            self._file.write(data)
        self.progress = replace(
            self.progress,
            bytes=self.progress.bytes + len(data),
            entries=self.progress.entries + len(page.records),
            cursor=page.cursor,
            after_key=page.after_key,
        )
        if time.monotonic() - self._saved_at >= CHECKPOINT_S:
            self.save()

    def save(self) -> None:
        """Makes what was written permanent, and then notes that it is. Raises ``CommandError``."""
        with self._telling():
            self._file.flush()
            if self._path is not None:
                os.fsync(self._file.fileno())
                saved_progress.save(self._path, self.progress)
        self._saved_at = time.monotonic()

    def finish(self) -> None:
        """The file is complete. Raises ``CommandError``."""
        with self._telling():
            self._file.flush()
            if self._path is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                saved_progress.remove(self._path)

    def interrupted(self) -> None:
        """Saves what can be gone on from, and tells how."""
        if self._path is None:
            return
        try:
            with closing(self._file):
                self.save()
        except (
            CommandError,
            OSError,
        ):  # the disk is full, say: the former progress holds, and the first error is the one to tell
            return
        text = f"not complete: {self.progress.entries} entries are in {self._path}; go on with --resume"
        print(text, file=sys.stderr)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"{self._path or 'stdout'} cannot be written: {error.strerror}") from None


def _encoded(record: Record, chosen: str) -> bytes:
    try:
        return to_msgpack(record) if chosen == "msgpack" else to_line(record)
    except RecordError as error:
        raise CommandError(str(error)) from None


def _open(request: Request) -> _Target:
    progress = ExportProgress(request.format, request.only)
    if request.path is None:
        return _Target(sys.stdout.buffer, None, progress)
    try:
        if request.resume:
            saved = saved_progress.load(request.path, ExportProgress)
            if saved is not None:
                return _continued(request.path, saved, progress)
            print(f"nothing to go on with ({saved_progress.path_of(request.path)}): from the start", file=sys.stderr)
        file = request.path.open("xb")
        try:
            saved_progress.hold(file, request.path)
            target = _Target(file, request.path, progress)
            target.save()
        except CommandError:
            file.close()
            raise
        return target
    except FileExistsError:
        if request.path.exists() and not request.path.is_file():
            raise CommandError(f"{request.path} is no file: name one, or send stdout there") from None
        hint = "go on with --resume" if saved_progress.path_of(request.path).exists() else "remove it"
        raise CommandError(f"{request.path} exists: {hint}, or name another file") from None
    except OSError as error:
        raise CommandError(f"{request.path} cannot be written: {error.strerror}") from None


def _continued(path: Path, saved: ExportProgress, asked: ExportProgress) -> _Target:
    if (saved.format, saved.only) != (asked.format, asked.only):
        scopes = "all scopes" if saved.only is None else f"scopes {', '.join(saved.only)}"
        raise CommandError(f"{path} was begun with --format {saved.format} and {scopes}: give the same to go on")
    file = path.open("r+b")
    saved_progress.hold(file, path)
    size = file.seek(0, os.SEEK_END)
    if size < saved.bytes:
        file.close()
        raise CommandError(f"{path} has {size} bytes, {saved.bytes} were written: it was changed, start again")
    file.truncate(saved.bytes)
    file.seek(saved.bytes)
    return _Target(file, path, saved)
