"""The rules of the house that a machine can hold: who may import whom, how long things get, what must not appear.

ARCHITECTURE.md gives the reasons. A rule that is in the way is changed there and here, in the same commit.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from iii_fast import _core, protocol
from iii_fast.builtins.functions import STATE_FUNCTIONS
from iii_fast.reference import state_calls
from tests import rust_text

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "python" / "iii_fast"

FILE_LINES_MAX: Final = 500
TEST_FILE_LINES_MAX: Final = 800
FUNCTION_LINES_MAX: Final = 60


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control that exist."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    found = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    assert len(found) > 50
    return tuple(path for path in found if path.is_file())


def sources(suffix: str) -> list[Path]:
    found = [path for path in tracked() if path.suffix == suffix]
    assert found, suffix
    return found


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_test(path: Path) -> bool:
    return "tests" in path.relative_to(ROOT).parts


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), named(path))


# Who may import whom (Python)

BELOW: Final = frozenset({"contracts", "protocol", "errors", "config", "clock", "jsontext"})

ROOMS: Final[dict[str, frozenset[str]]] = {
    "errors": frozenset(),
    "protocol": frozenset(),
    "clock": frozenset(),
    "_core": frozenset({"contracts"}),
    "contracts": frozenset({"errors"}),
    "jsontext": frozenset({"protocol", "errors"}),
    "data_directory": frozenset({"contracts", "errors"}),
    "storage_files": frozenset({"errors", "_core"}),
    "config": frozenset({"contracts", "errors", "protocol"}),
    "transport": BELOW,
    "reference": BELOW | {"transport"},
    "native": BELOW | {"transport", "_core"},
    "_backend": BELOW | {"native", "reference"},
    "broker": BELOW,
    "triggers": BELOW | {"broker"},
    "builtins": BELOW | {"broker"},
    "engine": BELOW | {"broker", "triggers", "builtins", "transport", "_backend", "data_directory"},
    "cli": BELOW | {"_backend", "engine", "__init__", "storage_files"},
    "__init__": BELOW | {"engine"},
    "__main__": frozenset({"cli"}),
}
"""Each room with the rooms it may import; only ``_backend`` knows that two backends exist."""

SOCKETS: Final = frozenset({"socket", "ssl", "select", "selectors", "h11", "wsproto", "trio_websocket"})
TRIO_SOCKETS: Final = re.compile(r"socket|Socket|open_tcp|open_ssl|open_unix|serve_|SSL")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """The package's modules by their name below ``iii_fast``."""
    found = {module_of(path): path for path in sources(".py") if path.is_relative_to(PACKAGE)}
    return found | {module_of(path): path for path in sources(".pyi") if path.is_relative_to(PACKAGE)}


