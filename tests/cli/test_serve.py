"""``iii-fast serve`` as a process: configuration, flags and variables reach the engine, and failures are told."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.deadlines import START_S
from tests.support.engine_process import BACKENDS, LISTENING
from tests.support.line_process import LineProcess

FREE_PORTS = ("--port", "0", "--http-port", "0")


def serve(*arguments: str, env: Mapping[str, str] | None = None) -> LineProcess:
    """An engine that keeps state in memory, unless ``env`` says otherwise."""
    return LineProcess([sys.executable, "-m", "iii_fast", *arguments], {"III_FAST_IN_MEMORY": "true", **(env or {})})


def until_listening(process: LineProcess) -> str:
    return process.wait_for(lambda line: LISTENING.search(line) is not None, START_S)


def fails(*arguments: str, env: Mapping[str, str] | None = None) -> list[str]:
    """The lines of a start that ends with status 1 by itself."""
    with serve(*arguments, env=env) as process:
        assert process.wait(START_S) == 1
        return process.lines


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("port: 1\nworkers:\n  - name: http\n    config: {prot: 1}\n  - name: state\n")
    return path


@pytest.mark.parametrize("words", [["serve", "-c"], ["--config"], ["-c"]])
def test_a_file_starts_what_it_lists(config: Path, words: list[str]) -> None:
    before = config.read_bytes()
    with serve(*words, str(config), *FREE_PORTS) as process:
        until_listening(process)
        process.signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
    told = "\n".join(process.lines)
    assert f"Configuration from {config}; not listed, so off: cron, queue" in told
    assert f"{config}:4: unknown key `prot` in http is ignored (did you mean `port`?)" in told
    assert config.read_bytes() == before
    assert list(config.parent.iterdir()) == [config]


def test_the_file_may_come_from_the_environment(config: Path) -> None:
    env = {"III_CONFIG_PATH": str(config), "III_FAST_PORT": "0", "III_FAST_HTTP_PORT": "0"}
    env |= {"III_FAST_LOG_FORMAT": "json", "III_FAST_BACKEND": "reference"}
    with serve("serve", env=env) as process:
        line = json.loads(until_listening(process))
        process.signal(signal.SIGINT)
        assert process.wait(START_S) == 0
    assert (line["level"], line["backend"]) == ("info", "reference")


def test_a_list_without_state_keeps_its_functions(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("workers: []")
    with serve("-c", str(path), *FREE_PORTS) as process:
        found = LISTENING.search(until_listening(process))
        assert found is not None
        assert any("so off: state triggers, http, cron, queue" in line for line in process.lines)
        call = ["trigger", "state::list_groups", "--address", found[1], "--port", found[2]]
        done = subprocess.run([sys.executable, "-m", "iii_fast", *call], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout) == {"groups": []}, done.stderr


def test_strict_refuses_what_it_would_warn_about(config: Path) -> None:
    lines = fails("serve", "-c", str(config), "--strict", *FREE_PORTS)
    assert lines == [f"iii-fast: {config}:4: unknown key `prot` in http is ignored (did you mean `port`?)"]


def test_a_public_address_is_warned_about(tmp_path: Path) -> None:
    with serve("serve", "--host", "0.0.0.0", *FREE_PORTS) as process:
        process.wait_for(lambda line: "WITHOUT AUTHENTICATION" in line, START_S)


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        lines = fails("serve", "--port", str(port), "--http-port", "0")
    assert lines[-1].startswith(f"iii-fast: cannot listen on 127.0.0.1:{port}: ")


def test_state_in_memory_is_warned_about() -> None:
    env = {"III_FAST_IN_MEMORY": "false", "III_FAST_DATA_DIR": "unused"}
    with serve("serve", "--in-memory", "--log-format", "json", *FREE_PORTS, env=env) as process:
        line = json.loads(process.wait_for(lambda line: "State is kept" in line, START_S))
    assert (line["level"], line["message"]) == ("warning", "State is kept IN MEMORY ONLY: it ends with the engine")


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_of_the_original_engine_is_left_alone(tmp_path: Path, backend: str) -> None:
    for name in ("users.bin", "orders.bin"):
        (tmp_path / name).write_bytes(b"old")
    lines = fails("serve", "--backend", backend, "--data-dir", str(tmp_path), *FREE_PORTS)
    assert lines[-1] == (
        f"iii-fast: {tmp_path} holds data of the original iii engine (orders.bin and 1 more), which stays as it is: "
        "choose another directory (--data-dir DIR, or file_path in the configuration), and bring the data into it with "
        f"`iii-fast import --from-iii {tmp_path}`"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders.bin", "users.bin"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_data_directory_that_is_a_file_is_told(tmp_path: Path, backend: str) -> None:
    (tmp_path / "file").touch()
    lines = fails("serve", "--backend", backend, "--data-dir", str(tmp_path / "file"), *FREE_PORTS)
    assert lines[-1] == f"iii-fast: cannot read the data directory {tmp_path / 'file'}: Not a directory"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "x"], 'iii-fast: --port is "x", expected an integer from 0 to 65535'),
        (["--loops", "0"], 'iii-fast: --loops is "0", expected an integer from 1 to 64'),
        (["--backend", "rust"], 'iii-fast: --backend is "rust", expected native or reference'),
        (
            ["--log-level", "hi"],
            'iii-fast: --log-level is "hi", expected one of trace, debug, info, warning, error',
        ),
        (["--data-dir", ""], "iii-fast: --data-dir is empty, expected a directory"),
        (
            ["--data-dir", "x", "--in-memory"],
            "iii-fast: --data-dir and --in-memory contradict each other: give one of them",
        ),
        (["--log-format", "xml"], 'iii-fast: --log-format is "xml", expected text or json'),
        (["-c", "nope.yaml"], "iii-fast: cannot read the configuration file nope.yaml: No such file or directory"),
    ],
)
def test_a_bad_option_is_told(arguments: list[str], message: str) -> None:
    assert fails("serve", *arguments) == [message]


def test_an_unknown_option_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iii_fast", "serve", "--prot", "1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "unrecognized arguments: --prot 1" in done.stderr
