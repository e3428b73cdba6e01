"""Settings from flags and environment variables, which stand above the file: flag > environment > file > default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from iii_fast.config.loader import BACKENDS, LOOPS_MAX
from iii_fast.config.section import one_of
from iii_fast.config.settings import BackendName, Settings
from iii_fast.config.workers import PORT_MAX
from iii_fast.contracts import Storage, TlsFiles
from iii_fast.errors import ConfigError

VARIABLES: Final = {
    "host": "III_FAST_HOST",
    "port": "III_FAST_PORT",
    "http_port": "III_FAST_HTTP_PORT",
    "loops": "III_FAST_LOOPS",
    "backend": "III_FAST_BACKEND",
    "data_dir": "III_FAST_DATA_DIR",
    "in_memory": "III_FAST_IN_MEMORY",
    "tls_cert": "III_FAST_TLS_CERT",
    "tls_key": "III_FAST_TLS_KEY",
    "http_tls_cert": "III_FAST_HTTP_TLS_CERT",
    "http_tls_key": "III_FAST_HTTP_TLS_KEY",
}
"""Fields of ``Overrides`` and their variables; ``salvage`` has none, it is decided once and not for every start."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What flags or the environment say; ``None`` where they say nothing. ``host`` binds every listener.

    ``data_dir`` and ``in_memory`` are two answers to one question, where state is kept: at most one is set.
    ``tls_cert`` and ``tls_key`` go together, and so do those of http.
    """

    host: str | None = None
    port: int | None = None
    http_port: int | None = None
    loops: int | None = None
    backend: BackendName | None = None
    data_dir: Path | None = None
    in_memory: bool | None = None
    salvage: bool | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    http_tls_cert: Path | None = None
    http_tls_key: Path | None = None

    @classmethod
    def from_texts(cls, given: Mapping[str, tuple[str, str]]) -> Overrides:
        """Reads ``{field: (name in messages, text)}``. Raises ``ConfigError`` naming what was given and expected."""
        host, backend, data_dir = given.get("host"), given.get("backend"), given.get("data_dir")
        if host is not None and not host[1]:
            raise ConfigError(f"{host[0]} is empty, expected a host name or an address")
        if data_dir is not None and not data_dir[1]:
            raise ConfigError(f"{data_dir[0]} is empty, expected a directory")
        in_memory = _boolean(given.get("in_memory"))
        if data_dir is not None and in_memory:
            raise ConfigError(f"{data_dir[0]} and {given['in_memory'][0]} contradict each other: give one of them")
        return cls(
            host=host[1] if host else None,
            port=_integer(given.get("port"), 0, PORT_MAX),
            http_port=_integer(given.get("http_port"), 0, PORT_MAX),
            loops=_integer(given.get("loops"), 1, LOOPS_MAX),
            backend=_backend(*backend) if backend else None,
            data_dir=Path(data_dir[1]) if data_dir else None,
            in_memory=in_memory,
            salvage=_boolean(given.get("salvage")),
            tls_cert=_file(given.get("tls_cert")),
            tls_key=_file(given.get("tls_key")),
            http_tls_cert=_file(given.get("http_tls_cert")),
            http_tls_key=_file(given.get("http_tls_key")),
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Overrides:
        """Reads the ``III_FAST_...`` variables. Raises ``ConfigError``."""
        return cls.from_texts({key: (name, environ[name]) for key, name in VARIABLES.items() if name in environ})

    def over(self, lower: Overrides) -> Overrides:
        """These overrides, with gaps filled from ``lower``."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.data_dir or self.in_memory:
            lower = replace(lower, data_dir=None, in_memory=None)
        return replace(lower, **{name: value for name, value in given.items() if value is not None})

    def apply(self, settings: Settings) -> Settings:
        """``settings`` with these values in their places.

        Raises ``ConfigError``: ``salvage`` without a directory, a certificate without a key.
        """
        http = replace(
            settings.http,
            host=self.host or settings.http.host,
            port=settings.http.port if self.http_port is None else self.http_port,
            tls=_tls("--http-tls", self.http_tls_cert, self.http_tls_key, settings.http.tls),
        )
        return replace(
            settings,
            host=self.host or settings.host,
            port=settings.port if self.port is None else self.port,
            http=http,
            loops=settings.loops if self.loops is None else self.loops,
            backend=self.backend or settings.backend,
            storage=self._storage(settings.storage),
            tls=_tls("--tls", self.tls_cert, self.tls_key, settings.tls),
        )

    def _storage(self, storage: Storage) -> Storage:
        directory = None if self.in_memory else self.data_dir or storage.directory
        if self.salvage and directory is None:
            raise ConfigError("--salvage needs a directory, but state is kept in memory only: name it with --data-dir")
        redis = None if self.in_memory or self.data_dir else storage.redis
        return replace(storage, directory=directory, salvage=self.salvage or storage.salvage, redis=redis)


def _tls(flag: str, certificate: Path | None, key: Path | None, below: TlsFiles | None) -> TlsFiles | None:
    """What ``flag`` and its two endings say, over ``below``."""
    certificate = certificate or (below.certificate if below else None)
    key = key or (below.key if below else None)
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("cert", "key") if key is None else ("key", "cert")
        raise ConfigError(
            f"{flag}-{given} needs {flag}-{missing}: TLS takes a certificate and its private key, two PEM files"
        )
    return TlsFiles(certificate, key)


def _integer(given: tuple[str, str] | None, low: int, high: int) -> int | None:
    if given is None:
        return None
    name, text = given
    if text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high:
        return int(text)
    raise ConfigError(f'{name} is "{text}", expected an integer from {low} to {high}')


def _file(given: tuple[str, str] | None) -> Path | None:
    if given is None:
        return None
    if not given[1]:
        raise ConfigError(f"{given[0]} is empty, expected a PEM file")
    return Path(given[1])


def _boolean(given: tuple[str, str] | None) -> bool | None:
    """``True``, or ``None`` for "false", which says nothing against what stands below."""
    if given is None or given[1] == "false":
        return None
    if given[1] == "true":
        return True
    raise ConfigError(f'{given[0]} is "{given[1]}", expected true or false')


def _backend(name: str, text: str) -> BackendName:
    for one in BACKENDS:
        if one == text:
            return one
    raise ConfigError(f'{name} is "{text}", expected {one_of(BACKENDS)}')
