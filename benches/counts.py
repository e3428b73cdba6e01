"""``make bench-check``: instructions that the core takes for its work, against a baseline. A count has no noise.

A count may grow by 5 %. The baseline lies beside this file, for each architecture; ``--renew`` writes it anew, after a
change that is worth its instructions or a new compiler. Exit status: 0; 1 when a count has grown too much; 2 when
nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benches.processes import BenchError, build

BASELINE: Final = Path(__file__).with_name("counts.json")
GROWTH_MAX: Final = 1.05
MEASURED: Final = "*measured*"
"""The function around what counts, in ``benches/core``."""


def count(binary: str, name: str) -> int:
    """Instructions of one piece of work. Raises ``BenchError`` when it fails, as it does after a wrong answer."""
    with tempfile.TemporaryDirectory() as place:
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/out"]
        only = ["--collect-atstart=no", f"--toggle-collect={MEASURED}"]
        done = subprocess.run([*tool, *only, binary, name], capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None or int(found[1]) == 0:
        raise BenchError(f"{name} could not be counted ({done.returncode}):\n{done.stderr}")
    return int(found[1])


def counted(names: Sequence[str] = ()) -> dict[str, int]:
    """The counts of the work of those names, of all without any."""
    if shutil.which("valgrind") is None:
        raise BenchError("valgrind is not on the path: it counts the instructions (apt-get install valgrind)")
    binary = build("iii-fast-core-benches")
    known = subprocess.run([binary], capture_output=True, text=True, check=True).stdout.split()
    return {name: count(binary, name) for name in names or known}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One count against its baseline, ``None`` if there is none."""

    name: str
    instructions: int
    baseline: int | None

    @property
    def ratio(self) -> float | None:
        """Of the count by the baseline."""
        return self.instructions / self.baseline if self.baseline else None

    @property
    def good(self) -> bool:
        """Whether there is a baseline and the count is at most 5 % above it."""
        return self.ratio is not None and self.ratio <= GROWTH_MAX

    def __str__(self) -> str:
        change = "no baseline" if self.ratio is None else f"{self.ratio - 1:+.2%}"
        return f"{self.name:20} {self.instructions:>12,}  {change}{'' if self.good else '  TOO MANY'}"


def verdicts(counts: Mapping[str, int], baseline: Mapping[str, int]) -> list[Verdict]:
    """In the order of the counts."""
    return [Verdict(name, instructions, baseline.get(name)) for name, instructions in counts.items()]


def rustc() -> str:
    """The compiler's version: another one makes other instructions."""
    return subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


def main(words: Sequence[str] | None = None) -> int:
    """Counts and compares, or renews the baseline."""
    parser = argparse.ArgumentParser(prog="make bench-check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renew", action="store_true", help="write the baseline of this architecture anew")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="some of the work")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="(%(default)s)")
    options = parser.parse_args(words)
    try:
        counts = counted(options.only)
        saved = json.loads(options.baseline.read_text()) if options.baseline.is_file() else {}
    except (BenchError, ValueError) as error:
        print(f"bench-check: {error}", file=sys.stderr)
        return 2
    machine = platform.machine()
    if options.renew:
        saved[machine] = {"rustc": rustc(), "instructions": counts}
        options.baseline.write_text(json.dumps(saved, indent=1) + "\n")
        print(f"{options.baseline.name}: {len(counts)} counts for {machine}")
        return 0
    if machine not in saved:
        print(f"bench-check: no baseline for {machine}; make one with --renew", file=sys.stderr)
        return 2
    found = verdicts(counts, saved[machine]["instructions"])
    print(*found, sep="\n")
    if saved[machine]["rustc"] != rustc():
        print(
            f"The baseline is of rustc {saved[machine]['rustc']}, this is {rustc()}: if nothing else is new, renew it."
        )
    return 0 if all(one.good for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
