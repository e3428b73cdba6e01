"""Every error and warning of configuration files, to the letter: people read these texts when nothing works."""

from __future__ import annotations

from pathlib import Path

import pytest

from iii_fast.config import load_config, read_config
from iii_fast.errors import ConfigError

ELSEWHERE = (
    "is not supported yet, and state would not be where you want it; "
    "use `kv`, which keeps it in files of this engine, `redis`, or remove `adapter`"
)
REDIS_URL = "expected redis://[user:password@]host[:port][/database]"
IN_REDIS = "cannot be held with state in Redis, where other engines write as well; bound it there (maxmemory)"

ERRORS = {
    "missing variable": (
        "a: 1\nport: ${NOPE}",
        "c.yaml:2: variable NOPE is not set and has no default; set it, or write ${NOPE:default}",
    ),
    "missing variable in a block": (
        "x: |\n  one\n  two ${NOPE}",
        "c.yaml:3: variable NOPE is not set and has no default; set it, or write ${NOPE:default}",
    ),
    "missing variable in an ignored worker": (
        "workers:\n- name: payments\n  config: {a: '${NOPE}'}",
        "c.yaml:3: variable NOPE is not set and has no default; set it, or write ${NOPE:default}",
    ),
    "missing variable in a flow mapping": (
        "limits:\n  {close_ms: 5,\n   stripes: ${NOPE}}",
        "c.yaml:3: variable NOPE is not set and has no default; set it, or write ${NOPE:default}",
    ),
    "error behind a variable in a flow mapping": (
        "a: {b: ${P:1}\nc: 2",
        "c.yaml:2: not valid YAML: expected ',' or '}', but got ':'",
    ),
    "bad value from a variable in a flow mapping": (
        "limits: {a: 1,\n  close_ms: ${P:x}}",
        'c.yaml:2: limits.close_ms is "x", expected an integer from 1 to 86400000',
    ),
    "nameless variable": (
        "port: ${}",
        "c.yaml:1: variable (without a name) is not set and has no default; set it, or write ${:default}",
    ),
    "text for a number": ("port: abc", 'c.yaml:1: port is "abc", expected an integer from 0 to 65535'),
    "quoted number": ('port: "5"', 'c.yaml:1: port is "5", expected an integer from 0 to 65535'),
    "number out of bounds": ("port: 65536", "c.yaml:1: port is 65536, expected an integer from 0 to 65535"),
    "negative": ("loops: -1", "c.yaml:1: loops is -1, expected an integer from 1 to 64"),
    "fraction": ("loops: 1.5", 'c.yaml:1: loops is "1.5", expected an integer from 1 to 64'),
    "boolean for a number": ("port: true", "c.yaml:1: port is true, expected an integer from 0 to 65535"),
    "mapping for a number": ("port: {a: 1}", "c.yaml:1: port is a mapping, expected an integer from 0 to 65535"),
    "huge number": ("port: " + "9" * 30, f'c.yaml:1: port is "{"9" * 30}", expected an integer from 0 to 65535'),
    "number for text": ("host: 5", "c.yaml:1: host is 5, expected text"),
    "empty text": ('host: ""', 'c.yaml:1: host is "", expected text'),
    "choice": ("backend: nativ", 'c.yaml:1: backend is "nativ", expected native or reference'),
    "number for a boolean": (
        "workers:\n- name: state\n  config:\n    triggers_enabled: yes",
        'c.yaml:4: state.triggers_enabled is "yes", expected true or false',
    ),
    "list for a mapping": (
        "workers:\n- name: http\n  config: []",
        "c.yaml:3: worker.config is a list, expected a mapping",
    ),
    "mapping for a list": ("workers: {http: {}}", "c.yaml:1: workers is a mapping, expected a list"),
    "text in the list": (
        "workers:\n- http",
        'c.yaml:2: an entry of workers is "http", expected a mapping with `name:`',
    ),
    "nameless worker": ("workers:\n- config: {}", "c.yaml:2: a worker has no `name:` (or `class:`)"),
    "two names": (
        "workers:\n- name: http\n  class: modules::cron::CronModule",
        "c.yaml:3: a worker has both name `http` and class `modules::cron::CronModule`; keep one of them",
    ),
    "twice under two names": (
        "workers:\n- name: iii-http\n- name: http",
        "c.yaml:3: `http` configures the same thing as `iii-http` on line 2; keep one of them",
    ),
    "twice across the lists": (
        "modules:\n- class: modules::state::StateModule\nworkers:\n- name: state",
        "c.yaml:2: `modules::state::StateModule` configures the same thing as `state` on line 4; keep one of them",
    ),
    "two ports": (
        "port: 1\nworkers:\n- name: iii-worker-manager\n  config: {port: 2}",
        "c.yaml:4: iii-worker-manager.port is 2, but `port` on line 1 is 1; keep one",
    ),
    "key given twice": ("port: 1\nhost: a\nport: 2", "c.yaml:3: key `port` is given twice, first on line 1"),
    "key that is no text": ("? [a]\n: 1", "c.yaml:1: a key is a list, expected text"),
    "recursive anchor": ("a: &x [*x]", "c.yaml:1: an anchor contains itself"),
    "no mapping": ("- a", "c.yaml:1: the file holds a list, expected a mapping with `workers:` or `modules:`"),
    "syntax": ("a: 1\n  b: 2", "c.yaml:2: not valid YAML: mapping values are not allowed here"),
    "unclosed": ("a: [1\nb: 2", "c.yaml:2: not valid YAML: expected ',' or ']', but got ':'"),
    "control character": ("a: 1\nb: \x01", "c.yaml:2: not valid YAML: special characters are not allowed"),
    "two documents": ("a: 1\n---\nb: 2", "c.yaml:2: not valid YAML: but found another document"),
    "undefined alias": ("\na: *x", "c.yaml:2: not valid YAML: found undefined alias 'x'"),
    "unknown adapter": (
        "workers:\n- name: state\n  config:\n    adapter:\n      name: rediss",
        'c.yaml:5: state.adapter.name is "rediss", expected one of kv, redis, bridge (did you mean `redis`?)',
    ),
    "adapter of another worker": (
        "workers:\n- name: cron\n  config: {adapter: {class: 'modules::state::adapters::Bridge'}}",
        'c.yaml:3: cron.adapter.class is "modules::state::adapters::Bridge", expected kv or redis',
    ),
    "fifo without a group": (
        "workers:\n- name: queue\n  config:\n    queue_configs:\n      pay:\n        type: fifo",
        "c.yaml:6: queue.queue_configs.pay.message_group_field is missing, "
        "expected the payload member that orders a fifo queue",
    ),
    "queue that is no mapping": (
        "workers:\n- name: queue\n  config:\n    queue_configs:\n      pay: 3",
        "c.yaml:5: queue.queue_configs.pay is 3, expected a mapping",
    ),
    "queue without concurrency": (
        "workers: [{name: queue, config: {queue_configs: {a: {concurrency: 0}}}}]",
        "c.yaml:1: queue.queue_configs.a.concurrency is 0, expected an integer from 1 to 1000000",
    ),
    "cors that is no mapping": (
        "workers: [{name: http, config: {cors: true}}]",
        "c.yaml:1: http.cors is true, expected a mapping",
    ),
    "cors origins that are no list": (
        "workers:\n- name: http\n  config:\n    cors:\n      allowed_origins: '*'",
        'c.yaml:5: http.cors.allowed_origins is "*", expected a list',
    ),
    "cors origin that is no text": (
        "workers:\n- name: http\n  config:\n    cors:\n      allowed_methods:\n      - GET\n      - 5",
        "c.yaml:7: http.cors.allowed_methods[1] is 5, expected text",
    ),
    "cors method": (
        "workers: [{name: http, config: {cors: {allowed_methods: [GTE]}}}]",
        'c.yaml:1: http.cors.allowed_methods[0] is "GTE", '
        "expected `*` or one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
    ),
    "redis by another protocol": (
        "workers:\n- name: state\n  config:\n    adapter: {name: redis, config: {redis_url: 'http://x'}}",
        f"c.yaml:4: state.adapter.config.redis_url is not understood, {REDIS_URL}",
    ),
    "redis without a host": (
        "workers:\n- name: state\n  config:\n    adapter: {name: redis, config: {redis_url: 'redis://'}}",
        f"c.yaml:4: state.adapter.config.redis_url is not understood, {REDIS_URL}",
    ),
    "redis by TLS": (
        "workers: [{name: state, config: {adapter: {name: redis, config: {redis_url: 'rediss://x'}}}}]",
        "c.yaml:1: state.adapter.config.redis_url asks for TLS, which is not supported: connect through a tunnel, "
        "or use redis://",
    ),
    "redis with a port that is none": (
        "workers: [{name: state, config: {adapter: {name: redis, config: {redis_url: 'redis://:secret@x:port'}}}}]",
        "c.yaml:1: state.adapter.config.redis_url is not a URL (Port could not be cast to integer value as 'port'), "
        f"{REDIS_URL}",
    ),
    "redis with a name as database": (
        "workers: [{name: state, config: {adapter: {name: redis, config: {redis_url: 'redis://x/main'}}}}]",
        'c.yaml:1: state.adapter.config.redis_url names database "main", expected a number',
    ),
    "redis with options": (
        "workers: [{name: state, config: {adapter: {name: redis, config: {redis_url: 'redis://x/0?tls=1'}}}}]",
        f"c.yaml:1: state.adapter.config.redis_url has options behind it, which are not supported; {REDIS_URL}",
    ),
    "redis with a user alone": (
        "workers: [{name: state, config: {adapter: {name: redis, config: {redis_url: 'redis://me@x'}}}}]",
        f"c.yaml:1: state.adapter.config.redis_url names a user without a password, {REDIS_URL}",
    ),
    "quota of a scope in redis": (
        "workers: [{name: state, config: {adapter: {name: redis}, max_scope_bytes: 5}}]",
        f"c.yaml:1: state.max_scope_bytes {IN_REDIS}",
    ),
    "quota of everything in redis": (
        "workers: [{name: state, config: {adapter: {name: redis}, max_total_bytes: 5}}]",
        f"c.yaml:1: state.max_total_bytes {IN_REDIS}",
    ),
    "state in another engine": (
        "modules:\n- class: modules::state::StateModule\n"
        "  config: {adapter: {class: 'modules::state::adapters::Bridge'}}",
        f"c.yaml:3: modules::state::StateModule adapter `bridge` {ELSEWHERE}",
    ),
    "store method": (
        "workers: [{name: state, config: {adapter: {config: {store_method: files}}}}]",
        'c.yaml:1: state.adapter.config.store_method is "files", expected file_based or in_memory',
    ),
    "sync level": (
        "workers: [{name: state, config: {adapter: {config: {sync: often}}}}]",
        'c.yaml:1: state.adapter.config.sync is "often", expected one of always, interval, never',
    ),
    "sync interval": (
        "workers: [{name: state, config: {adapter: {config: {sync_interval_ms: 9}}}}]",
        "c.yaml:1: state.adapter.config.sync_interval_ms is 9, expected an integer from 10 to 3600000",
    ),
    "sync interval by its former name": (
        "workers: [{name: state, config: {adapter: {config: {sync: interval, save_interval_ms: 3600001}}}}]",
        "c.yaml:1: state.adapter.config.save_interval_ms is 3600001, expected an integer from 10 to 3600000",
    ),
    "segments": (
        "workers: [{name: state, config: {adapter: {config: {segment_bytes: 1048575}}}}]",
        "c.yaml:1: state.adapter.config.segment_bytes is 1048575, expected an integer from 1048576 to 4294967296",
    ),
    "history": (
        "workers: [{name: state, config: {adapter: {config: {history_bytes_max: 1073741825}}}}]",
        "c.yaml:1: state.adapter.config.history_bytes_max is 1073741825, expected an integer from 0 to 1073741824",
    ),
    "quota": (
        "workers: [{name: state, config: {max_total_bytes: 0}}]",
        "c.yaml:1: state.max_total_bytes is 0, expected an integer from 1 to 1099511627776",
    ),
    "stripes": ("limits: {stripes: 48}", "c.yaml:1: limits.stripes is 48, expected a power of two"),
    "limit of time": (
        "limits: {close_ms: 86400001}",
        "c.yaml:1: limits.close_ms is 86400001, expected an integer from 1 to 86400000",
    ),
    "limit of looking": (
        "limits: {busy_poll_us: 1001}",
        "c.yaml:1: limits.busy_poll_us is 1001, expected an integer from 0 to 1000",
    ),
    "rbac": (
        "workers:\n- name: iii-worker-manager\n  config:\n    rbac: {auth_function_id: auth}",
        "c.yaml:4: iii-worker-manager.rbac is not supported yet, and without it the port would be open to everybody; "
        "remove it, and protect the port by other means",
    ),
    "call middleware": (
        "workers: [{name: worker-manager, config: {middleware_function_id: m}}]",
        "c.yaml:1: worker-manager.middleware_function_id is not supported yet, and calls would pass unchecked; "
        "remove it to start without",
    ),
    "http middleware": (
        "workers: [{name: http, config: {middleware: [auth]}}]",
        'c.yaml:1: http.middleware[0] is "auth", expected a mapping with `function_id`',
    ),
    "http middleware without function": (
        "workers: [{name: http, config: {middleware: [{phase: preHandler}]}}]",
        "c.yaml:1: http.middleware[0].function_id is missing, expected the id of a function",
    ),
    "http middleware of another phase": (
        "workers: [{name: http, config: {middleware: [{function_id: auth}, {function_id: log, phase: onResponse}]}}]",
        "c.yaml:1: http.middleware[1].phase `onResponse` is not supported yet, and requests would pass unchecked; "
        "use `preHandler`, or remove the entry",
    ),
}

