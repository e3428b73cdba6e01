"""Profiles are read as perf writes them, and a machine without perf is told so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benches import profile
from benches.profile import Sampled

REPORT = """\
# Samples: 6K of event 'cpu-clock:pppH'
# Overhead|Shared Object                         |Symbol
 13.25%  |lib_core.so                           |[.] iii_fast_core::state::calls::serve
 7.50%   |libc.so.6                             |[.] __memmove_avx512_unaligned_erms
 5.25%   |[kernel.kallsyms]                      |[k] tcp_ack
 1.00%   |lib_core.so                           |[.] core::ptr::drop_in_place<iii_fast_core::state::answer::Answer>
 0.75%   |lib_core.so                           |[.] memchr::arch::x86_64::avx2::memchr::One::find_raw
 0.25%   |lib_core.so                           |[.] <iii_fast_core::session::Inbound<R> as core::x::Y>::message
 0.25%   |[vdso]                                |[.] __vdso_clock_gettime
""".splitlines()


def test_what_perf_reports_is_read() -> None:
    found = list(profile.parsed(REPORT))
    assert len(found) == 7
    assert found[0] == Sampled(13.25, "lib_core.so", "iii_fast_core::state::calls::serve")
    assert found[2] == Sampled(5.25, "kernel", "tcp_ack")


def test_functions_belong_to_rooms_of_ours_to_crates_libraries_or_the_kernel() -> None:
    assert profile.by_part(profile.parsed(REPORT)) == [
        ("iii_fast_core::state", 14.25),
        ("libc.so.6", 7.5),
        ("kernel", 5.25),
        ("memchr", 0.75),
        ("others", 0.5),
    ]


def test_without_perf_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert profile.main([]) == 2
    assert "apt-get install linux-perf" in capsys.readouterr().err


@pytest.mark.deadline(600)
@pytest.mark.skipif(shutil.which("perf") is None, reason="perf takes the samples, and is not installed")
def test_a_real_profile_names_functions_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile, "RECORDINGS", tmp_path)
    assert profile.main(["state-16x16", "--seconds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "iii_fast_core::state::" in printed
    assert str(tmp_path / "state-16x16-native.data") in printed
