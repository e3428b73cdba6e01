"""The engine's log on stderr: one line per record, as text or JSON, written by a thread of its own.

The Trio loop never waits for stderr: records go through a bounded queue, and when a reader is too slow the number of
lines that were left out is logged.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]

LEVELS: Final = ("trace", "debug", "info", "warning", "error")
FORMATS: Final[tuple[LogFormat, ...]] = ("text", "json")
LINES_MAX: Final = 10_000
"""Lines that wait for stderr. About 2 MB at 200 bytes a line."""

DRAIN_S: Final = 2.0
"""How long leaving waits for lines to be written when nobody reads stderr."""

TRACE: Final = 5
"""Workers log below ``debug`` too; the standard library has no name for it."""
logging.addLevelName(TRACE, "TRACE")

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO  iii_fast.engine: text key=value``; extra fields follow as JSON values."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or more when there is a traceback."""
        fields = "".join(f" {key}={_json(value)}" for key, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``time``, ``level``, ``logger``, ``message``, extra fields, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        body: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return _json(body)


class _Writer(logging.Handler):
    """Formats where the record was made, writes in its own thread, never blocks the one who logs."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_MAX)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1
        except Exception:
            self.handleError(record)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            left_out, self._left_out = self._left_out, 0
            if left_out:
                line += f"\n({left_out} lines were left out: stderr is read too slowly)"
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # stderr is gone; there is nobody left to tell

    def drain(self, timeout_s: float) -> None:
        """Waits until everything is written, or nobody reads any more."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)


@contextmanager
def logging_to(stream: TextIO | None, level: str, log_format: LogFormat) -> Iterator[None]:
    """Sends the log to ``stream`` (default: stderr) while the block runs, then writes out what is left."""
    writer = _Writer(stream or sys.stderr)
    writer.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(writer)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(writer)
        root.setLevel(before)
        writer.drain(DRAIN_S)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
