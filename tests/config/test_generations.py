"""Configuration files of all three generations, and what each of them starts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from iii_fast.config import (
    Configuration,
    CronSettings,
    HttpSettings,
    QueueConfig,
    QueueSettings,
    Settings,
    StateSettings,
    read_config,
)
from iii_fast.config.overrides import Overrides
from iii_fast.contracts import Cors, Limits, RedisPlace, Storage
from iii_fast.errors import ConfigError

OFF_HTTP = HttpSettings(enabled=False)
OFF_CRON = CronSettings(enabled=False)
OFF_QUEUE = QueueSettings(enabled=False)
OFF_STATE = StateSettings(enabled=False)
NOTHING = Settings(http=OFF_HTTP, cron=OFF_CRON, queue=OFF_QUEUE, state=OFF_STATE)

OLD = """
# ${A_COMMENT_IS_NOT_A_VALUE}
port: ${III_PORT:49134}
modules:
  - class: modules::state::StateModule
    config:
      max_value_bytes: 1048576
      triggers_enabled: false
      adapter:
        class: modules::state::adapters::KvStore
        config: {store_method: in_memory, save_interval_ms: 5000}
  - class: modules::api::RestApiModule
    config:
      host: 0.0.0.0   # ${NOR_HERE}
      port: ${HTTP_PORT:3111}
      default_timeout: 5000
      body_limit: 2048
      concurrency_request_limit: 0
      cors: {allowed_origins: ['*']}
      trust_proxy: true
      middleware:
      - {function_id: last, priority: 5}
      - {function_id: first, phase: preHandler, priority: -1}
      - {function_id: second}
  - class: modules::queue::QueueModule
    config:
      queue_configs:
        payment: {type: fifo, message_group_field: account, max_retries: 5, concurrency: 2, backoff_ms: 10}
      adapter:
        class: modules::queue::BuiltinQueueAdapter
        config: {max_attempts: 7, mode: fifo, concurrency: 4, backoff_ms: 50, poll_interval_ms: 100}
  - class: modules::cron::CronModule
    config:
      adapter: {class: modules::cron::KvCronAdapter, config: {lock_ttl_ms: 30000, lock_index: cron_locks}}
  - class: modules::telemetry::TelemetryModule
"""

OLD_SETTINGS = Settings(
    http=HttpSettings(
        host="0.0.0.0",
        port=8080,
        default_timeout_ms=5000,
        body_limit_bytes=2048,
        concurrency_request_limit=1,
        middleware=("first", "second", "last"),
    ),
    queue=QueueSettings(
        queue_configs={
            "default": QueueConfig(),
            "payment": QueueConfig("fifo", max_retries=5, concurrency=2, backoff_ms=10, message_group_field="account"),
        },
        topic=QueueConfig("fifo", max_retries=7, concurrency=4, backoff_ms=50),
    ),
    state=StateSettings(triggers_enabled=False, max_value_bytes=1048576),
    storage=Storage(),
)

MIDDLE = """
workers:
  - name: iii-worker-manager
    config: {host: 0.0.0.0, port: 50000, handshake_timeout_ms: 2500}
  - name: iii-http
    config: {port: 8000}
  - name: iii-cron
  - name: iii-queue
  - name: iii-state
    config:
  - name: iii-engine-functions
"""

NEW = """
workers:
  - name: http
    config:
      port: 8000
  - name: state
