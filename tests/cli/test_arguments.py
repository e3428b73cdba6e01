"""Command lines without an engine: payloads, addresses, usage errors, help and version."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest

import iii_fast
from iii_fast.cli import main
from iii_fast.cli.address import engine_url
from iii_fast.cli.arguments import UsageError
from iii_fast.cli.pretty import pretty
from iii_fast.cli.trigger import payload

PAYLOADS: list[tuple[list[str], str | None, str]] = [
    ([], None, "{}"),
    ([], " [1] ", " [1] "),
    ([], '"text"', '"text"'),
    (["a=1"], None, '{"a":1}'),
    (["a=1.50"], None, '{"a":1.50}'),
    (["a=1e400"], None, '{"a":1e400}'),
    (["a=" + "9" * 40], None, '{"a":' + "9" * 40 + "}"),
    (["a=true", "b=null"], None, '{"a":true,"b":null}'),
    (['a={"b":[]}'], None, '{"a":{"b":[]}}'),
    (["a=text"], None, '{"a":"text"}'),
    (["a=b=c"], None, '{"a":"b=c"}'),
    (["a="], None, '{"a":""}'),
    (["a= "], None, '{"a":" "}'),
    (['a="3"'], None, '{"a":"3"}'),
    (["a=NaN"], None, '{"a":"NaN"}'),
    (["a=-Infinity"], None, '{"a":"-Infinity"}'),
    (["a=01"], None, '{"a":"01"}'),
    (["a={"], None, '{"a":"{"}'),
    (['a="\\ud800"'], None, '{"a":"\\"\\\\ud800\\""}'),
    (["ä=ö"], None, '{"ä":"ö"}'),
    (["a=1", "a=2"], None, '{"a":2}'),
    (["b=2"], '{"a": 1.0}', '{"a":1.0,"b":2}'),
    (["a=2"], '{"a":1,"c":3}', '{"a":2,"c":3}'),
]


@pytest.mark.parametrize(("pairs", "base", "expected"), PAYLOADS)
def test_payload(pairs: list[str], base: str | None, expected: str) -> None:
    assert payload(pairs, base).decode() == expected


@pytest.mark.parametrize(
    ("pairs", "base", "message"),
    [
        (["a"], None, "`a` is no key=value pair"),
        (["=1"], None, "`=1` is no key=value pair"),
        (["a=1"], "[1]", "--json must be an object beside key=value pairs, it is: array"),
        (["a=1"], "null", "--json must be an object beside key=value pairs, it is: null"),
        ([], "{a:1}", "--json is not JSON: "),
        ([], "NaN", "--json is not JSON: NaN is not a JSON value"),
        ([], "", "--json is not JSON: "),
        (["a=\udcff"], None, "an argument is not UTF-8 text"),
    ],
)
def test_a_bad_payload_is_told(pairs: list[str], base: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        payload(pairs, base)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("address", "port", "environ", "url"),
    [
        (None, None, {}, "ws://localhost:49134"),
        ("engine", None, {}, "ws://engine:49134"),
        (None, 5, {}, "ws://localhost:5"),
        ("::1", 5, {}, "ws://[::1]:5"),
        ("wss://e/path", None, {}, "wss://e/path"),
        (None, None, {"III_URL": "ws://e:1", "III_ENGINE_URL": "ws://f:2"}, "ws://e:1"),
        (None, None, {"III_URL": "", "III_ENGINE_URL": "ws://f:2"}, "ws://f:2"),
        ("engine", None, {"III_URL": "ws://e:1"}, "ws://engine:49134"),
        (None, 5, {"III_URL": "ws://e:1"}, "ws://localhost:5"),
        ("127.0.0.1:49134", None, {}, "ws://127.0.0.1:49134"),
        ("engine.internal:5", None, {}, "ws://engine.internal:5"),
        ("[::1]:5", None, {}, "ws://[::1]:5"),
        ("[::1]", 6, {}, "ws://[::1]:6"),
        ("::1", None, {}, "ws://[::1]:49134"),
        (None, None, {"III_URL": "engine:5"}, "ws://engine:5"),
    ],
)
def test_engine_url(address: str | None, port: int | None, environ: dict[str, str], url: str) -> None:
    assert engine_url(address, port, environ) == url


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trigger"], "name the FUNCTION to call, for example state::list_groups"),
        (["trigger", "f", "x"], "`x` is no key=value pair"),
        (["trigger", "--function-id=f", "g"], "`g` is no key=value pair"),
        (["trigger", "f", "--json={}", "--payload={}"], "--json and --payload are two names of one thing; give one"),
        (["trigger", "f", "--timeout-ms=0"], "--timeout-ms is 0, expected a number of milliseconds above 0"),
        (["trigger", "f", "--port=0"], "--port is 0, expected a number from 1 to 65535"),
        (
            ["trigger", "f", "--address=http://x"],
            "`http://x` is no engine address, expected one like ws://localhost:49134",
        ),
        (["trigger", "f", "--address=ws://x:99999"], "`ws://x:99999` is no engine address"),
        (["trigger", "f", "--address=ws://x", "--port=1"], "--address is a whole URL; write the port in it"),
        (["trigger", "f", "--address=x:1", "--port=1"], "--address has a port already; leave out --port"),
        *(
            (["trigger", "f", f"--address={nonsense}"], f"`{nonsense}` is no engine address, expected one like")
            for nonsense in (
                *("", "x:y", "x:", "x:0", "x:99999"),
                *("[::1", "::gg", "a b", "a/b", "a@b", "a?b", "a..b"),
            )
        ),
        (["trigger", "f", "--address=ws://[::1"], "`ws://[::1` is no engine address"),
        (["trigger", "f", "--address=ws://a..b"], "`ws://a..b` is no engine address"),
        (["trigger", "f", "--address=" + "x" * 300], "is no engine address"),
        (["trigger", "f", "--jsn={}"], "unrecognized arguments: --jsn={}"),
        (["serv"], "unknown command `serv` (did you mean `serve`?)"),
        (["xyzzy"], "unknown command `xyzzy` (known: serve, trigger, t, state, "),
    ],
)
def test_bad_usage_ends_with_status_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("{}", ["{}"]),
        ("[ ]", ["[]"]),
        ("1e400", ["1e400"]),
        ('"a, {b}: \\"[c]\\\\"', ['"a, {b}: \\"[c]\\\\"']),
        ('[1,[],{"a":{}}]', ["[", "  1,", "  [],", "  {", '    "a": {}', "  }", "]"]),
    ],
)
def test_pretty(text: str, lines: list[str]) -> None:
    assert pretty(text) == "\n".join(lines)
    assert json.loads(pretty(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["iii-fast serve", "iii-fast trigger", "state ", "export ", "import ", "examples:"]),
        (
            ["serve", "--help"],
            [
                "--http-port",
                "--strict",
                "config.yaml",
                "III_CONFIG_PATH",
                "III_FAST_PORT",
                "examples:",
            ],
        ),
        (["serve", "--help"], ["--data-dir", "--in-memory", "--salvage", "III_FAST_DATA_DIR", "sync: interval"]),
        (["state", "--help"], ["watch", "@FILE", "--ttl-ms", "III_URL", "examples:"]),
        (["state", "watch", "--help"], ["--since", "scope_deleted", "Ctrl-C", "examples:"]),
        (["export", "--help"], ["jsonl", "msgpack", "--resume", ".progress", "examples:"]),
        (["import", "--help"], ["--from-iii", "--if-absent", "--no-durable", "--resume", "examples:"]),
        (["backup", "--help"], ["DEST", "--data-dir", "III_FAST_DATA_DIR", "examples:"]),
        (["restore", "--help"], ["BACKUP", "--force", "before-restore", "examples:"]),
        (["verify", "--help"], ["DIR", "offset", "examples:"]),
        (["trigger", "--help"], ["key=value", "--timeout-ms", "--function-id", "III_URL", "examples:"]),
    ],
)
def test_help_is_worth_reading(arguments: list[str], words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iii_fast", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    for word in words:
        assert word in done.stdout


def test_version_names_the_backends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"iii-fast": "1.2.3"}.__getitem__)
    assert main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "iii-fast 1.2.3"
    assert lines[1].startswith("  backend native: ")
    assert lines[2] == "  backend reference: available"


def test_version_without_package_metadata(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "iii-fast unknown (not installed)"
    assert iii_fast.__version__ == "unknown (not installed)"
