"""The configuration block of each worker that this engine offers, read into its settings.

What a block asks for and cannot get yet is said: queued work that is not kept is a loud warning; an option that
protects something, or says where state is kept, ends start-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from iii_fast.config import catalogue
from iii_fast.config.cors import read_cors
from iii_fast.config.redis_url import DEFAULT_URL, parse
from iii_fast.config.report import Place, fail, suggestion
from iii_fast.config.section import Section, one_of
from iii_fast.config.settings import (
    DEFAULT_STORAGE,
    CronSettings,
    HttpSettings,
    QueueConfig,
    QueueKind,
    QueueSettings,
    StateSettings,
)
from iii_fast.config.tree import Table
from iii_fast.contracts import RedisPlace, Storage, SyncLevel, TlsFiles

PORT_MAX: Final = 65_535
BUSY_POLL_US_MAX: Final = 1_000
"""Everybody else on the event loop waits so long."""
DURATION_MS_MAX: Final = 24 * 60 * 60 * 1000
COUNT_MAX: Final = 1_000_000
BYTES_MAX: Final = 1 << 40
SYNC_INTERVAL_MS: Final = (10, 3_600_000)
SEGMENT_BYTES: Final = (1 << 20, 4 << 30)
HISTORY_BYTES_MAX: Final = 1 << 30
SYNC_LEVELS: Final[tuple[SyncLevel, ...]] = ("always", "interval", "never")

_PHASE: Final = "preHandler"
_VOLATILE: Final = "queued work IS KEPT IN MEMORY ONLY AND IS LOST WHEN THE ENGINE STOPS"


@dataclass(frozen=True, slots=True)
class Listener:
    """What ``iii-worker-manager`` sets; ``None`` where the file says nothing."""

    host: str | None
    port: int | None
    handshake_ms: int | None
    tls: TlsFiles | None = None


def read_listener(section: Section) -> Listener:
    """``iii-worker-manager``: address of the worker port, and its certificate."""
    why = "without it the port would be open to everybody; remove it, and protect the port by other means"
    section.refused("rbac", why)
    section.refused("middleware_function_id", "calls would pass unchecked; remove it to start without")
    return Listener(
        host=section.optional_string("host"),
        port=section.optional_integer("port", 0, PORT_MAX),
        handshake_ms=section.optional_integer("handshake_timeout_ms", 1, DURATION_MS_MAX),
        tls=_read_tls(section),
    )


def _read_tls(section: Section) -> TlsFiles | None:
    table = section.table("tls")
    if table is None:
        return None
    with Section.of(f"{section.name}.tls", table, section.report) as tls:
        certificate, key = tls.optional_string("cert_file"), tls.optional_string("key_file")
        for name, value in (("cert_file", certificate), ("key_file", key)):
            if not value:
                fail(tls.place, f"{tls.name}.{name} is missing, expected the path of a PEM file")
    return TlsFiles(Path(certificate or ""), Path(key or ""))


def read_http(section: Section) -> HttpSettings:
    """``iii-http``: the HTTP listener. A limit of 0 concurrent requests counts as 1."""
    # Functions get the headers of proxies as they came, and nothing here depends on who the client is.
    section.accepted("trust_proxy")
    section.unsupported("request_id_header", "requests carry no id")
    section.unsupported("ignore_trailing_slash", "/a and /a/ are different routes")
    section.unsupported("not_found_function", "unknown routes get the standard 404 body")
    default = HttpSettings()
    return HttpSettings(
        host=section.string("host", default.host),
        port=section.integer("port", default.port, 0, PORT_MAX),
        default_timeout_ms=section.integer("default_timeout", default.default_timeout_ms, 1, DURATION_MS_MAX),
        body_limit_bytes=section.integer("body_limit", default.body_limit_bytes, 0, BYTES_MAX),
        concurrency_request_limit=max(
            1, section.integer("concurrency_request_limit", default.concurrency_request_limit, 0, COUNT_MAX)
        ),
        middleware=_read_middleware(section),
        cors=read_cors(section),
        tls=_read_tls(section),
    )


def _read_middleware(section: Section) -> tuple[str, ...]:
    """Functions that every request passes first, in the order of their priorities."""
    found: list[tuple[int, str]] = []
    for number, node in enumerate(section.listing("middleware")):
        name = f"{section.name}.middleware[{number}]"
        if not isinstance(node, Table):
            fail(section.place_of("middleware"), f"{name} is {node}, expected a mapping with `function_id`")
        with Section.of(name, node, section.report) as one:
            function_id, phase = one.optional_string("function_id"), one.string("phase", _PHASE)
            if not function_id:
                fail(section.place_of("middleware"), f"{name}.function_id is missing, expected the id of a function")
            if phase != _PHASE:
                why = "is not supported yet, and requests would pass unchecked"
                fail(one.place_of("phase"), f"{name}.phase `{phase}` {why}; use `{_PHASE}`, or remove the entry")
            found.append((one.integer("priority", 0, -COUNT_MAX, COUNT_MAX), function_id))
    return tuple(function_id for _, function_id in sorted(found, key=lambda one: one[0]))


def read_cron(section: Section) -> CronSettings:
    """``iii-cron``: only its adapter can be configured."""
    adapter = _Adapter.read(section, catalogue.CRON_ADAPTERS, "kv")
    adapter.accept("store_method", "file_path", "save_interval_ms", "lock_ttl_ms", "lock_index", "redis_url")
    adapter.finish()
    if adapter.name != "kv":
        section.report.warn(
            adapter.place,
            f"cron adapter `{adapter.name}` is not supported yet: locks are not shared, "
            "SEVERAL ENGINES WOULD EACH FIRE THE SAME TICK",
        )
    return CronSettings()


def read_state(section: Section) -> tuple[StateSettings, Storage]:
    """``iii-state``: switches, quotas, and where state is kept."""
    storage = _read_storage(section)
    section.accepted("save_interval_ms")
    if storage.redis is not None:
        for key in ("max_scope_bytes", "max_total_bytes"):
            if section.has(key):
                why = (
                    "cannot be held with state in Redis, where other engines write as well; bound it there (maxmemory)"
                )
                fail(section.place_of(key), f"{section.path(key)} {why}")
    settings = StateSettings(
        triggers_enabled=section.boolean("triggers_enabled", StateSettings().triggers_enabled),
        max_value_bytes=section.optional_integer("max_value_bytes", 1, BYTES_MAX),
        max_key_bytes=section.optional_integer("max_key_bytes", 1, BYTES_MAX),
        max_scope_bytes=section.optional_integer("max_scope_bytes", 1, BYTES_MAX),
        max_total_bytes=section.optional_integer("max_total_bytes", 1, BYTES_MAX),
    )
    return settings, storage


def _read_storage(section: Section) -> Storage:
    adapter = _Adapter.read(section, catalogue.STATE_ADAPTERS, "kv")
    if adapter.name == "redis":
        storage = Storage(redis=_read_redis(adapter.section))
    elif adapter.name == "kv":
        storage = _read_kv(adapter.section) if adapter.section else DEFAULT_STORAGE
    else:
        fail(
            adapter.place,
            f"{section.name} adapter `{adapter.name}` is not supported yet, and state would not be where you want it; "
            "use `kv`, which keeps it in files of this engine, `redis`, or remove `adapter`",
        )
    adapter.finish()
    return storage


def _read_redis(section: Section | None) -> RedisPlace:
    """The block of the adapter ``redis``."""
    url = section.string("redis_url", DEFAULT_URL) if section else DEFAULT_URL
    try:
        return parse(url)
    except ValueError as error:
        assert section is not None
        fail(section.place_of("redis_url"), f"{section.path('redis_url')} {error}")


def _read_kv(kv: Section) -> Storage:
    """The block of the adapter ``kv``. ``save_interval_ms``, the former name, yields to ``sync_interval_ms``."""
    default = DEFAULT_STORAGE
    method = kv.choice("store_method", "file_based", ("file_based", "in_memory"))
    path = kv.optional_string("file_path")
    sync = kv.choice("sync", default.sync, SYNC_LEVELS)
    if method == "in_memory" and kv.has("sync"):
        kv.report.warn(kv.place_of("sync"), f"{kv.path('sync')} has no effect: store_method is in_memory")
    interval_ms = kv.integer("sync_interval_ms", default.sync_interval_ms, *SYNC_INTERVAL_MS)
    if sync == "interval" and not kv.has("sync_interval_ms"):
        interval_ms = kv.integer("save_interval_ms", interval_ms, *SYNC_INTERVAL_MS)
    kv.accepted("save_interval_ms")
    storage = Storage(
        directory=default.directory if path is None else Path(path),
        sync=sync,
        sync_interval_ms=interval_ms,
        segment_bytes=kv.integer("segment_bytes", default.segment_bytes, *SEGMENT_BYTES),
        history_bytes_max=kv.integer("history_bytes_max", default.history_bytes_max, 0, HISTORY_BYTES_MAX),
    )
    return replace(storage, directory=None) if method == "in_memory" else storage


def read_queue(section: Section) -> QueueSettings:
    """``iii-queue``: named queues, and the defaults of topic queues from the adapter's block."""
    adapter = _Adapter.read(section, catalogue.QUEUE_ADAPTERS, "builtin")
    topic = _read_topic_defaults(adapter)
    _warn_about_durability(section, adapter)
    queues = section.table("queue_configs")
    configs: dict[str, QueueConfig] = {}
    for name, member in (queues.members if queues else {}).items():
        if not isinstance(member.value, Table):
            fail(member.place, f"{section.name}.queue_configs.{name} is {member.value}, expected a mapping")
        with Section.of(f"{section.name}.queue_configs.{name}", member.value, section.report) as one:
            configs[name] = _read_named_queue(one)
    return QueueSettings(queue_configs=configs, topic=topic)


