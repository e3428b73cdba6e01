"""Reads the files of the original engine's ``file_based`` store: one per scope, its name percent-encoded plus ``.bin``.

A file is the scope's JSON object (keys in insertion order) as UTF-8 text, up to 7 bytes that pad it, and 8 bytes that
mean nothing here. Everything here blocks: it runs in threads.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from iii_fast import jsontext
from iii_fast.cli.record import Record

SUFFIX: Final = ".bin"
TRAILER_BYTES: Final = 8
PADDING_BYTES_MAX: Final = 7


class DamagedFileError(Exception):
    """A file that cannot be read; the text names file, offset and reason."""


def files_of(directory: Path) -> list[Path]:
    """The scopes' files, sorted by name. Raises ``OSError``."""
    return sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX) and path.is_file())


def records_of(path: Path) -> list[Record]:
    """The entries of one file in their order, values as the text that is there. Raises ``DamagedFileError``."""
    try:
        scope = unquote_to_bytes(path.name.removesuffix(SUFFIX)).decode()
    except UnicodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise DamagedFileError(f"{shown}: the name is no percent-encoded UTF-8") from None
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DamagedFileError(f"{path}: {error.strerror}") from None
    end = _object_end(path, raw)
    try:
        jsontext.check(raw[:end])
    except jsontext.JsonTextError as error:
        raise DamagedFileError(f"{path}: from offset 0: {error}") from None
    return [Record(scope, key, value) for key, value in jsontext.members(raw[:end]) or ()]


def _object_end(path: Path, raw: bytes) -> int:
    """The offset behind the JSON object. What is wrong is told with its offset in bytes."""
    if len(raw) < TRAILER_BYTES + 2:
        raise DamagedFileError(f"{path}: offset {len(raw)}: the file ends before an object and {TRAILER_BYTES} bytes")
    # What is no UTF-8 becomes lone surrogates, one for each byte, so that offsets can be found again.
    text = raw[:-TRAILER_BYTES].decode("utf-8", "surrogateescape")
    if text[0] != "{":
        raise DamagedFileError(f"{path}: offset 0: expected the {{ of a JSON object")
    try:
        _, characters = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{path}: offset {_bytes(text[: error.pos])}: {error.msg}") from None
    except RecursionError:
        raise DamagedFileError(f"{path}: from offset 0: nested too deep") from None
    found = text[:characters]
    end = _bytes(found)
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise DamagedFileError(f"{path}: offset {_bytes(found[: error.start])}: not UTF-8") from None
    padding = len(raw) - TRAILER_BYTES - end
    if padding > PADDING_BYTES_MAX:
        raise DamagedFileError(f"{path}: offset {end}: {padding} bytes behind the object, expected 7 at most")
    return end


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


_DECODER: Final = json.JSONDecoder(parse_int=lambda digits: digits, parse_float=lambda digits: digits)