def imported(path: Path) -> Iterator[str]:
    """The absolute names that a module imports, wherever the statement stands: ``a.b`` for ``from a import b``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{named(path)}:{node.lineno} imports relatively; absolute names can be searched for"
            )
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_imports(path: Path) -> Iterator[str]:
    """Of the above those of this package, as its modules."""
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package != "iii_fast":
            continue
        inner = rest
        while inner and inner not in modules() and inner != "_core":
            inner = inner.rpartition(".")[0]
        yield inner or "__init__"


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_lives_in_a_room() -> None:
    assert {room(module) for module in modules()} == set(ROOMS)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down(module: str) -> None:
    for other in own_imports(modules()[module]):
        assert room(other) == room(module) or room(other) in ROOMS[room(module)], f"{module} imports {other}"


def test_the_arrows_have_no_cycle() -> None:
    left = dict(ROOMS)
    while left:
        free = [name for name, below in left.items() if not below & set(left)]
        assert free, f"a cycle among {sorted(left)}"
        for name in free:
            del left[name]


def test_nothing_is_imported_by_a_made_up_name() -> None:
    for path in modules().values():
        calls = [ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        assert not {"__import__", "import_module", "importlib.import_module"} & set(calls), named(path)


def test_trigger_types_do_not_know_each_other() -> None:
    types = [other for other in own_imports(PACKAGE / "triggers" / "__init__.py") if room(other) == "triggers"]
    families = {other.removeprefix("triggers.") for other in types}
    assert {"http", "cron", "queue", "state"} <= families

    def family(module: str) -> str | None:
        name = module.removeprefix("triggers.")
        return next((one for one in families if name == one or name.startswith(f"{one}_")), None)

    for module, path in modules().items():
        if room(module) == "triggers" and module != "triggers":
            for other in own_imports(path):
                if room(other) == "triggers" and family(other) is not None:
                    assert family(other) == family(module), f"{module} imports {other}"


@pytest.mark.parametrize("closed", ["triggers", "builtins", "broker", "config", "contracts", "clock"])
def test_sockets_stay_outside(closed: str) -> None:
    paths = [path for module, path in modules().items() if room(module) == closed]
    assert paths
    for path in paths:
        for name in imported(path):
            assert name.partition(".")[0] not in SOCKETS, f"{named(path)} imports {name}"
            assert not (name.startswith("trio.") and TRIO_SOCKETS.search(name)), f"{named(path)} imports {name}"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "trio" and closed != "contracts":
                assert not TRIO_SOCKETS.search(node.attr), f"{named(path)}:{node.lineno} uses trio.{node.attr}"


# Who may depend on whom (Rust)

CRATES: Final = {
    "core": frozenset[str](),
    "reactor": frozenset({"iii-fast-core"}),
    "journal": frozenset({"iii-fast-core"}),
}
"""The crates below the door, with those of ours that they may depend on."""

FILES: Final = re.compile(r"\bstd::(?:fs|path)\b|\brustix::fs\b|\bstd::\{[^;]*\bfs\b")
OUTSIDE_CORE: Final = frozenset({"pyo3", "rustix", "libc", "mio", "polling", "socket2", "tokio", "crossbeam", "rayon"})
NOT_IN_CORE: Final = re.compile(
    r"\bpyo3\b|\brustix\b|\blibc\b|\bstd::(?:net|fs|thread|process|os|env|io::std)\b|\b(?:Instant|SystemTime)\b"
    r"|\bstd::\{[^;]*\b(?:net|fs|thread|process|os|env)\b"
)


def dependencies(manifest: Path) -> set[str]:
    content = tomllib.loads(manifest.read_text("utf-8"))
    return set(content.get("dependencies", {})) | set(content.get("build-dependencies", {}))


def test_crates_point_down() -> None:
    for crate, below in CRATES.items():
        found = dependencies(ROOT / f"rust/{crate}/Cargo.toml")
        assert {one for one in found if one.startswith("iii-fast")} == below, crate
        assert "pyo3" not in found, crate
        assert crate != "core" or not found & OUTSIDE_CORE
    assert {"iii-fast-core", "iii-fast-reactor", "pyo3"} <= dependencies(ROOT / "rust/py/Cargo.toml")


def product_code(path: Path) -> str:
    """Rust code without comments, strings and tests."""
    return rust_text.without_tests(rust_text.code(path.read_text("utf-8")))


def rust_sources(*below: str) -> list[Path]:
    return [path for path in sources(".rs") if any(path.is_relative_to(ROOT / one) for one in below)]


def test_the_core_knows_no_world() -> None:
    for path in rust_sources("rust/core/src"):
        found = NOT_IN_CORE.search(product_code(path))
        assert found is None, f"{named(path)} uses {found.group()}"


def test_unsafe_is_in_the_door_only() -> None:
    for path in sources(".rs"):
        if not path.is_relative_to(ROOT / "rust/py"):
            assert not re.search(r"\bunsafe\b", rust_text.code(path.read_text("utf-8"))), named(path)
    for manifest in (ROOT / f"rust/{crate}/Cargo.toml" for crate in CRATES):
        assert tomllib.loads(manifest.read_text("utf-8"))["lints"] == {"workspace": True}
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]
    assert workspace["lints"]["rust"]["unsafe_code"] == "forbid"


def test_files_are_opened_in_the_journal_only() -> None:
    for path in rust_sources("rust/core/src", "rust/reactor/src"):
        found = FILES.search(product_code(path))
        assert found is None, f"{named(path)} uses {found.group()}"


def test_product_code_does_not_give_up() -> None:
    for path in rust_sources("rust/core/src", "rust/journal/src", "rust/reactor/src", "rust/py/src"):
        found = re.search(r"\.unwrap\(\)|\.expect\(|\b(?:panic|todo|unimplemented)!", product_code(path))
        assert found is None, f"{named(path)} has {found.group()}"


# How long things get


def test_files_stay_readable() -> None:
    for path in [*sources(".py"), *sources(".rs")]:
        most = TEST_FILE_LINES_MAX if is_test(path) else FILE_LINES_MAX
        assert len(path.read_text("utf-8").splitlines()) <= most, named(path)


def test_python_functions_stay_readable() -> None:
    for path in sources(".py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= FUNCTION_LINES_MAX, f"{named(path)}: {node.name} has {lines} lines"


def test_rust_functions_stay_readable() -> None:
    seen = 0
    for path in sources(".rs"):
        for function in rust_text.functions(rust_text.code(path.read_text("utf-8"))):
            seen += 1
            assert function.lines <= FUNCTION_LINES_MAX, f"{named(path)}: {function.name} has {function.lines} lines"
    assert seen > 200


def test_modules_say_what_they_are_for() -> None:
    for path in [*modules().values(), *(path for path in sources(".py") if is_test(path))]:
        if path.read_text("utf-8").strip():
            assert ast.get_docstring(tree(path)), named(path)
    for path in rust_sources("rust/core/src", "rust/journal/src", "rust/reactor/src", "rust/py/src"):
        assert path.read_text("utf-8").startswith("//!"), named(path)


# What must not appear

MAY_SLEEP: Final = {
    "tests/support/polling.py": "between two looks at another process, up to a deadline",
    "tests/contract/test_shutdown.py": "between two looks at another process, up to a deadline",
    "tests/triggers/bench.py": "a clock for tests on virtual time",
}
VIRTUAL_CLOCKS: Final = frozenset({"autojump_clock", "mock_clock"})
"""Fixtures under which sleeping costs no time and races with nothing."""


def real_sleeps(node: ast.AST) -> Iterator[int]:
    """Lines that sleep in real time: not inside a function that asks for a virtual clock."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if VIRTUAL_CLOCKS & {argument.arg for argument in child.args.args}:
                continue
        elif isinstance(child, ast.Call) and ast.unparse(child.func).rpartition(".")[2] in {"sleep", "sleep_until"}:
            yield child.lineno
        yield from real_sleeps(child)


