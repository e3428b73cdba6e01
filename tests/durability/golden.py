"""Small files of state, written by hand from docs/storage.md: what both backends must read, and how they must write.

Each line is a header or a record. Checksums were computed bit by bit, with no code of either backend.
"""

from __future__ import annotations

from typing import Final

FAR: Final = 0x1FFFFFFFFFF000
"""A time that will not come (Unix ms)."""


def _file(text: str) -> bytes:
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


SEGMENT_NAME: Final = "journal-00000000000000000001.log"
SEGMENT_HEADER: Final = _file("494949464153544a 02000000 00000000 0100000000000000 1a630c92 00000000")
MARK_0: Final = _file("08000000 7b56d8a5 02 02 0000 0000000000000000 0000000000000000")
COMMIT_2: Final = _file("""
    1b000000 2308952e 01 02 0000 0200000000000000
    01 03 01 73 01 6b 00f0ffffffff1f00 01 31  # set s/k 1, created, expires
    01 01 01 73 02 c3a9 03 227822             # set s/é "x", created
""")
COMMIT_3: Final = _file("08000000 5db86149 01 02 0000 0300000000000000 01 00 01 73 01 6b 01 32  # set s/k 2")
MARK_3: Final = _file("08000000 e1b1646d 02 02 0000 0300000000000000 0300000000000000")
COMMIT_4: Final = _file("07000000 00970bfb 01 02 0000 0400000000000000 01 01 01 74 00 01 30  # set t/'' 0, created")
COMMIT_5: Final = _file("06000000 1a158ec9 01 02 0000 0500000000000000 02 01 73 02 c3a9  # delete s/é")
COMMIT_6: Final = _file("05000000 b3ff2704 01 02 0000 0600000000000000 03 01 73 01 6b  # expire s/k")
COMMIT_7: Final = _file("03000000 b620914d 01 02 0000 0700000000000000 04 01 74  # delete scope t")
CLOSE_7: Final = _file("00000000 7a55a4a9 03 02 0000 0700000000000000")

UP_TO_4: Final = SEGMENT_HEADER + MARK_0 + COMMIT_2 + COMMIT_3 + MARK_3 + COMMIT_4
SEGMENT: Final = UP_TO_4 + COMMIT_5 + COMMIT_6 + COMMIT_7 + CLOSE_7

SNAPSHOT_NAME: Final = "snapshot-00000002-00000.snap"
SNAPSHOT_HEADER: Final = _file("""
    4949494641535453 02000000 02000000 00000000 01000000 2c01000000000000 6ebc907d
    00000000 00000000 00000000
""")
ENTRIES: Final = _file("""
    1f000000 298a9773 10 02 0000 2c01000000000000
    02 01 73 01 6b 00f0ffffffff1f00 ac02 01 01 31  # s/k: expires, version 300, insertion 1, value 1
    00 00 02 c3a9 06 8001 04 6e756c6c              # ''/é: version 6, insertion 128, value null
""")
END: Final = _file("08000000 827b4c10 11 02 0000 2c01000000000000 0200000000000000")
SNAPSHOT: Final = SNAPSHOT_HEADER + ENTRIES + END

BEHIND_NAME: Final = "journal-00000000000000000301.log"
BEHIND: Final = _file("""
    494949464153544a 02000000 00000000 2d01000000000000 fcac2994 00000000
    08000000 2eb6dea7 02 02 0000 2c01000000000000 2c01000000000000
    08000000 6fd8c36c 01 02 0000 2d01000000000000 01 01 01 74 01 6b 01 32  # set t/k 2, created
""")

JOURNAL_ONLY: Final = {SEGMENT_NAME: UP_TO_4}
"""A directory without a snapshot: s/k 2, s/é "x", t/'' 0, at position 4; its engine was killed."""
WITH_SNAPSHOT: Final = {SNAPSHOT_NAME: SNAPSHOT, BEHIND_NAME: BEHIND}
"""A directory with one: s/k 1, ''/é null, t/k 2, at position 301."""
