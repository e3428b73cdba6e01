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
SEGMENT_NUMBER: Final = 0x1122334455667788
SEGMENT_HEADER: Final = _file("""
    494949464153544a 03000000 00000000 0100000000000000 e46e0060
    8877665544332211 c1561108
""")
MARK_0: Final = _file("10000000 8cf33c77 02 03 0000 0000000000000000 0000000000000000 8877665544332211")
COMMIT_2: Final = _file("""
    1b000000 03a81a6d 01 03 0000 0200000000000000
    01 03 01 73 01 6b 00f0ffffffff1f00 01 31  # set s/k 1, created, expires
    01 01 01 73 02 c3a9 03 227822             # set s/é "x", created
""")
COMMIT_3: Final = _file("08000000 baf45af0 01 03 0000 0300000000000000 01 00 01 73 01 6b 01 32  # set s/k 2")
MARK_3: Final = _file("10000000 1ca2f8af 02 03 0000 0300000000000000 0300000000000000 8877665544332211")
COMMIT_4: Final = _file("07000000 2b9562f4 01 03 0000 0400000000000000 01 01 01 74 00 01 30  # set t/'' 0, created")
COMMIT_5: Final = _file("06000000 45c96a96 01 03 0000 0500000000000000 02 01 73 02 c3a9  # delete s/é")
COMMIT_6: Final = _file("05000000 4df22bf6 01 03 0000 0600000000000000 03 01 73 01 6b  # expire s/k")
COMMIT_7: Final = _file("03000000 f0759619 01 03 0000 0700000000000000 04 01 74  # delete scope t")
CLOSE_7: Final = _file("08000000 a5c22ddd 03 03 0000 0700000000000000 8877665544332211")

UP_TO_4: Final = SEGMENT_HEADER + MARK_0 + COMMIT_2 + COMMIT_3 + MARK_3 + COMMIT_4
SEGMENT: Final = UP_TO_4 + COMMIT_5 + COMMIT_6 + COMMIT_7 + CLOSE_7

SNAPSHOT_NAME: Final = "snapshot-00000002-00000.snap"
SNAPSHOT_HEADER: Final = _file("""
    4949494641535453 03000000 02000000 00000000 01000000 2c01000000000000 e07edfc7
    00000000 00000000 00000000
""")
ENTRIES: Final = _file("""
    1f000000 b90c4080 10 03 0000 2c01000000000000
    02 01 73 01 6b 00f0ffffffff1f00 ac02 01 01 31  # s/k: expires, version 300, insertion 1, value 1
    00 00 02 c3a9 06 8001 04 6e756c6c              # ''/é: version 6, insertion 128, value null
""")
END: Final = _file("08000000 653777a9 11 03 0000 2c01000000000000 0200000000000000")
SNAPSHOT: Final = SNAPSHOT_HEADER + ENTRIES + END

BEHIND_NAME: Final = "journal-00000000000000000301.log"
BEHIND_HEADER: Final = _file("""
    494949464153544a 03000000 00000000 2d01000000000000 02a12566
    00ffeeddccbbaa99 75ffc96b
""")
MARK_300: Final = _file("10000000 2ba56a49 02 03 0000 2c01000000000000 2c01000000000000 00ffeeddccbbaa99")
COMMIT_301: Final = _file("""
    08000000 8894f8d5 01 03 0000 2d01000000000000 01 01 01 74 01 6b 01 32  # set t/k 2, created
""")
BEHIND: Final = BEHIND_HEADER + MARK_300 + COMMIT_301

VERSION_2: Final = _file("494949464153544a 02000000 00000000 0100000000000000 1a630c92 00000000")
"""What was there before segments had numbers: a segment with nothing in it, and the header of a snapshot."""
SNAPSHOT_VERSION_2: Final = _file("""
    4949494641535453 02000000 02000000 00000000 01000000 2c01000000000000 6ebc907d
    00000000 00000000 00000000
""")

JOURNAL_ONLY: Final = {SEGMENT_NAME: UP_TO_4}
"""A directory without a snapshot: s/k 2, s/é "x", t/'' 0, at position 4; its engine was killed."""
WITH_SNAPSHOT: Final = {SNAPSHOT_NAME: SNAPSHOT, BEHIND_NAME: BEHIND}
"""A directory with one: s/k 1, ''/é null, t/k 2, at position 301."""