def test_tests_do_not_wait_by_sleeping() -> None:
    for path in sources(".py"):
        if is_test(path) and named(path) not in MAY_SLEEP:
            assert list(real_sleeps(tree(path))) == [], named(path)
    for path in sources(".rs"):
        if is_test(path) and path.is_relative_to(ROOT / "rust"):
            assert "sleep(" not in rust_text.code(path.read_text("utf-8")), named(path)


LOCK_FILES: Final = frozenset({"Cargo.lock", "package-lock.json"})
"""Written by package managers, which put the address of their registry in."""

MACHINE: Final = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|Users)/\w")
REGISTRIES: Final = re.compile(r"\bpypi\.org|\bpythonhosted\.org|\bnpmjs\.(?:org|com)|\bcrates\.io")
WORKSHOP: Final = re.compile(
    r"(?<!user-)(?<!user_)\b(?:sub)?agents?\b|\bLLM\b|\bclaude\b|\banthropic\b|\bcopilot\b|\bchatgpt\b"
    r"|\bissues?\s*(?:#|no\.?)?\s*\d|\bcolleagues?\b|\bcommon brief\b",
    re.IGNORECASE,
)


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        if path == Path(__file__).resolve():
            continue  # the one file that has to spell the words
        try:
            yield path, path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def test_files_are_about_the_product() -> None:
    for path, text in texts():
        rules = [MACHINE, WORKSHOP] if path.name in LOCK_FILES else [MACHINE, WORKSHOP, REGISTRIES]
        for rule in rules:
            found = rule.search(text)
            line = text.count("\n", 0, found.start()) + 1 if found else 0
            assert found is None, f"{named(path)}:{line} has {found.group()!r}"


