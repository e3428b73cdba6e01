"""What is installed: one typed package, an extension that fits its stub and every CPython from 3.11 on, one command."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest

import iii_fast
from iii_fast import _core
from iii_fast._backend import EXTENSION, create_backend
from iii_fast.contracts import Limits
from iii_fast.errors import BackendMissingError

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = Path(iii_fast.__file__).parent
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300, cwd=ROOT)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_core.pyi").is_file()


def test_the_extension_is_built_for_the_stable_abi() -> None:
    assert _core.__file__ is not None
    assert Path(_core.__file__).name == "_core.abi3.so"
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))
    assert "abi3-py311" in manifest["workspace"]["dependencies"]["pyo3"]["features"]
    assert PROJECT["requires-python"] == ">=3.11"


@pytest.mark.deadline(240)
def test_the_stub_fits_the_extension() -> None:
    done = python("-m", "mypy.stubtest", "iii_fast._core", "--concise")
    assert done.returncode == 0, done.stdout + done.stderr


def test_versions_agree() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]
    assert metadata.version("iii-fast") == iii_fast.__version__ == PROJECT["version"] == workspace["package"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] in ("Unreleased", PROJECT["version"])


def test_the_command_is_installed() -> None:
    (entry,) = metadata.distribution("iii-fast").entry_points.select(group="console_scripts")
    assert entry.name == "iii-fast"
    done = subprocess.run(
        [Path(sys.executable).with_name("iii-fast"), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(f"iii-fast {iii_fast.__version__}\n")


def test_everything_public_is_there() -> None:
    for name in iii_fast.__all__:
        assert getattr(iii_fast, name) is not None
    with pytest.raises(AttributeError, match="module 'iii_fast' has no attribute 'Engin'"):
        _ = iii_fast.Engin


def test_what_is_needed_at_run_time_is_declared() -> None:
    """A fresh interpreter imports the engine with nothing but declared dependencies (and theirs)."""
    program = "import sys, iii_fast.engine, iii_fast.cli.serve, iii_fast.cli.trigger; print(*sorted(sys.modules))"
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    assert not {"pytest", "hypothesis", "mypy", "numpy"} & set(done.stdout.split())


def test_a_missing_extension_is_told_and_not_worked_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendMissingError) as caught:
        create_backend("native", Limits())
    assert "pip install ." in str(caught.value)
    assert "--backend reference" in str(caught.value)


def test_serving_without_the_extension_fails_with_the_next_step() -> None:
    hide = (
        "import importlib.util as u, sys; find = u.find_spec; "
        f"u.find_spec = lambda name, package=None: None if name == {EXTENSION!r} else find(name, package); "
        "from iii_fast.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = python("-c", hide, "serve", "--port", "0", "--http-port", "0")
    assert done.returncode == 1
    assert "iii-fast: The native backend needs the extension iii_fast._core, which is not built." in done.stderr
    assert "Serving worker=" not in done.stderr
    version = python("-c", hide, "--version")
    assert "backend native: not built (iii_fast._core is missing)" in version.stdout
