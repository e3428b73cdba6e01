"""``iii-fast import``: writes entries from a file, or from the original engine's files, into a running engine."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import trio
from tqdm import tqdm

from iii_fast.cli import original_files, saved_progress
from iii_fast.cli.address import engine_url
from iii_fast.cli.arguments import UsageError, add_engine_options, check_timeout, command_parser
from iii_fast.cli.batches import Batch, RecordFile, groups, is_alone
from iii_fast.cli.client import converse
from iii_fast.cli.failure import CommandError, telling_failures
from iii_fast.cli.progress_bar import progress_bar
from iii_fast.cli.record import FORMATS, Format
from iii_fast.cli.saved_progress import ExportProgress, ImportProgress
from iii_fast.cli.session import Session
from iii_fast.cli.state_writer import CALLS_MAX, Counts, StateWriter, WriteOptions

CHECKPOINT_S: Final = 1.0
"""How often the progress is saved."""

STDIN: Final = "-"

EPILOG: Final = """\
FILE is what `iii-fast export` writes; `iii-fast export --help` describes both formats. Entries go in by the thousand,
in the order of the file, over what is there; state triggers fire as for any other write. A record that cannot be read,
or that the engine refuses, ends the import and is told with its number; everything before it is imported.

Replies wait for the disk (--no-durable: they do not), so FILE.progress, which is there until the import is complete,
says what is safe. After an interruption --resume goes on from there, if FILE is still the same up to that place.

--from-iii reads the directory of the original engine's file_based store: a file SCOPE.bin for each scope. The original
engine must not be running. A damaged file is told, the others are imported, and the status is 1.

examples:
  iii-fast import state.jsonl
  gunzip < two-scopes.jsonl.gz | iii-fast import
  iii-fast import state.msgpack --format msgpack --if-absent
  iii-fast import state.jsonl --resume
  iii-fast import --from-iii ./data/state_store.db