"""

VALID = {
    "0.10 modules": (OLD, OLD_SETTINGS),
    "0.11 workers": (
        MIDDLE,
        Settings(host="0.0.0.0", port=50000, http=HttpSettings(port=8000), limits=Limits(handshake_ms=2500)),
    ),
    "0.22 short names": (NEW, replace(NOTHING, http=HttpSettings(port=8000), state=StateSettings())),
    "empty file": ("", Settings()),
    "only comments": ("# ${NOTHING}\n", Settings()),
    "no list": ("port: 1\n", Settings(port=1)),
    "empty list": ("workers: []\n", NOTHING),
    "list without a value": ("modules:\n", NOTHING),
    "both lists": ("modules: [{class: 'modules::cron::CronModule'}]\nworkers: [{name: state}]",
                   replace(NOTHING, cron=CronSettings(), state=StateSettings())),
    "names cross the lists": ("modules: [{name: cron}]\nworkers: [{class: 'modules::state::StateModule'}]",
                              replace(NOTHING, cron=CronSettings(), state=StateSettings())),
    "own top-level keys": (
        "host: ::1\nloops: 2\nbackend: reference\nshutdown_ms: 0\n"
        "limits: {connections_max: 5, value_bytes_max: 9, busy_poll_us: 0}",
        Settings(
            host="::1",
            loops=2,
            backend="reference",
            shutdown_ms=0,
            state=StateSettings(max_value_bytes=9),
            limits=Limits(connections_max=5, value_bytes_max=9, busy_poll_us=0),
        ),
    ),
    "a busy poll as long as may be": ("limits: {busy_poll_us: 1000}", Settings(limits=Limits(busy_poll_us=1000))),
    "pages that may read, as browsers write them": (
        """
        workers:
        - name: http
          config:
            cors:
              allowed_origins: ['https://Shop.example:443', 'HTTP://[::1]:080', 'http://localhost:03000', 'null', 'app://x']
              allowed_methods: [get, PUT]
        """,
        replace(
            NOTHING,
            http=HttpSettings(
                cors=Cors(
                    ("https://shop.example", "http://[::1]", "http://localhost:3000", "null", "app://x"), ("GET", "PUT")
                )
            ),
        ),
    ),
    "pages of every origin": (
        "workers: [{name: http, config: {cors: {allowed_origins: ['*'], allowed_methods: ['*']}}}]",
        replace(NOTHING, http=HttpSettings()),
    ),
    "port twice, agreeing": ("port: 7\nworkers: [{name: worker-manager, config: {port: 7}}]", replace(NOTHING, port=7)),
    "anchors": ("workers: [{name: worker-manager, config: &c {port: 9}}, {name: http, config: *c}]",
                replace(NOTHING, port=9, http=HttpSettings(port=9))),
}  # fmt: skip


def read(text: str, **environ: str) -> Configuration:
    return read_config(text, "config.yaml", environ)


@pytest.mark.parametrize(("text", "settings"), VALID.values(), ids=VALID.keys())
def test_a_file_becomes_settings(text: str, settings: Settings) -> None:
    configuration = read(text, HTTP_PORT="8080")
    assert configuration.settings == settings
    assert configuration.warnings == ()


def test_what_a_list_leaves_out_is_named() -> None:
    assert read(NEW).not_started == ("cron", "queue")
    assert read("port: 1").not_started == ()


@pytest.mark.parametrize(
    ("value", "environ", "port"),
    [
        ("${P}", {"P": "8"}, 8),
        ('"${P}"', {"P": "8"}, 8),
        ("8${P}", {"P": "08"}, 808),
        ("${P}${Q}", {"P": "1", "Q": "2"}, 12),
        ("${P:9}", {}, 9),
        ("${P:9}", {"P": "8"}, 8),
        ("${P:}", {}, 49134),
        ("${P:9}", {"P": ""}, 49134),
    ],
)
def test_variables_are_typed_like_yaml(value: str, environ: dict[str, str], port: int) -> None:
    assert read(f"port: {value}", **environ).settings.port == port


@pytest.mark.parametrize(
    ("value", "environ", "host"),
    [
        ("${H}", {"H": "12"}, "12"),
        ("${H}", {"H": "true"}, "true"),
        ("a-${H}.test", {"H": "b"}, "a-b.test"),
        ("${H:http://x:1}", {}, "http://x:1"),
        ("${H}", {"H": "x # y: [z]"}, "x # y: [z]"),
        ("${H}", {"H": "${P}"}, "${P}"),
        ('"${H:a}}"', {}, "a}"),
        ("$H ${H", {}, "$H ${H"),
    ],
)
def test_a_variable_cannot_change_the_structure(value: str, environ: dict[str, str], host: str) -> None:
    assert read(f"host: {value}", **environ).settings.host == host


@pytest.mark.parametrize(
    ("flow", "environ", "names"),
    [
        ("[{name: ${N:state}}]", {}, ("http", "cron", "queue")),
        ("[{name: ${N}}, {name: ${M:http} }]", {"N": "state"}, ("cron", "queue")),
        ("[{'name': state, ${K:config}: {max_value_bytes: ${MV:1000}}}]", {}, ("http", "cron", "queue")),
        ("[{name: iii-${N:state}}] # ${A_COMMENT} {", {}, ("http", "cron", "queue")),
        ("[{name: state}, # {${A_COMMENT}\n {name: ${N:http}}]", {}, ("cron", "queue")),
    ],
)
def test_variables_need_no_quotes_in_flow_style(flow: str, environ: dict[str, str], names: tuple[str, ...]) -> None:
    assert read(f"workers: {flow}", **environ).not_started == names


@pytest.mark.parametrize(
    ("host", "environ", "read_host"),
    [
        ("${H:a, port: 5}", {}, "a, port: 5"),
        ("${H:[x]}", {}, "[x]"),
        ("${H}", {"H": "a}, {name: http"}, "a}, {name: http"),
        ("${H:a #b}", {}, "a #b"),
        ('"${H:a\\tb}"', {}, "a\tb"),
        ("'${H:it''s}'", {}, "it's"),
        ("${H:x}\n y", {}, "x y"),
        ("pre-${H:x}-${I:y}", {}, "pre-x-y"),
    ],
)
def test_a_variable_stays_one_value_in_flow_style(host: str, environ: dict[str, str], read_host: str) -> None:
    text = f"workers: [{{name: http, config: {{host: {host}}}}}]"
    assert read(text, **environ).settings.http == HttpSettings(host=read_host)


def test_reading_runs_no_code() -> None:
    text = "x-evil: !!python/object/apply:os.abort []\nport: 5"
    assert read(text).settings.port == 5


# State: where it is kept, and its quotas

KV = {
    "nothing": ("", Storage(Path("data"))),
    "an empty block": ("{}", Storage(Path("data"))),
    "a file": ("{store_method: file_based, file_path: /x/y}", Storage(Path("/x/y"))),
    "a file without a method": ("{file_path: '${HOME:there}'}", Storage(Path("there"))),
    "memory": ("{store_method: in_memory, file_path: x, save_interval_ms: 5}", Storage(None)),
    "interval": ("{sync: interval}", Storage(Path("data"), "interval", 1000)),
    "interval of its own": ("{sync: interval, sync_interval_ms: 10}", Storage(Path("data"), "interval", 10)),
    "interval by the former name": ("{sync: interval, save_interval_ms: 20}", Storage(Path("data"), "interval", 20)),
    "interval by both": (
        "{sync: interval, sync_interval_ms: 30, save_interval_ms: 20}",
        Storage(Path("data"), "interval", 30),
    ),
    "the former name without interval": ("{save_interval_ms: 5}", Storage(Path("data"))),
    "never": ("{sync: never}", Storage(Path("data"), "never")),
    "sizes": (
        "{segment_bytes: 4294967296, history_bytes_max: 0}",
        Storage(Path("data"), segment_bytes=4 << 30, history_bytes_max=0),
    ),
}


@pytest.mark.parametrize(("block", "storage"), KV.values(), ids=KV.keys())
@pytest.mark.parametrize("adapter", ["name: kv", "class: 'modules::state::adapters::KvStore'"])
def test_where_state_is_kept(adapter: str, block: str, storage: Storage) -> None:
    configuration = read(f"workers: [{{name: state, config: {{adapter: {{{adapter}, config: {block}}}}}}}]")
    assert (configuration.settings.storage, configuration.warnings) == (storage, ())


@pytest.mark.parametrize(
    "text", ["", "workers: []", "workers: [{name: state}]", "workers: [{name: state, config: {}}]"]
)
def test_state_is_durable_when_nothing_is_said(text: str) -> None:
    assert read(text).settings.storage == Storage(Path("data"))


REDIS = {
    "nothing": ("{}", RedisPlace("localhost")),
    "a name": ("{redis_url: 'redis://cache.test'}", RedisPlace("cache.test")),
    "a port and a database": ("{redis_url: 'redis://[::1]:7000/12'}", RedisPlace("::1", 7000, database=12)),
    "a password": ("{redis_url: 'redis://:p%40s%2Fs@h/'}", RedisPlace("h", password="p@s/s")),
    "a user": ("{redis_url: 'redis://me:secret@h'}", RedisPlace("h", 6379, "me", "secret")),
}


@pytest.mark.parametrize(("block", "place"), REDIS.values(), ids=REDIS.keys())
@pytest.mark.parametrize("adapter", ["name: redis", "class: 'modules::state::adapters::RedisAdapter'"])
def test_state_in_redis(adapter: str, block: str, place: RedisPlace) -> None:
    text = f"workers: [{{name: state, config: {{max_value_bytes: 9, adapter: {{{adapter}, config: {block}}}}}}}]"
    configuration = read(text)
    assert (configuration.settings.storage, configuration.warnings) == (Storage(redis=place), ())
    assert place.password is None or place.password not in repr(configuration)
    for flag in (Overrides(in_memory=True), Overrides(data_dir=Path("d"))):
        assert flag.apply(configuration.settings).storage.redis is None


QUOTAS = ("value", "key", "scope", "total")


@pytest.mark.parametrize("quota", QUOTAS)
def test_quotas_have_two_names(quota: str) -> None:
    by_state = read(f"workers: [{{name: state, config: {{max_{quota}_bytes: 7}}}}]").settings
    by_limits = read(f"workers: [{{name: state}}]\nlimits: {{{quota}_bytes_max: 7}}").settings
    assert by_state == by_limits
    assert getattr(by_state.state, f"max_{quota}_bytes") == 7
    assert getattr(by_state.limits, f"{quota}_bytes_max") == 7
    assert replace(by_state, port=5).limits == by_state.limits


@pytest.mark.parametrize("quota", QUOTAS)
def test_contradicting_bounds_are_an_error(quota: str) -> None:
    state, limits = StateSettings(**{f"max_{quota}_bytes": 1}), Limits(**{f"{quota}_bytes_max": 2})
    text = f"state.max_{quota}_bytes is 1 but limits.{quota}_bytes_max is 2: give one of them"
    with pytest.raises(ConfigError, match=re.escape(text)):
        Settings(state=state, limits=limits)
