"""The commands for state with running engines: what one exports the other imports, whatever is cut in between."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgpack
import pytest

from tests.cli.limited_proxy import limited_proxy
from tests.cli.outcome import Outcome, run
from tests.support.cutting_proxy import CuttingProxy
from tests.support.deadlines import RECONNECT_S, START_S
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.line_process import LineProcess
from tests.support.naming import unique
from tests.support.polling import eventually

EXPIRES_AT: Final = 4_000_000_000_000


@pytest.fixture(scope="module", params=BACKENDS)
def backends(request: pytest.FixtureRequest) -> tuple[str, str]:
    """One way and the other."""
    first, second = BACKENDS
    return (first, second) if request.param == first else (second, first)


@pytest.fixture(scope="module")
def source(backends: tuple[str, str]) -> Generator[EngineProcess]:
    with EngineProcess(backends[0], "--in-memory") as engine:
        yield engine


@pytest.fixture(scope="module")
def target(backends: tuple[str, str]) -> Generator[EngineProcess]:
    with EngineProcess(backends[1], "--in-memory") as engine:
        yield engine


def address(engine: EngineProcess) -> str:
    return f"{engine.worker[0]}:{engine.worker[1]}"


async def command(capsys: pytest.CaptureFixture[str], at: str, *arguments: str) -> Outcome:
    return await run(capsys, *arguments, "--address", at)


def lines_of(scope: str, count: int, values: list[str]) -> str:
    def line(at: int) -> str:
        expiry = f',"expires_at":{EXPIRES_AT + at}' if at % 3 == 0 else ""
        return f'{{"scope":"{scope}","key":"k{at}","value":{values[at % len(values)]}{expiry}}}\n'

    return "".join(line(at) for at in range(count))


TEXTS: Final = [
    "null",
    "[ 1.50,1E2 ]",
    "123456789012345678901",
    '{"a":1,"a":{"ä":"\\u00e4"}}',
    "1e400",
    "[" * 118 + "]" * 118,
]
EXACT: Final = ["null", "[1.5,100.0]", "18446744073709551615", '{"a":1,"b":{"ä":"𝄞"}}', "[" * 110 + "]" * 110]


@pytest.mark.parametrize(("chosen", "values"), [("jsonl", TEXTS), ("msgpack", EXACT)])
async def test_round_trip(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    source: EngineProcess,
    target: EngineProcess,
    chosen: str,
    values: list[str],
) -> None:
    scopes = sorted(unique(f"round-{at}") for at in range(2))
    only = [word for scope in scopes for word in ("--scope", scope)]
    given, first, second = tmp_path / "given", tmp_path / "first", tmp_path / "second"
    given.write_text("".join(lines_of(scope, 1_200, values) for scope in scopes))
    outcome = await command(capsys, address(source), "import", str(given))
    assert outcome.status == 0, outcome.err
    assert outcome.err.endswith("imported 2400 entries\n")
    assert (await command(capsys, address(source), "export", str(first), "--format", chosen, *only)).status == 0
    outcome = await command(capsys, address(target), "import", str(first), "--format", chosen)
    assert outcome.status == 0, outcome.err
    assert (await command(capsys, address(target), "export", str(second), *only)).status == 0
    assert second.read_text() == given.read_text()


@pytest.mark.deadline(60)
@pytest.mark.parametrize("chosen", ["jsonl", "msgpack"])
async def test_cut_off_and_continued(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: EngineProcess, target: EngineProcess, chosen: str
) -> None:
    scope = unique("cut")
    given, path, back = tmp_path / "given", tmp_path / "path", tmp_path / "back"
    given.write_text(lines_of(scope, 8_000, [json.dumps("x" * 600), "1", '{"a":[true,0.5]}']))
    assert (await command(capsys, address(source), "import", str(given))).status == 0
    export = ["export", str(path), "--format", chosen, "--scope", scope]
    async with limited_proxy(source.worker, down_bytes_max=1_200_000) as weak:
        outcome = await command(capsys, weak, *export)
        assert (outcome.status, "not complete: " in outcome.err) == (1, True), outcome.err
        outcome = await command(capsys, weak, *export, "--resume")
        assert (outcome.status, "not complete: " in outcome.err) == (1, True), outcome.err
    with path.open("ab") as file:
        file.write(b"torn")
    outcome = await command(capsys, address(source), *export, "--resume")
    assert (outcome.status, "exported 8000 entries" in outcome.err) == (0, True), outcome.err
    import_ = ["import", str(path), "--format", chosen]
    # About 270 bytes an entry: more than can be under way at a time, less than all of them.
    async with limited_proxy(target.worker, up_bytes_max=1_800_000) as weak:
        outcome = await command(capsys, weak, *import_)
        assert (outcome.status, "not complete: 0 " in outcome.err) == (1, False), outcome.err
    outcome = await command(capsys, address(target), *import_, "--resume")
    assert outcome.status == 0, outcome.err
    assert " by the import that was interrupted" in outcome.err
    assert "imported 8000" not in outcome.err
    assert (await command(capsys, address(target), "export", str(back), "--scope", scope)).status == 0
    assert back.read_text() == given.read_text()


async def test_large_entries_pass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: EngineProcess, target: EngineProcess
) -> None:
    scope, given, first, second = unique("large"), tmp_path / "given", tmp_path / "first", tmp_path / "second"
    sizes = [10, 2_000_000, 10, 17_000_000, 10, 10]
    values = [json.dumps("x" * size) for size in sizes]
    given.write_text("".join(lines_of(scope, len(values), values)))
    assert (await command(capsys, address(source), "import", str(given))).status == 0
    assert (await command(capsys, address(source), "export", str(first), "--scope", scope)).status == 0
    assert (await command(capsys, address(target), "import", str(first))).status == 0
    assert (await command(capsys, address(target), "export", str(second), "--scope", scope)).status == 0
    assert second.read_text() == given.read_text()


async def test_entries_that_are_there_are_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: EngineProcess
) -> None:
    scope, path = unique("absent"), tmp_path / "in"
    path.write_text(lines_of(scope, 300, ["1"]))
    await command(capsys, address(source), "state", "set", scope, "k7", "true")
    outcome = await command(capsys, address(source), "import", str(path), "--if-absent")
    assert outcome.err.endswith("imported 299 entries, 1 were there already\n")
    outcome = await command(capsys, address(source), "state", "get", scope, "k7")
    assert outcome.out == "true\n"


async def test_the_original_engines_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: EngineProcess
) -> None:
    scope = unique("original/ä")
    name = scope.replace("/", "%2F").replace("ä", "%C3%A4")
    (tmp_path / f"{name}.bin").write_bytes('{"b":1.50,"a":{"ä": [ ]}}'.encode() + bytes(5) + bytes(8))
    assert (await command(capsys, address(source), "import", "--from-iii", str(tmp_path))).status == 0
    outcome = await command(capsys, address(source), "export", "--scope", scope)
    assert outcome.out == (
        f'{{"scope":"{scope}","key":"b","value":1.50}}\n{{"scope":"{scope}","key":"a","value":{{"ä": [ ]}}}}\n'
    )


async def test_the_actions_of_state(capsys: pytest.CaptureFixture[str], source: EngineProcess) -> None:
    scope = unique("actions")

    async def state(*arguments: str) -> str:
        outcome = await command(capsys, address(source), "state", arguments[0], scope, *arguments[1:])
        assert outcome.status == 0, outcome.err
        return outcome.out

    assert json.loads(await state("set", "b", "[1.50]")) == {"old_value": None, "new_value": [1.5]}
    await state("set", "a", '"x"', "--ttl-ms", "600000")
    assert json.loads(await state("get", "a", "--meta"))["expires_at"] > 0
    assert json.loads(await state("list")) == [[1.5], "x"]
    assert await state("keys") == "b\na\n"
    assert await state("keys", "--prefix", "a", "--json") == '"a"\n'
    assert await state("delete", "a") == '"x"\n'
    outcome = await command(capsys, address(source), "state", "get", scope, "a")
    assert (outcome.status, outcome.out, outcome.err) == (1, "", f'there is no key "a" in scope "{scope}"\n')
    await state("set", "a", "null")
    assert await state("get", "a") == "null\n"
    outcome = await command(capsys, address(source), "state", "set", scope, "k", "1", "--durable")
    assert (outcome.status, "error DURABILITY_UNAVAILABLE: " in outcome.err) == (1, True)


@pytest.mark.deadline(90)
def test_watch_misses_nothing_while_the_connection_is_away(source: EngineProcess) -> None:
    scope = unique("watched")

    def set_(key: str) -> None:
        words = ["state", "set", scope, key, "1", "--address", address(source)]
        with LineProcess([sys.executable, "-m", "iii_fast", *words]) as process:
            assert process.wait(START_S) == 0, process.lines

    def begun() -> None:
        set_("begin")
        assert any('"key":"begin"' in line for line in watch.lines)

    with CuttingProxy(source.worker) as proxy:
        words = ["state", "watch", scope, "--address", f"127.0.0.1:{proxy.address[1]}"]
        with LineProcess([sys.executable, "-m", "iii_fast", *words]) as watch:
            eventually(begun, timeout_s=START_S)
            proxy.refuse()
            proxy.cut()
            watch.wait_for(lambda line: "trying again, from position" in line, START_S)
            for at in range(3):
                set_(f"away-{at}")
            proxy.listen(source.worker)
            watch.wait_for(lambda line: '"key":"away-2"' in line, RECONNECT_S)
            watch.signal(signal.SIGINT)
            assert watch.wait(START_S) == 0
            changes = [json.loads(line) for line in watch.lines if line.startswith("{")]
    away = [change for change in changes if change["key"] != "begin"]
    assert [change["key"] for change in away] == ["away-0", "away-1", "away-2"]
    positions = [change["position"] for change in changes]
    assert positions == sorted(set(positions))
    assert watch.lines[-1] == f"position {positions[-1]}; go on with --since {positions[-1]}"


async def test_values_that_json_does_not_have(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: EngineProcess, target: EngineProcess
) -> None:
    scope = unique("foreign")
    values = [1, {"photo": b"\x00\xff", "n": 2**64 - 1}, [msgpack.Timestamp(7)], {5: float("inf")}, "text", b""]
    maps: list[dict[str, object]] = [
        {"scope": scope, "key": f"k{at}", **({"expires_at": EXPIRES_AT} if at % 2 else {}), "value": value}
        for at, value in enumerate(values)
    ]
    given, lines, first, second = (tmp_path / name for name in ("given", "lines", "first", "second"))
    given.write_bytes(b"".join(map(msgpack.packb, maps)))
    outcome = await command(capsys, address(source), "import", str(given), "--format", "msgpack")
    assert (outcome.status, outcome.err.splitlines()[-1]) == (0, "imported 6 entries")
    outcome = await command(capsys, address(source), "export", str(lines), "--scope", scope)
    assert outcome.status == 1
    problem = "`value.photo` is binary, which JSON cannot express"
    assert f"scope '{scope}', key 'k1': {problem}; export with --format msgpack\n" in outcome.err
    outcome = await command(capsys, address(source), "state", "get", scope, "k2")
    assert outcome.status == 1
    assert "`result.value[0]` is a timestamp, which JSON cannot express" in outcome.err
    for engine, path in ((source, first), (target, second)):
        if engine is target:
            arguments = ["import", str(first), "--format", "msgpack", "--if-absent"]
            assert (await command(capsys, address(target), *arguments)).status == 0
        outcome = await command(capsys, address(engine), "export", str(path), "--format", "msgpack", "--scope", scope)
        assert outcome.status == 0, outcome.err
        with path.open("rb") as file:
            found = list(msgpack.Unpacker(file, strict_map_key=False))
        assert found == maps