def _read_named_queue(section: Section) -> QueueConfig:
    kinds: tuple[QueueKind, ...] = ("standard", "fifo")
    kind = section.choice("type", "standard", kinds)
    group = section.optional_string("message_group_field")
    if kind == "fifo" and group is None:
        fail(
            section.place_of("type"),
            f"{section.name}.message_group_field is missing, expected the payload member that orders a fifo queue",
        )
    section.accepted("poll_interval_ms")  # nothing polls here
    section.unsupported("max_priority", "jobs run in the order they arrive")
    section.unsupported("priority_field", "jobs run in the order they arrive")
    default = QueueConfig()
    return QueueConfig(
        kind=kind,
        max_retries=section.integer("max_retries", default.max_retries, 1, COUNT_MAX),
        concurrency=section.integer("concurrency", default.concurrency, 1, COUNT_MAX),
        backoff_ms=section.integer("backoff_ms", default.backoff_ms, 0, DURATION_MS_MAX),
        message_group_field=group,
    )


def _read_topic_defaults(adapter: _Adapter) -> QueueConfig:
    adapter.accept("poll_interval_ms", "redis_url", "amqp_url", "bridge_url", "prefetch_count", "queue_mode")
    adapter.accept("priority_field")
    default = QueueConfig()
    if adapter.section is None:
        return default
    mode = adapter.section.choice("mode", "concurrent", ("concurrent", "fifo"))
    return QueueConfig(
        kind="fifo" if mode == "fifo" else "standard",
        max_retries=adapter.section.integer("max_attempts", default.max_retries, 1, COUNT_MAX),
        concurrency=adapter.section.integer("concurrency", default.concurrency, 1, COUNT_MAX),
        backoff_ms=adapter.section.integer("backoff_ms", default.backoff_ms, 0, DURATION_MS_MAX),
    )