environment: III_URL (or III_ENGINE_URL) is the engine's address where --address and --port say nothing.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """The command line. ``path`` ``None`` is stdin; ``original`` is the directory of ``--from-iii``."""

    url: str
    timeout_ms: int
    path: Path | None
    original: Path | None
    format: Format
    resume: bool
    options: WriteOptions


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand. Leaves with status 2 for bad usage and 1 for an import that is not complete."""
    parser = _parser()
    try:
        request = _request(parser.parse_args(arguments))
    except UsageError as error:
        parser.error(str(error))
    with telling_failures():
        if request.original is None:
            trio.run(_import_file, request)
        else:
            trio.run(_import_original, request, request.original)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("import", description="Write entries into the state of a running engine.", epilog=EPILOG)
    parser.add_argument("file", nargs="?", metavar="FILE", help="a file, or - for stdin (default)")
    parser.add_argument("--format", choices=FORMATS, help="default: jsonl")
    parser.add_argument("--resume", action="store_true", help="go on with an import that was interrupted")
    parser.add_argument("--if-absent", action="store_true", help="leave entries alone that are there already")
    parser.add_argument(
        "--durable",
        action=argparse.BooleanOptionalAction,
        help="replies wait for the disk, whatever the engine's sync is (default, if it has one)",
    )
    parser.add_argument("--from-iii", metavar="DIR", help="the original engine's directory, instead of a FILE")
    add_engine_options(parser)
    return parser


def _request(options: argparse.Namespace) -> Request:
    check_timeout(options.timeout_ms)
    original = None if options.from_iii is None else Path(options.from_iii)
    if original is not None:
        for name, given in (("FILE", options.file), ("--format", options.format), ("--resume", options.resume)):
            if given:
                raise UsageError(f"--from-iii reads a directory: leave out {name}")
    path = None if options.file in (None, STDIN) else Path(options.file)
    if options.resume and path is None:
        raise UsageError("--resume needs a FILE: stdin cannot be continued")
    url = engine_url(options.address, options.port, os.environ)
    write = WriteOptions(options.durable, options.if_absent)
    return Request(url, options.timeout_ms, path, original, options.format or "jsonl", options.resume, write)


async def _import_file(request: Request) -> None:
    source = await trio.to_thread.run_sync(_open, request)
    before = source.progress.records
    try:
        counts = await _write(request, source.records.batches(), source.acknowledged)
        await trio.to_thread.run_sync(source.finish)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(source.interrupted)
        raise
    earlier = f", {before} by the import that was interrupted" * bool(before)
    print(f"imported {_told(counts)}{earlier}", file=sys.stderr)


async def _import_original(request: Request, directory: Path) -> None:
    source = await trio.to_thread.run_sync(_OriginalSource, directory)
    with progress_bar("entries") as bar:
        counts = await _write(request, source.batches(), lambda batch: _advance(bar, len(batch.records)))
    scopes = len(source.files) - source.damaged
    print(f"imported {_told(counts)}, {scopes} scopes", file=sys.stderr)
    if source.damaged:
        raise CommandError(f"{source.damaged} of {len(source.files)} files could not be read, see above")


async def _write(request: Request, batches: Iterator[Batch], acknowledged: Callable[[Batch], None]) -> Counts:
    async def work(session: Session) -> Counts:
        writer = StateWriter(session, request.options, acknowledged)
        await writer.write(batches)
        return writer.counts

    return await converse(request.url, work, calls_max=CALLS_MAX, timeout_ms=request.timeout_ms)


def _told(counts: Counts) -> str:
    return f"{counts.written} entries" + f", {counts.kept} were there already" * bool(counts.kept)


def _advance(bar: tqdm[Any], amount: int) -> None:
    bar.update(amount)


class _FileSource:
    """The file, or stdin (``path`` ``None``), and how far it is written. Its methods block: call them in threads."""

    def __init__(self, file: BinaryIO, path: Path | None, start: ImportProgress) -> None:
        self.progress = start
        self.records = RecordFile(file, "stdin" if path is None else str(path), start)
        self._file = file
        self._path = path
        self._resumable = path
        self._saved_at = time.monotonic()
        total = None if path is None else os.fstat(file.fileno()).st_size
        self._bar = progress_bar("B", total, start.offset)

    def acknowledged(self, batch: Batch) -> None:
        """The engine has what the file holds up to the end of this batch."""
        if batch.progress is None:
            return
        self._bar.update(batch.progress.offset - self.progress.offset)
        self.progress = batch.progress
        if time.monotonic() - self._saved_at >= CHECKPOINT_S:
            self._save()
            self._saved_at = time.monotonic()

    def finish(self) -> None:
        """Everything is imported."""
        self._close()
        if self._resumable is not None:
            saved_progress.remove(self._resumable)

    def interrupted(self) -> None:
        """Saves what can be gone on from, and tells how."""
        self._close()
        self._save()
        text = f"not complete: {self.progress.records} entries are imported"
        if self._resumable is not None:
            text += f" from {self._path}; go on with --resume"
        print(text, file=sys.stderr)

    def _save(self) -> None:
        """Saves the progress, where that is possible: FILE may be where nothing can be written."""
        if self._resumable is None:
            return
        try:
            saved_progress.save(self._resumable, self.progress)
        except OSError as error:
            place = saved_progress.path_of(self._resumable)
            print(f"{place} cannot be written ({error.strerror}): no --resume after an interruption", file=sys.stderr)
            self._resumable = None

    def _close(self) -> None:
        self._bar.close()
        if self._path is not None:
            self._file.close()


class _OriginalSource:
    """The original engine's directory. ``damaged`` counts the files that could not be read, so far."""

    def __init__(self, directory: Path) -> None:
        self.damaged = 0
        self.files = original_files.files_of(directory)
        if not self.files:
            raise CommandError(f"{directory} has no files *.bin: name the file_path of the original engine's state")

    def batches(self) -> Iterator[Batch]:
        """All entries of all files that can be read; what cannot is told on stderr. Blocks."""
        for path in self.files:
            try:
                records = original_files.records_of(path)
            except original_files.DamagedFileError as error:
                self.damaged += 1
                print(error, file=sys.stderr)
                continue
            first = 1
            for group in groups(records):
                last = first + len(group) - 1
                alone = len(group) == 1 and is_alone(group[0].value)
                yield Batch(group, f"{path} entries {first} to {last}", alone=alone)
                first = last + 1


def _open(request: Request) -> _FileSource:
    start = ImportProgress(request.format)
    if request.path is None:
        return _FileSource(sys.stdin.buffer, None, start)
    saved = saved_progress.load(request.path, ImportProgress) if request.resume else None
    if saved is None and request.resume:
        print(f"nothing to go on with ({saved_progress.path_of(request.path)}): from the start", file=sys.stderr)
    if saved is not None and saved.format != request.format:
        raise CommandError(f"{request.path} was begun with --format {saved.format}: give the same to go on")
    if saved_progress.is_of(request.path, ExportProgress):
        go_on = f"`iii-fast export {request.path} --resume`"
        raise CommandError(f"{request.path} is not complete: its export was interrupted; go on with {go_on} first")
    file = request.path.open("rb")
    saved_progress.hold(file, request.path)
    try:
        source = _FileSource(file, request.path, saved or start)
        source.records.skip_what_is_done()
    except CommandError:
        file.close()
        raise
    return source