# One list of names on both sides

CONTROL_PLANE_CODES: Final = frozenset(
    {
        protocol.Code.ENQUEUE_ERROR,
        protocol.Code.TOPIC_NOT_SET,
        protocol.Code.NOT_FOUND,
        protocol.Code.TRIGGER_REGISTRATION_FAILED,
        protocol.Code.NOT_SUPPORTED,
        protocol.Code.TIMEOUT,
        protocol.Code.TOO_MANY_WATCHES,
        protocol.Code.INTERNAL_ERROR,
    }
)
"""Codes that only the control plane, which is Python on both backends, produces."""


def test_both_sides_have_the_same_error_codes() -> None:
    codes = _core.error_codes()
    assert len(codes) == len(set(codes))
    assert set(codes) == set(protocol.Code) - CONTROL_PLANE_CODES


def test_every_code_of_the_core_is_in_its_list() -> None:
    text = (ROOT / "rust/core/src/error.rs").read_text("utf-8")
    assert re.findall(r'pub const \w+: &str = "([^"]+)";', text) == _core.error_codes()


def test_both_sides_hand_up_the_same_messages() -> None:
    assert sorted(_core.control_kinds()) == sorted(protocol.CONTROL_KINDS)


def test_both_sides_have_the_same_state_functions() -> None:
    served = re.search(r"^calls! \{\n(.*?)^\}", (ROOT / "rust/core/src/state/calls.rs").read_text("utf-8"), re.S | re.M)
    assert served is not None
    native = [f"state::{name}" for name in re.findall(r'^ +\w+ "(.+?)" \[', served[1], re.M)]
    assert sorted(native) == sorted(state_calls.STATE_FUNCTIONS) == sorted(STATE_FUNCTIONS)


def test_both_sides_nest_equally_deep() -> None:
    text = (ROOT / "rust/core/src/limits.rs").read_text("utf-8")
    found = re.search(r"pub const JSON_DEPTH_MAX: usize = (\d+);", text)
    assert found is not None
    assert int(found[1]) == protocol.JSON_DEPTH_MAX


# The rules' own eyes

RUST: Final = r"""
fn first<'a>(x: &'a str) -> char { // } fn no() {
    let _ = ("{ fn no() {", r#"unsafe " {"#, b"\"{", '{', '\'', b'{', '\u{7b}');
    /* unsafe { */ 'x'
}
trait T { fn declared(&self) -> [u8; 4]; }
#[cfg(test)]
#[allow(dead_code)]
mod tests {
    fn third() { a.unwrap() }
}
fn last() {
}
"""


def test_the_reader_of_rust_is_not_fooled() -> None:
    masked = rust_text.code(RUST)
    found = [(one.name, one.line, one.lines) for one in rust_text.functions(masked)]
    assert found == [("first", 2, 4), ("third", 10, 1), ("last", 12, 2)]
    assert "unsafe" not in masked
    assert "unwrap" in masked
    assert "unwrap" not in rust_text.without_tests(masked)
    assert "fn last" in rust_text.without_tests(masked)


def test_the_eye_for_sleeps_knows_virtual_time() -> None:
    text = "async def real():\n await trio.sleep(1)\nasync def virtual(autojump_clock):\n await trio.sleep(1)\n"
    assert list(real_sleeps(ast.parse(text))) == [2]


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (MACHINE, 'path = "/tmp/x"', "https://a.test/tmp/x"),
        (MACHINE, "see /work/main", "network/work"),
        (REGISTRIES, "https://pypi.org/x", "happy.organic"),
        (WORKSHOP, "written by an agent", "the user-agent header"),
        (WORKSHOP, "as issue 3 says", "issues an id"),
        (NOT_IN_CORE, "use std::{fmt, net};", "use std::{fmt, sync};"),
        (NOT_IN_CORE, "let x = Instant::now();", "let x = instantly();"),
    ],
)
def test_the_rules_see_what_they_look_for(rule: re.Pattern[str], bad: str, good: str) -> None:
    assert rule.search(bad)
    assert not rule.search(good)
