"""Where the configuration comes from: which file, and flags and variables above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from iii_fast.config import HttpSettings, Overrides, Settings, load_config
from iii_fast.contracts import Storage
from iii_fast.errors import ConfigError


def port(directory: Path, path: Path | None = None, **environ: str) -> int:
    return load_config(path, environ=environ, directory=directory).settings.port


def test_the_first_of_flag_variable_and_the_two_names_is_read(tmp_path: Path) -> None:
    assert port(tmp_path) == 49134
    (tmp_path / "iii-config.yaml").write_text("port: 1")
    assert port(tmp_path) == 1
    (tmp_path / "config.yaml").write_text("port: 2")
    assert port(tmp_path) == 2
    (tmp_path / "three").write_text("port: 3")
    (tmp_path / "four").write_text("port: 4")
    variable = {"III_CONFIG_PATH": str(tmp_path / "three")}
    assert port(tmp_path, **variable) == 3
    assert port(tmp_path, tmp_path / "four", **variable) == 4


def test_the_file_that_was_read_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    text = "# mine\nworkers:\n- name: state\n  config: {max_value_bytes: 5}\n"
    file.write_text(text)
    assert load_config(environ={}, directory=tmp_path).path == file
    assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_no_file_is_created(tmp_path: Path) -> None:
    configuration = load_config(environ={}, directory=tmp_path)
    assert configuration.path is None
    assert configuration.settings == Settings()
    assert list(tmp_path.iterdir()) == []


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "nope.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(environ={"III_CONFIG_PATH": str(missing)})
    assert str(caught.value) == f"cannot read the configuration file {missing}: No such file or directory"


def test_a_file_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"port: \xff")
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        load_config(environ={}, directory=tmp_path)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbfport: 5")
    assert port(tmp_path) == 5


def test_flag_over_environment_over_file() -> None:
    file = Settings(host="10.0.0.1", port=1, http=HttpSettings(host="10.0.0.2", port=2), loops=3)
    environment = Overrides.from_environment({"III_FAST_PORT": "11", "III_FAST_HTTP_PORT": "12", "OTHER": "x"})
    flags = Overrides.from_texts({"port": ("--port", "0"), "backend": ("--backend", "reference")})
    settings = flags.over(environment).apply(file)
    assert settings == Settings(
        host="10.0.0.1", port=0, http=HttpSettings(host="10.0.0.2", port=12), loops=3, backend="reference"
    )


def test_host_binds_every_listener() -> None:
    settings = Overrides(host="127.0.0.1").apply(Settings(host="0.0.0.0", http=HttpSettings(host="0.0.0.0")))
    assert (settings.host, settings.http.host) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("III_FAST_PORT", "abc", 'III_FAST_PORT is "abc", expected an integer from 0 to 65535'),
        ("III_FAST_PORT", "", 'III_FAST_PORT is "", expected an integer from 0 to 65535'),
        ("III_FAST_HTTP_PORT", "-1", 'III_FAST_HTTP_PORT is "-1", expected an integer from 0 to 65535'),
        ("III_FAST_LOOPS", "0", 'III_FAST_LOOPS is "0", expected an integer from 1 to 64'),
        ("III_FAST_BACKEND", "rust", 'III_FAST_BACKEND is "rust", expected native or reference'),
        ("III_FAST_HOST", "", "III_FAST_HOST is empty, expected a host name or an address"),
        ("III_FAST_DATA_DIR", "", "III_FAST_DATA_DIR is empty, expected a directory"),
        ("III_FAST_IN_MEMORY", "1", 'III_FAST_IN_MEMORY is "1", expected true or false'),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Overrides.from_environment({variable: value})
    assert str(caught.value) == message


# Where state is kept

FLAGS = {"dir": {"data_dir": ("--data-dir", "flag")}, "memory": {"in_memory": ("--in-memory", "true")}, "none": {}}
VARIABLES = {
    "dir": {"III_FAST_DATA_DIR": "variable"},
    "memory": {"III_FAST_IN_MEMORY": "true"},
    "none": {"III_FAST_IN_MEMORY": "false"},
}
FILES = {"dir": Storage(Path("file"), "never"), "memory": Storage(None, "never")}


@pytest.mark.parametrize(
    ("flags", "variables", "file", "directory"),
    [
        ("dir", "memory", "memory", "flag"),
        ("dir", "dir", "dir", "flag"),
        ("memory", "dir", "dir", None),
        ("none", "dir", "memory", "variable"),
        ("none", "memory", "dir", None),
        ("none", "none", "dir", "file"),
        ("none", "none", "memory", None),
    ],
)
def test_the_place_of_state_is_one_choice(flags: str, variables: str, file: str, directory: str | None) -> None:
    overrides = Overrides.from_texts(FLAGS[flags]).over(Overrides.from_environment(VARIABLES[variables]))
    storage = overrides.apply(Settings(storage=FILES[file])).storage
    assert storage == Storage(None if directory is None else Path(directory), "never")


def test_two_places_at_once_are_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        Overrides.from_texts(FLAGS["dir"] | FLAGS["memory"])
    assert str(caught.value) == "--data-dir and --in-memory contradict each other: give one of them"
    with pytest.raises(ConfigError) as caught:
        Overrides.from_environment(VARIABLES["dir"] | VARIABLES["memory"])
    assert "III_FAST_DATA_DIR and III_FAST_IN_MEMORY contradict each other" in str(caught.value)


def test_salvage_needs_files() -> None:
    salvage = Overrides.from_texts({"salvage": ("--salvage", "true")})
    assert salvage.apply(Settings()).storage == Storage(Path("data"), salvage=True)
    with pytest.raises(ConfigError, match="--salvage needs a directory, but state is kept in memory only"):
        salvage.apply(Settings(storage=Storage()))
