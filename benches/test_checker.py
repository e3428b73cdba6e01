"""The load generator notices every kind of wrong answer; otherwise its numbers would prove nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from benches import processes
from benches.http_app import body
from benches.processes import Cores, Server
from benches.workloads import FILL_MILLION, HTTP_GETS, RELAY_16X16, STATE_16X16, Workload
from tests.support.line_process import LineProcess

TINY: Final = ("--warmup-ms", "0")
IMPATIENT: Final = (*TINY, "--deadline-ms", "500")
"""Where an answer is missing on purpose. Elsewhere a busy machine may take its time."""


@contextmanager
def lying_engine(lie: str) -> Iterator[Server]:
    """An engine that lies in one way."""
    with LineProcess([sys.executable, "-m", "benches.lying_engine", lie]) as process:
        line = process.wait_for(lambda line: line.startswith("listening "), processes.START_S)
        yield Server(lie, line.split("worker=")[1], process)


def load(lie: str, workload: Workload, options: tuple[str, ...] = TINY) -> dict[str, Any]:
    with lying_engine(lie) as server:
        return processes.run_load(server, replace(workload.tiny(), ops=300), "bench", Cores(), options, timeout_s=30)


WORKLOADS: Final = pytest.mark.parametrize("workload", [STATE_16X16, RELAY_16X16], ids=["state", "relay"])


@WORKLOADS
@pytest.mark.parametrize("layout", ["honest", "spacious"])
def test_right_answers_count_in_any_layout(workload: Workload, layout: str) -> None:
    report = load(layout, workload)
    assert report["ops"] == 300
    assert (report["errors"], report["unanswered"], report["late"]) == (0, 0, 0), report
    assert report["ops_per_second"] > 0
    assert report["p99_us"] >= report["p50_us"] > 0


@WORKLOADS
@pytest.mark.parametrize("lie", ["stale", "flipped", "failing", "twice"])
def test_wrong_answers_are_errors(workload: Workload, lie: str) -> None:
    report = load(lie, workload)
    assert report["errors"] >= 5, report
    assert report["error_samples"][0]
    assert report["unanswered"] == 0


@WORKLOADS
def test_an_answer_under_another_id_is_an_error_and_leaves_a_call_unanswered(workload: Workload) -> None:
    report = load("renamed", workload, IMPATIENT)
    assert report["errors"] >= 1, report
    assert report["unanswered"] >= 1


@WORKLOADS
def test_missing_answers_are_counted_and_named(workload: Workload) -> None:
    report = load("silent", workload, IMPATIENT)
    assert report["errors"] == 0, report
    assert report["unanswered"] >= 5
    assert len(report["unanswered_ids"][0]) == 36


@WORKLOADS
def test_late_answers_are_not_taken_for_timely_ones(workload: Workload) -> None:
    with lying_engine("late") as server:
        few = ["--warmup-ms", "0", "--deadline-ms", "300", "--seconds", "3"]
        report = processes.run_load(server, replace(workload.tiny(), ops=None), "bench", Cores(), few, timeout_s=30)
    assert report["unanswered"] >= 5, report
    assert report["late"] >= 1


def test_a_check_finds_what_a_fill_stored_and_misses_what_it_did_not() -> None:
    fill = FILL_MILLION.tiny()
    check = replace(fill, command="check")
    with lying_engine("honest") as server:
        filled = processes.run_load(server, fill, "bench", Cores())
        found = processes.run_load(server, check, "bench", Cores())
        beyond = processes.run_load(server, replace(check, first_key=400), "bench", Cores())
        rewritten = processes.run_load(server, replace(fill, first_key=450), "bench", Cores())
    assert [report["ops"] for report in (filled, found, beyond)] == [500] * 3
    assert [report["errors"] for report in (filled, found, beyond, rewritten)] == [0, 0, 400, 50]


def test_phases_end_with_lines_of_input() -> None:
    workload, reports = STATE_16X16.tiny(), []
    with processes.echo(Cores()) as server, processes.phased_load(server, workload, "bench", Cores()) as load:
        while len([report for report in reports if report["ops"]]) < 2:
            reports.append(load.end_phase())
    assert all(report["errors"] == 0 and (report["p99_us"] > 0) == (report["ops"] > 0) for report in reports)


def test_the_echo_is_checked_too() -> None:
    with processes.echo(Cores()) as server:
        workload = replace(STATE_16X16.tiny(), ops=300)
        honest = processes.run_load(server, workload, "bench", Cores(), TINY)
        as_engine = Server("engine", server.url, server.process)
        wrong = processes.run_load(as_engine, workload, "bench", Cores(), TINY)
    assert (honest["ops"], honest["errors"]) == (300, 0), honest
    assert wrong["errors"] > 0


class _Answers(BaseHTTPRequestHandler):
    """The right body to some requests, that of another number to the others."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        content = body(self.path if self.count % 10 else "/0000000000000000").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_wrong_http_responses_are_errors() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        server = Server("answers", "", None, http=f"127.0.0.1:{listener.server_port}")
        one = replace(HTTP_GETS[0], ops=200)
        report = processes.run_load(server, one, "bench", Cores(), TINY, timeout_s=30)
        listener.shutdown()
    assert report["ops"] == 200
    assert report["errors"] == 20, report
    assert '"n":"0000000000000000"' in report["error_samples"][0]
