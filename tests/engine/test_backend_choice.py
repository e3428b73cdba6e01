"""Choosing a backend: by name, never silently another one."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from iii_fast import _backend
from iii_fast._backend import EXTENSION, create_backend
from iii_fast.contracts import Limits, RedisPlace, Storage
from iii_fast.errors import BackendMissingError, ConfigError


def test_reference_is_made_by_name() -> None:
    assert create_backend("reference", Limits()).name == "reference"


def test_reference_has_one_loop() -> None:
    with pytest.raises(ConfigError, match="loops is 2"):
        create_backend("reference", Limits(), 2)


def test_reference_knows_no_redis() -> None:
    with pytest.raises(ConfigError, match="the state adapter `redis` needs the native backend"):
        create_backend("reference", Limits(), storage=Storage(redis=RedisPlace("localhost")))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'fast'.*'native' or 'reference'"):
        create_backend("fast", Limits())


def test_a_missing_extension_tells_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backend.importlib.util, "find_spec", lambda name: None if name == EXTENSION else object())
    with pytest.raises(BackendMissingError) as raised:
        create_backend("native", Limits())
    assert "pip install ." in str(raised.value)
    assert "--backend reference" in str(raised.value)


def test_an_error_inside_the_extension_is_not_its_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ImportError("undefined symbol: oops")

    monkeypatch.setitem(sys.modules, "iii_fast.native", Broken("iii_fast.native"))
    with pytest.raises(ImportError, match="undefined symbol"):
        create_backend("native", Limits())
