"""Settings from flags and environment variables, which stand above the file: flag > environment > file > default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from iii_fast.config.loader import BACKENDS, LOOPS_MAX
from iii_fast.config.section import one_of
from iii_fast.config.settings import BackendName, Settings
from iii_fast.config.workers import PORT_MAX
from iii_fast.errors import ConfigError

VARIABLES: Final = {
    "host": "III_FAST_HOST",
    "port": "III_FAST_PORT",
    "http_port": "III_FAST_HTTP_PORT",
    "loops": "III_FAST_LOOPS",
    "backend": "III_FAST_BACKEND",
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What flags or the environment say; ``None`` where they say nothing. ``host`` binds every listener."""

    host: str | None = None
    port: int | None = None
    http_port: int | None = None
    loops: int | None = None
    backend: BackendName | None = None

    @classmethod
    def from_texts(cls, given: Mapping[str, tuple[str, str]]) -> Overrides:
        """Reads ``{field: (name in messages, text)}``. Raises ``ConfigError`` naming what was given and expected."""
        host, backend = given.get("host"), given.get("backend")
        if host is not None and not host[1]:
            raise ConfigError(f"{host[0]} is empty, expected a host name or an address")
        return cls(
            host=host[1] if host else None,
            port=_integer(given.get("port"), 0, PORT_MAX),
            http_port=_integer(given.get("http_port"), 0, PORT_MAX),
            loops=_integer(given.get("loops"), 1, LOOPS_MAX),
            backend=_backend(*backend) if backend else None,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Overrides:
        """Reads the ``III_FAST_...`` variables. Raises ``ConfigError``."""
        return cls.from_texts({key: (name, environ[name]) for key, name in VARIABLES.items() if name in environ})

    def over(self, lower: Overrides) -> Overrides:
        """These overrides, with gaps filled from ``lower``."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(lower, **{name: value for name, value in given.items() if value is not None})

    def apply(self, settings: Settings) -> Settings:
        """``settings`` with these values in their places."""
        http = replace(
            settings.http,
            host=self.host or settings.http.host,
            port=settings.http.port if self.http_port is None else self.http_port,
        )
        return replace(
            settings,
            host=self.host or settings.host,
            port=settings.port if self.port is None else self.port,
            http=http,
            loops=settings.loops if self.loops is None else self.loops,
            backend=self.backend or settings.backend,
        )


def _integer(given: tuple[str, str] | None, low: int, high: int) -> int | None:
    if given is None:
        return None
    name, text = given
    if text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high:
        return int(text)
    raise ConfigError(f'{name} is "{text}", expected an integer from {low} to {high}')


def _backend(name: str, text: str) -> BackendName:
    for one in BACKENDS:
        if one == text:
            return one
    raise ConfigError(f'{name} is "{text}", expected {one_of(BACKENDS)}')