LOST = "IS KEPT IN MEMORY ONLY AND IS LOST WHEN THE ENGINE STOPS"

WARNINGS = {
    "close key": (
        "workers:\n- name: http\n  config:\n    prot: 1",
        "c.yaml:4: unknown key `prot` in http is ignored (did you mean `port`?)",
    ),
    "distant key": (
        "workers:\n- name: worker-manager\n  config:\n    zzz: 1",
        "c.yaml:4: unknown key `zzz` in worker-manager is ignored "
        "(known: handshake_timeout_ms, host, middleware_function_id, port, rbac, tls)",
    ),
    "top-level key": ("wrokers: []", "c.yaml:1: unknown key `wrokers` is ignored (did you mean `workers`?)"),
    "key of an entry": (
        "workers:\n- name: cron\n  confg: {}",
        "c.yaml:3: unknown key `confg` in worker is ignored (did you mean `config`?)",
    ),
    "key of an adapter": (
        "workers:\n- name: cron\n  config:\n    adapter:\n      name: kv\n      config:\n        lock_tll_ms: 1",
        "c.yaml:7: unknown key `lock_tll_ms` in cron.adapter.config is ignored (did you mean `lock_ttl_ms`?)",
    ),
    "key of a queue": (
        "workers: [{name: queue, config: {queue_configs: {a: {retries: 1}}}}]",
        "c.yaml:1: unknown key `retries` in queue.queue_configs.a is ignored (did you mean `max_retries`?)",
    ),
    "key of the limits": (
        "limits: {conections_max: 1}",
        "c.yaml:1: unknown key `conections_max` in limits is ignored (did you mean `connections_max`?)",
    ),
    "close worker": (
        "workers:\n- name: iii-htpp",
        "c.yaml:2: unknown worker `iii-htpp` is ignored (did you mean `iii-http`?)",
    ),
    "distant worker": (
        "workers:\n- name: payments",
        "c.yaml:2: unknown worker `payments` is ignored: this engine starts no programs; "
        "start it yourself and it connects to the worker port",
    ),
    "container": (
        "workers:\n- name: http\n  image: example/http:1",
        "c.yaml:2: worker `http`, a container image, is ignored: this engine starts no programs; "
        "start it yourself and it connects to the worker port",
    ),
    "stream": (
        "workers: [{name: iii-stream, config: {anything: 1}}]",
        "c.yaml:1: `iii-stream` is not supported yet: `stream::*` functions and the stream port are not there",
    ),
    "pubsub": (
        "modules: [{class: 'modules::pubsub::PubSubModule'}]",
        "c.yaml:1: `modules::pubsub::PubSubModule` is not supported yet: "
        "`publish` and the trigger type `subscribe` are not there",
    ),
    "exec": (
        "workers: [{name: iii-exec}]",
        "c.yaml:1: `iii-exec` is not supported yet: its commands are NOT RUN; start them yourself",
    ),
    "sync in memory": (
        "workers: [{name: state, config: {adapter: {config: {store_method: in_memory, sync: always}}}}]",
        "c.yaml:1: state.adapter.config.sync has no effect: store_method is in_memory",
    ),
    "key of the state's adapter": (
        "workers: [{name: state, config: {adapter: {config: {file_pth: ./x}}}}]",
        "c.yaml:1: unknown key `file_pth` in state.adapter.config is ignored (did you mean `file_path`?)",
    ),
    "queue in a file": (
        "workers:\n- name: queue\n  config:\n    adapter: {name: builtin, config: {store_method: file_based}}",
        f"c.yaml:4: queue store_method `file_based` is not supported yet: queued work {LOST}",
    ),
    "queue in rabbitmq": (
        "workers: [{name: queue, config: {adapter: {name: rabbitmq, config: {amqp_url: x, prefetch_count: 1}}}}]",
        f"c.yaml:1: queue adapter `rabbitmq` is not supported yet: queued work {LOST}, "
        "and is not shared with other engines",
    ),
    "cron in redis": (
        "workers: [{name: cron, config: {adapter: {name: redis}}}]",
        "c.yaml:1: cron adapter `redis` is not supported yet: locks are not shared, "
        "SEVERAL ENGINES WOULD EACH FIRE THE SAME TICK",
    ),
    "cors with no origins": (
        "workers: [{name: http, config: {cors: {allowed_methods: ['*'], allowed_origins: []}}}]",
        "c.yaml:1: http.cors.allowed_origins is empty: EVERY ORIGIN IS ALLOWED",
    ),
    "cors with any origin beside others": (
        "workers: [{name: http, config: {cors: {allowed_origins: ['https://a.test', '*']}}}]",
        "c.yaml:1: http.cors.allowed_origins has `*` among its entries: EVERY ORIGIN IS ALLOWED",
    ),
    "cors with no methods": (
        "workers: [{name: http, config: {cors: {allowed_methods: []}}}]",
        "c.yaml:1: http.cors.allowed_methods is empty: EVERY METHOD IS ALLOWED",
    ),
    "cors with an unknown key": (
        "workers: [{name: http, config: {cors: {allowed_origin: ['*']}}}]",
        "c.yaml:1: unknown key `allowed_origin` in http.cors is ignored (did you mean `allowed_origins`?)",
    ),
    "grace": (
        "registration_namespace_grace_ms: 1",
        "c.yaml:1: registration_namespace_grace_ms is not supported yet: registrations are never held back",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_names_file_line_value_and_expectation(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(text, "c.yaml", {})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "shop.example",
        "//shop.example",
        "https://",
        "https://shop.example/",
        "https://shop.example/path",
        "https://shop.example?q",
        "https://*.shop.example",
        "https://user@shop.example",
        "https://shop.example:",
        "https://shop.example:65536",
        "https://sh\xf6p.example",
        "https://a.test, https://b.test",
        " https://a.test",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    text = f"workers: [{{name: http, config: {{cors: {{allowed_origins: ['https://a.test', '{origin}']}}}}}}]"
    with pytest.raises(ConfigError) as caught:
        read_config(text, "c.yaml", {})
    assert str(caught.value) == (
        f'c.yaml:1: http.cors.allowed_origins[1] is "{origin}", expected `*` or an origin: scheme, host and perhaps '
        'a port, without a path ("https://shop.example")'
    )


@pytest.mark.parametrize(("text", "message"), WARNINGS.values(), ids=WARNINGS.keys())
def test_a_warning_says_what_happens_instead(text: str, message: str) -> None:
    assert read_config(text, "c.yaml", {}).warnings == (message,)


def test_warnings_come_in_the_order_of_the_file() -> None:
    text = "workers:\n- name: http\n  config:\n    prot: 1\n- name: payments\nwrokers: 1"
    lines = [int(one.split(":")[1]) for one in read_config(text, "c.yaml", {}).warnings]
    assert lines == [4, 5, 6]


def test_strict_turns_warnings_into_an_error(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("prot: 1\nhots: a\n")
    assert len(load_config(file, environ={}).warnings) == 2
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={}, strict=True)
    assert str(caught.value).splitlines() == list(load_config(file, environ={}).warnings)
