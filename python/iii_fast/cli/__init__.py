"""The command ``iii-fast``: picks the subcommand and turns failures into a line on stderr and an exit status.

Status 0 is success, 1 a failure that was told, 2 a usage error. Only subcommand modules know more.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from iii_fast.errors import BackendMissingError, ConfigError, StorageError, WireError

HELP: Final = """\
usage: iii-fast [serve] [options]
       iii-fast COMMAND [arguments] [options]
       iii-fast --version

An engine for iii workers: functions, triggers and state over one WebSocket.

commands:
  serve      start the engine (also when no command is given)
  trigger    call a function through a running engine and print its result
  state      read, write and watch state: get, set, list, keys, delete, watch
  export     write the state of a running engine to a file
  import     write entries from a file into a running engine
  backup     copy the files of state, also while an engine runs
  restore    put a backup in their place
  verify     check the files of state or a backup
  bench      measure this engine, or any running one, beside others (from a source checkout)

examples:
  iii-fast serve                       start with state, http, cron and queue on
                                       ws://127.0.0.1:49134 and http://127.0.0.1:3111
  iii-fast -c iii-config.yaml          start as the file says
  iii-fast trigger state::get scope=users key=ada
  iii-fast state set users ada '{"age": 36}'
  iii-fast state watch users           print every change, until Ctrl-C
  iii-fast backup /backups/monday      and `iii-fast restore /backups/monday`
  iii-fast export state.jsonl          and `iii-fast import state.jsonl` to read it

`iii-fast COMMAND --help` tells more about a command.
"""


def _serve(arguments: Sequence[str]) -> None:
    from iii_fast.cli.serve import main as serve

    serve(arguments)


def _trigger(arguments: Sequence[str]) -> None:
    from iii_fast.cli.trigger import main as trigger

    trigger(arguments)


def _state(arguments: Sequence[str]) -> None:
    from iii_fast.cli.state import main as state

    state(arguments)


def _export(arguments: Sequence[str]) -> None:
    from iii_fast.cli.export import main as export

    export(arguments)


def _import(arguments: Sequence[str]) -> None:
    from iii_fast.cli.import_ import main as import_

    import_(arguments)


def _backup(arguments: Sequence[str]) -> None:
    from iii_fast.cli.backup import main as backup

    backup(arguments)


def _restore(arguments: Sequence[str]) -> None:
    from iii_fast.cli.restore import main as restore

    restore(arguments)


def _verify(arguments: Sequence[str]) -> None:
    from iii_fast.cli.verify import main as verify

    verify(arguments)


def _bench(arguments: Sequence[str]) -> None:
    from iii_fast.cli.bench import main as bench

    bench(arguments)


def _version(_: Sequence[str]) -> None:
    from iii_fast.cli import version

    print(version.text())


def _help(_: Sequence[str]) -> None:
    print(HELP, end="")


COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], None]]] = {
    "serve": _serve,
    "trigger": _trigger,
    "t": _trigger,
    "state": _state,
    "export": _export,
    "import": _import,
    "backup": _backup,
    "restore": _restore,
    "verify": _verify,
    "bench": _bench,
    "version": _version,
    "--version": _version,
    "-V": _version,
    "-v": _version,
    "help": _help,
    "--help": _help,
    "-h": _help,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line (default: ``sys.argv``) and returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are no text go out as they came in
    status = 130
    try:
        status = _run(given)
    except* KeyboardInterrupt:  # in a group when it hit a nursery
        pass
    return status


def _run(given: list[str]) -> int:
    try:
        command = COMMANDS.get(given[0]) if given else None
        if command is not None:
            command(given[1:])
        elif given and not given[0].startswith("-"):
            return _unknown(given[0])
        else:
            _serve(given)
    except (ConfigError, StorageError, BackendMissingError, WireError) as error:
        return _tell(str(error), 1)
    except SystemExit as leaving:  # argparse leaves this way
        return leaving.code if isinstance(leaving.code, int) else 0
    return 0


def _unknown(name: str) -> int:
    from iii_fast.config.report import suggestion

    words = [word for word in COMMANDS if word.isalpha()]
    hint = suggestion(name, words) or f"known: {', '.join(words)}"
    return _tell(f"unknown command `{name}` ({hint})", 2)


def _tell(text: str, status: int) -> int:
    for line in text.splitlines():
        print(f"iii-fast: {line}", file=sys.stderr)
    return status