class _Adapter:
    """The ``adapter:`` block of a worker: which one, where it was named, and its own ``config:`` to read."""

    def __init__(self, name: str, place: Place, section: Section | None) -> None:
        self.name = name
        self.place = place
        self.section = section

    @classmethod
    def read(cls, owner: Section, names: Mapping[str, str], default: str) -> _Adapter:
        """Reads ``adapter: {name or class, config}``. Raises ``ConfigError`` for a name not in ``names``."""
        table = owner.table("adapter")
        if table is None:
            return cls(default, owner.place, None)
        with Section.of(f"{owner.name}.adapter", table, owner.report) as block:
            spelled = block.optional_string("name")
            key = "name" if spelled else "class"
            spelled = spelled or block.optional_string("class") or default
            block.accepted("name", "class")
            config = block.table("config")
        if spelled not in names:
            short = [name for name in names if "::" not in name]
            hint = suggestion(spelled, names)
            block.bad(key, one_of(short) + (f" ({hint})" if hint else ""))
        section = Section(f"{block.name}.config", config, owner.report) if config else None
        return cls(names[spelled], block.place_of(key), section)

    def accept(self, *keys: str) -> None:
        """Marks keys of the adapter's own block as known without effect here."""
        if self.section:
            self.section.accepted(*keys)

    def finish(self) -> None:
        """Warns about the keys of the adapter's own block that nobody asked for."""
        if self.section:
            self.section.finish()


def _warn_about_durability(section: Section, adapter: _Adapter) -> None:
    adapter.accept("file_path", "save_interval_ms", "redis_url", "bridge_url")
    methods = ("in_memory", "file_based")
    stored = adapter.section.choice("store_method", "in_memory", methods) if adapter.section else "in_memory"
    adapter.finish()
    if adapter.name != "builtin":
        section.report.warn(
            adapter.place,
            f"{section.name} adapter `{adapter.name}` is not supported yet: {_VOLATILE}, "
            "and is not shared with other engines",
        )
    elif adapter.section and stored == "file_based":
        section.report.warn(
            adapter.section.place_of("store_method"),
            f"{section.name} store_method `file_based` is not supported yet: {_VOLATILE}",
        )
