"""The engine's log: what a line looks like, and that nobody waits for a reader of stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
from typing import Any

import pytest

from iii_fast.cli import logs
from iii_fast.cli.logs import LogFormat, logging_to

logger = logging.getLogger("iii_fast.test")


def lines(log_format: LogFormat, level: str = "info", **extra: Any) -> list[str]:
    stream = io.StringIO()
    with logging_to(stream, level, log_format):
        logger.log(logs.TRACE, "trace")
        logger.debug("debug")
        logger.warning("%s is odd", "ä", extra=extra)
    return stream.getvalue().splitlines()


def test_a_line_of_text() -> None:
    (line,) = lines("text", count=3, who="ada", data={"a": [1]})
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf'{time} WARNING iii_fast\.test: ä is odd count=3 who="ada" data=\{{"a": \[1\]\}}', line)


def test_a_line_of_json() -> None:
    (line,) = lines("json", count=3, odd={1})
    body = json.loads(line)
    assert body.pop("time").endswith("Z")
    assert body == {"level": "warning", "logger": "iii_fast.test", "message": "ä is odd", "count": 3, "odd": "{1}"}


@pytest.mark.parametrize(("level", "count"), [("trace", 3), ("debug", 2), ("warning", 1), ("error", 0)])
def test_levels(level: str, count: int) -> None:
    assert len(lines("text", level)) == count


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_a_traceback_is_kept(log_format: LogFormat) -> None:
    stream = io.StringIO()
    with logging_to(stream, "info", log_format):
        try:
            raise ValueError("the cause")
        except ValueError:
            logger.exception("failed")
    assert "ValueError: the cause" in stream.getvalue()
    assert (len(stream.getvalue().splitlines()) == 1) == (log_format == "json")


def test_a_line_break_in_a_message_stays_one_json_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, "info", "json"):
        logger.info("two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "two\nlines"


def test_a_reader_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINES_MAX", 4)
    reading, writing = os.pipe()
    written: list[bytes] = []

    def read_all() -> None:
        with os.fdopen(reading, "rb") as pipe:
            written.extend(pipe.readlines())

    reader = threading.Thread(target=read_all)
    with os.fdopen(writing, "w") as stream, logging_to(stream, "info", "text"):
        for _ in range(200):
            logger.info("x" * 10_000)  # more than pipe and queue hold: a blocking log would stop here for ever
        reader.start()
    reader.join()
    told = re.findall(rb"\((\d+) lines were left out: stderr is read too slowly\)", b"".join(written))
    left_out = sum(int(number) for number in told)
    assert left_out > 0
    assert sum(b"xxx" in line for line in written) + left_out == 200


def test_stderr_may_go_away() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with logging_to(stream, "info", "text"):
        logger.info("to nobody")
    os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # what Python still holds for the pipe can be flushed
    stream.close()
