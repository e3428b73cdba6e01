"""``iii-fast serve``: finds the configuration, sets up the log, and runs the engine until a signal ends it."""

from __future__ import annotations

import argparse
import logging
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from iii_fast.cli.logs import FORMATS, LEVELS, LogFormat, logging_to
from iii_fast.config import (
    DEFAULT_DIRECTORY,
    DEFAULT_HTTP_PORT,
    DEFAULT_PORT,
    VARIABLES,
    Configuration,
    Overrides,
    Settings,
    load_config,
)
from iii_fast.config.catalogue import STATE
from iii_fast.config.section import one_of
from iii_fast.errors import ConfigError

logger = logging.getLogger(__name__)

LOG_LEVEL_VARIABLE: Final = "III_FAST_LOG_LEVEL"
LOG_FORMAT_VARIABLE: Final = "III_FAST_LOG_FORMAT"

VARIABLES_TEXT: Final = textwrap.fill(", ".join(VARIABLES.values()), 116, subsequent_indent="  ")

EPILOG: Final = f"""\
configuration:
  The first of: the FILE of -c, the file that III_CONFIG_PATH names, config.yaml, iii-config.yaml. Without any of them
  state, http, cron and queue start with their defaults. A file with a list (`workers:` or `modules:`) starts what it
  lists; the worker port and the functions state::* are always there. A file without a list changes settings of the
  default. Files written for any generation of iii load; ${{VAR}} and ${{VAR:default}} expand in values. Your file is
  never written to.

    workers:
      - name: http             # or iii-http, or class: modules::api::RestApiModule
        config: {{port: 3111}}
      - name: state

  A flag goes over a variable, a variable over the file, the file over the default.

state:
  It is kept in ./{DEFAULT_DIRECTORY}, or in the directory of --data-dir, or where the file says. A write is answered
  when it is on the disk (sync: always), so nothing that was answered is lost, whatever ends the engine. The file can
  ask for less:

    workers:
      - name: state
        config:
          adapter:
            name: kv
            config: {{file_path: ./data, sync: interval, sync_interval_ms: 1000}}   # or sync: never

  With `store_method: in_memory`, or --in-memory, all state ends with the engine. A directory that cannot be used, or is
  damaged, ends start-up and says what can be done; --salvage then keeps what is intact and puts the rest aside.
  One engine at a time uses a directory.

environment:
  {VARIABLES_TEXT},
  {LOG_LEVEL_VARIABLE}, {LOG_FORMAT_VARIABLE}: as the flags of the same name (III_FAST_IN_MEMORY: true or false).

signals:
  SIGTERM and SIGINT finish what is in flight and end with status 0; a second one ends at once.

examples:
  iii-fast serve
  iii-fast serve -c iii-config.yaml --strict
  iii-fast serve --port 0 --http-port 0 --log-format json    # free ports; the first log lines name them
  iii-fast serve --host 0.0.0.0 --loops 2
  iii-fast serve --data-dir /var/lib/iii-fast
  iii-fast serve --host 0.0.0.0 --tls-cert chain.pem --tls-key key.pem    # or tls: in the block of worker-manager
  iii-fast serve --http-tls-cert chain.pem --http-tls-key key.pem    # or tls: in the block of http
"""


def main(arguments: Sequence[str]) -> None:
    """Runs the subcommand; returns when the engine was told to end.

    Raises ``ConfigError``, ``StorageError`` and ``BackendMissingError``.
    """
    options = _parser().parse_args(arguments)
    level, log_format = _log_options(options, os.environ)
    with logging_to(None, level, log_format):
        settings = _settings(options, os.environ)
        from iii_fast.engine import run  # late: `--help` and a bad option need not load the engine

        run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iii-fast serve",
        description="Start the engine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = Settings()
    add = parser.add_argument
    add("-c", "--config", metavar="FILE", help="configuration file")
    add("--host", metavar="HOST", help=f"address to listen on, for workers and HTTP (default: {default.host})")
    add("--port", metavar="PORT", help=f"port for workers; 0 chooses a free one (default: {DEFAULT_PORT})")
    add("--http-port", metavar="PORT", help=f"port of the http trigger (default: {DEFAULT_HTTP_PORT})")
    add("--loops", metavar="N", help=f"threads that move messages, native backend only (default: {default.loops})")
    add("--backend", metavar="NAME", help="native (default) or reference: plain Python, slow, to compare with")
    add("--data-dir", metavar="DIR", help=f"keep state in files of this directory (default: ./{DEFAULT_DIRECTORY})")
    add("--in-memory", action="store_const", const="true", help="keep state in memory only: it ends with the engine")
    add("--salvage", action="store_const", const="true", help="start from damaged files with what is intact in them")
    add("--tls-cert", metavar="FILE", help="certificate chain (PEM): the worker port speaks wss:// then")
    add("--tls-key", metavar="FILE", help="private key of the certificate (PEM, without a password)")
    add("--http-tls-cert", metavar="FILE", help="certificate chain (PEM): the http port speaks https:// then")
    add("--http-tls-key", metavar="FILE", help="private key of that certificate (PEM, without a password)")
    add("--strict", action="store_true", help="treat warnings about the configuration as errors")
    add("--log-level", metavar="LEVEL", help=f"{', '.join(LEVELS)} (default: info)")
    add("--log-format", metavar="FORMAT", help="text (default) or json, one object per line")
    # Written in scripts of other engines; there is nothing here to switch off.
    add("--no-update-check", action="store_true", help=argparse.SUPPRESS)
    return parser


def _log_options(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, LogFormat]:
    level = _chosen("--log-level", options.log_level, LOG_LEVEL_VARIABLE, environ, LEVELS, "info")
    chosen = _chosen("--log-format", options.log_format, LOG_FORMAT_VARIABLE, environ, FORMATS, "text")
    return level, "json" if chosen == "json" else "text"


def _chosen(
    flag: str, given: str | None, variable: str, environ: Mapping[str, str], allowed: Sequence[str], default: str
) -> str:
    name, value = (flag, given) if given is not None else (variable, environ.get(variable, default))
    if value not in allowed:
        raise ConfigError(f'{name} is "{value}", expected {one_of(allowed)}')
    return value


def _settings(options: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """The file with environment and flags over it; what the file has to say goes to the log."""
    given = {
        field.name: (f"--{field.name.replace('_', '-')}", value)
        for field in fields(Overrides)
        if (value := getattr(options, field.name)) is not None
    }
    overrides = Overrides.from_texts(given).over(Overrides.from_environment(environ))
    configuration = load_config(options.config, environ=environ, strict=options.strict)
    _tell(configuration)
    return overrides.apply(configuration.settings)


def _tell(configuration: Configuration) -> None:
    if configuration.path is None:
        logger.info("No configuration file: starting the default (state, http, cron, queue)")
    else:
        left_out = ", ".join("state triggers" if key == STATE else key for key in configuration.not_started)
        logger.info("Configuration from %s%s", configuration.path, f"; not listed, so off: {left_out}" * bool(left_out))
    for warning in configuration.warnings:
        logger.warning("%s", warning)
