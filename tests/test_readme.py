"""The README's own snippets, run as they stand: its workers on the published SDKs, its configuration, its commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from iii_fast.config import read_config
from tests.support import sdks
from tests.support.engine_process import EngineProcess
from tests.support.line_process import LineProcess
from tests.support.polling import eventually

README: Final = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
DEFAULT_URL: Final = "ws://localhost:49134"


def snippet(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def worker(language: str, url: str, directory: Path) -> list[str]:
    """The command that runs a snippet, pointed at the engine of the test."""
    assert DEFAULT_URL in snippet(language)
    text = snippet(language).replace(DEFAULT_URL, url)
    if language == "python":
        program = directory / "worker.py"
        program.write_text(text)
        return [sdks.installed(sdks.CACHE / "python-sdk-0.25.0" / "bin" / "python"), str(program)]
    assert "'iii-sdk'" in text
    return ["node", sdks.node_program("readme.mjs", text.replace("'iii-sdk'", "'iii-sdk-0.22'"))]


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.loads(response.read())


@pytest.mark.parametrize("language", ["python", "ts"])
def test_the_first_worker_greets(language: str, tmp_path: Path) -> None:
    def greeted() -> None:
        try:
            assert get(engine.http_url("hello/ada")) == {"message": "Hello, ada!"}
        except OSError as error:
            raise AssertionError(str(error)) from error

    with EngineProcess("native") as engine, LineProcess(worker(language, engine.url, tmp_path)):
        eventually(greeted)
        command = "trigger state::get scope=greeted key=ada"
        assert f"iii-fast {command}" in README
        port = str(engine.worker[1])
        done = subprocess.run(
            [sys.executable, "-m", "iii_fast", *command.split(), "--address", "127.0.0.1", "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (0, "true\n"), done.stderr


def test_the_configuration_loads() -> None:
    configuration = read_config(snippet("yaml"), "config.yaml", {"HTTP_PORT": "8080"})
    assert configuration.warnings == ()
    assert configuration.settings.http.port == 8080
    assert configuration.settings.state.max_value_bytes == 1 << 20


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 4
    for link in links:
        assert (Path(__file__).resolve().parents[1] / link).exists(), link
