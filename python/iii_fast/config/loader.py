"""Finds a configuration file, reads it into ``Settings``, and never writes it.

Without a file the default starts: state, http, cron, queue. A file with a list (``workers:`` or ``modules:``) starts
what it lists, plus what is always there: the worker port and the functions ``state::*``. A file without a list changes
settings of the default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

from iii_fast.config import catalogue
from iii_fast.config.report import Place, Report, fail, suggestion
from iii_fast.config.section import Section, is_null
from iii_fast.config.settings import BackendName, Settings
from iii_fast.config.tree import Table, parse
from iii_fast.config.workers import (
    BUSY_POLL_US_MAX,
    BYTES_MAX,
    COUNT_MAX,
    DURATION_MS_MAX,
    PORT_MAX,
    Listener,
    read_cron,
    read_http,
    read_listener,
    read_queue,
    read_state,
)
from iii_fast.contracts import HttpLimits, Limits
from iii_fast.errors import ConfigError

PATH_VARIABLE: Final = "III_CONFIG_PATH"
FILE_NAMES: Final = ("config.yaml", "iii-config.yaml")
LOOPS_MAX: Final = 64
_LIMIT_UNITS: Final = {"bytes": BYTES_MAX, "_ms": DURATION_MS_MAX, "_us": BUSY_POLL_US_MAX}
_MAY_BE_NOTHING: Final = {"busy_poll_us"}
BACKENDS: Final[tuple[BackendName, ...]] = ("native", "reference")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was read: ``path`` is ``None`` for the default. ``not_started`` names what the file's list leaves out."""

    settings: Settings
    path: Path | None = None
    warnings: tuple[str, ...] = ()
    not_started: tuple[str, ...] = ()


def find_config(path: str | os.PathLike[str] | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    """The file to read: ``path``, else ``III_CONFIG_PATH``, else ``config.yaml``, else ``iii-config.yaml``.

    The last two are looked for in ``directory``. ``None`` when there is none of the four. A file that was named need
    not exist here; reading it says so.
    """
    named = path or environ.get(PATH_VARIABLE)
    if named:
        return Path(named)
    return next((directory / name for name in FILE_NAMES if (directory / name).is_file()), None)


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    strict: bool = False,
) -> Configuration:
    """Finds and reads the configuration; see ``find_config`` for where.

    ``environ`` is what ``${VAR}`` expands from (default: the process environment), ``directory`` where to look
    (default: the current one). ``strict`` turns warnings into errors. Raises ``ConfigError`` with file and line for
    whatever cannot be used.
    """
    environ = os.environ if environ is None else environ
    found = find_config(path, environ, directory or Path())
    if found is None:
        return Configuration(Settings())
    try:
        text = found.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {found}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read the configuration file {found}: it is not UTF-8 text") from error
    configuration = replace(read_config(text, str(found), environ), path=found)
    if strict and configuration.warnings:
        raise ConfigError("\n".join(configuration.warnings))
    return configuration


def read_config(text: str, file: str, environ: Mapping[str, str]) -> Configuration:
    """Reads the text of a configuration file; ``file`` is its name in messages. Raises ``ConfigError``."""
    root = parse(text, file, environ)
    if root is None or is_null(root):
        root = Table(Place(file, 1), {})
    if not isinstance(root, Table):
        fail(root.place, f"the file holds {root}, expected a mapping with `workers:` or `modules:`")
    report = Report()
    with Section.of("", root, report) as top:
        listed = _Listed.read(top, report)
        settings = _read_top(top, listed)
    return Configuration(settings, None, report.warnings, listed.not_started)


@dataclass(slots=True)
class _Listed:
    """The blocks of the workers that a file lists, by kind; ``exact`` when it has a list at all."""

    exact: bool = False
    sections: dict[str, Section] = field(default_factory=dict)

    @property
    def not_started(self) -> tuple[str, ...]:
        return tuple(key for key in catalogue.STARTED if self.exact and key not in self.sections)

    def starts(self, key: str) -> bool:
        return key not in self.not_started

    @classmethod
    def read(cls, top: Section, report: Report) -> _Listed:
        listed = cls()
        names: dict[str, tuple[str, Place]] = {}
        for key in ("workers", "modules"):
            for entry in _entries(top, key):
                listed._add(entry, names, report)
            listed.exact = listed.exact or top.given(key)
        return listed

    def _add(self, entry: Table, names: dict[str, tuple[str, Place]], report: Report) -> None:
        with Section.of("worker", entry, report) as section:
            name, place = _name_of(section)
            config = section.table("config") or Table(place, {})
            image = section.optional_string("image")
        kind = catalogue.BY_NAME.get(name)
        if image is not None or kind is None:
            _report_unknown(report, place, name, image)
            return
        if kind.key in names:
            first, where = names[kind.key]
            fail(place, f"`{name}` configures the same thing as `{first}` on line {where.line}; keep one of them")
        names[kind.key] = (name, place)
        self.sections[kind.key] = Section(name, config, report)
        if kind.missing is not None:
            report.warn(place, f"`{name}` is not supported yet: {kind.missing}")


def _entries(top: Section, key: str) -> Iterator[Table]:
    for entry in top.listing(key):
        if not isinstance(entry, Table):
            fail(entry.place, f"an entry of {key} is {entry}, expected a mapping with `name:`")
        yield entry


def _name_of(section: Section) -> tuple[str, Place]:
    name, class_name = section.optional_string("name"), section.optional_string("class")
    if name and class_name:
        fail(section.place_of("class"), f"a worker has both name `{name}` and class `{class_name}`; keep one of them")
    if not (name or class_name):
        fail(section.place, "a worker has no `name:` (or `class:`)")
    return name or class_name or "", section.place_of("name" if name else "class")


def _report_unknown(report: Report, place: Place, name: str, image: str | None) -> None:
    hint = suggestion(name, catalogue.BY_NAME) if image is None else None
    what = f"unknown worker `{name}`" if image is None else f"worker `{name}`, a container image,"
    report.warn(
        place,
        f"{what} is ignored ({hint})"
        if hint
        else f"{what} is ignored: this engine starts no programs; start it yourself and it connects to the worker port",
    )


def _read_top(top: Section, listed: _Listed) -> Settings:
    default = Settings()
    listener = _read_listener(top, listed)
    limits = _read_limits(top, listener)
    settings = Settings(
        host=listener.host or default.host,
        port=default.port if listener.port is None else listener.port,
        loops=top.integer("loops", default.loops, 1, LOOPS_MAX),
        backend=top.choice("backend", default.backend, BACKENDS),
        shutdown_ms=top.integer("shutdown_ms", default.shutdown_ms, 0, DURATION_MS_MAX),
        limits=limits,
        tls=listener.tls,
    )
    top.unsupported("registration_namespace_grace_ms", "registrations are never held back")
    return _with_workers(settings, listed)


def _with_workers(settings: Settings, listed: _Listed) -> Settings:
    """Adds each worker's own block, and turns off what the file's list leaves out."""
    http, cron, queue, state = settings.http, settings.cron, settings.queue, settings.state
    storage = settings.storage
    for key, section in listed.sections.items():
        if key == catalogue.HTTP:
            http = read_http(section)
        elif key == catalogue.CRON:
            cron = read_cron(section)
        elif key == catalogue.QUEUE:
            queue = read_queue(section)
        elif key == catalogue.STATE:
            state, storage = read_state(section)
        else:
            continue
        section.finish()
    return replace(
        settings,
        http=replace(http, enabled=listed.starts(catalogue.HTTP)),
        cron=replace(cron, enabled=listed.starts(catalogue.CRON)),
        queue=replace(queue, enabled=listed.starts(catalogue.QUEUE)),
        state=replace(state, enabled=listed.starts(catalogue.STATE)),
        storage=storage,
    )


def _read_listener(top: Section, listed: _Listed) -> Listener:
    """The worker port, from the top level (0.10) or ``iii-worker-manager``; both may say it, when they agree."""
    above = Listener(top.optional_string("host"), top.optional_integer("port", 0, PORT_MAX), None)
    section = listed.sections.get(catalogue.WORKER_MANAGER)
    if section is None:
        return above
    below = read_listener(section)
    section.finish()
    for key, one, other in (("host", above.host, below.host), ("port", above.port, below.port)):
        if one is not None and other is not None and one != other:
            line = top.place_of(key).line
            fail(
                section.place_of(key), f"{section.name}.{key} is {other}, but `{key}` on line {line} is {one}; keep one"
            )
    return Listener(
        above.host if below.host is None else below.host,
        above.port if below.port is None else below.port,
        below.handshake_ms,
        below.tls,
    )


def _read_limits(top: Section, listener: Listener) -> Limits:
    """``limits:``, whose keys are the fields of ``contracts.Limits``."""
    given: dict[str, int] = {}
    http = HttpLimits()
    table = top.table("limits")
    if table is not None:
        with Section.of("limits", table, top.report) as section:
            given = _read_fields(section, Limits)
            http_table = section.table("http")
            if http_table is not None:
                with Section.of("limits.http", http_table, top.report) as http_section:
                    http = HttpLimits(**_read_fields(http_section, HttpLimits))
            if given.get("stripes", 1).bit_count() != 1:
                section.bad("stripes", "a power of two")
    if listener.handshake_ms is not None:
        given.setdefault("handshake_ms", listener.handshake_ms)
    return Limits(http=http, **given)


def _read_fields(section: Section, kind: type[Limits | HttpLimits]) -> dict[str, int]:
    """What a table says of the fields of ``kind`` that are numbers."""
    given: dict[str, int] = {}
    for one in fields(kind):
        if one.name == "http":
            continue
        high = next((most for unit, most in _LIMIT_UNITS.items() if unit in one.name), COUNT_MAX)
        value = section.optional_integer(one.name, 0 if one.name in _MAY_BE_NOTHING else 1, high)
        if value is not None:
            given[one.name] = value
    return given
