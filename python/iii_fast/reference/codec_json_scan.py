"""The exact JSON scanner: finds the first thing that is wrong in a text, or reads a text leniently.

Grammar: RFC 8259. It is slow and runs only for texts that are refused; ``codec_json`` reads the others with the
standard library's C scanner. Mirrors ``rust/core/src/codec/json/scan.rs``; no recursion, so depth is no danger.
"""

from __future__ import annotations

import json.decoder
import re
from collections.abc import Callable
from typing import Final, Literal

from iii_fast.protocol import JSON_DEPTH_MAX

scan_string: Final[Callable[[str, int, bool], tuple[str, int]]] = json.decoder.scanstring  # type: ignore[attr-defined]
"""The C scanner's strings: from the position behind the opening quote to what it stands for, and where it ends."""

_WHITE_SPACE: Final = re.compile(r"[ \t\n\r]*")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_HEX4: Final = re.compile(r"[0-9a-fA-F]{4}")
_CUT_HEX: Final = re.compile(r"[0-9a-fA-F]{0,3}\Z")
_DIGITS: Final = re.compile(r"[0-9]+")
_WORDS: Final = ("null", "true", "false")
_NOT_JSON: Final = ("NaN", "Infinity")
_SIMPLE_ESCAPES: Final = frozenset('"\\/bfnrt')


class JsonError(ValueError):
    """The first thing wrong with a text; ``str`` gives the wire's text: ``at byte 57: NaN is not a JSON value``.

    ``offset`` counts UTF-8 bytes.
    """

    def __init__(self, text: str, at: int, reason: str) -> None:
        self.offset = len(text[:at].encode())
        self.reason = reason
        super().__init__(f"at byte {self.offset}: {reason}")


class Scanner:
    """A position in a text. Lenient: takes ``NaN``, ``Infinity``, ``-Infinity``, lone surrogates and any depth."""

    def __init__(self, text: str, *, lenient: bool = False) -> None:
        self._text = text
        self._at = 0
        self._lenient = lenient

    def document(self) -> None:
        """Reads one value and nothing after it. Raises ``JsonError``."""
        self._value(JSON_DEPTH_MAX)
        self._finish()

    def document_members(self) -> dict[str, str]:
        """Reads one object and nothing after it; returns the last text of each member. Raises ``JsonError``."""
        found: dict[str, str] = {}
        if self._peek() != "{":
            raise self._unexpected("expected an object")
        self._at += 1
        more = self._peek() != "}"
        while more:
            name_begin = self._at
            name_end = self._name()
            self._peek()
            value_begin = self._at
            self._value(JSON_DEPTH_MAX - 1)
            name, _ = scan_string(self._text[name_begin:name_end], 1, True)
            found[name] = self._text[value_begin : self._at]
            more = self._peek() == ","
            if more:
                self._at += 1
                self._peek()
        if self._peek() != "}":
            raise self._unexpected("expected `,` or `}`")
        self._at += 1
        self._finish()
        return found

    def _finish(self) -> None:
        if self._peek():
            raise self._error(self._at, "characters after the value")

    def _error(self, at: int, reason: str) -> JsonError:
        return JsonError(self._text, at, reason)

    def _unexpected(self, reason: str) -> JsonError:
        """``reason`` here, or that the text has ended."""
        return self._error(self._at, reason if self._at < len(self._text) else "unexpected end of the text")

    def _peek(self) -> str:
        """Skips white space and returns the character behind it, which stays unread; empty at the end."""
        match = _WHITE_SPACE.match(self._text, self._at)
        assert match is not None  # the pattern matches nothing, too
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _value(self, depth_left: int) -> None:
        open_brackets: list[Literal["[", "{"]] = []
        while True:
            char = self._peek()
            if char == '"':
                self._string()
            elif char == "{" or char == "[":
                if len(open_brackets) >= depth_left and not self._lenient:
                    raise self._error(self._at, f"more than {JSON_DEPTH_MAX} nested levels")
                if self._open(char):
                    open_brackets.append("{" if char == "{" else "[")
                    continue
            elif char == "-" or "0" <= char <= "9":
                self._number()
            else:
                self._word()
            if not self._close(open_brackets):
                return

    def _open(self, bracket: str) -> bool:
        """Skips an opening bracket up to its first value; false when it is closed at once (that is skipped too)."""
        self._at += 1
        if self._peek() == ("}" if bracket == "{" else "]"):
            self._at += 1
            return False
        if bracket == "{":
            self._name()
        return True

    def _close(self, open_brackets: list[Literal["[", "{"]]) -> bool:
        """After a value: skips closing brackets, then a comma and the name that follows; false when nothing is open."""
        while open_brackets:
            in_object = open_brackets[-1] == "{"
            char = self._peek()
            if char == ",":
                self._at += 1
                if in_object:
                    self._name()
                return True
            if char != ("}" if in_object else "]"):
                raise self._unexpected("expected `,` or `}`" if in_object else "expected `,` or `]`")
            self._at += 1
            open_brackets.pop()
        return False

    def _name(self) -> int:
        """Skips a member's name and colon; returns where the name ends."""
        if self._peek() != '"':
            raise self._unexpected("expected a string")
        self._string()
        end = self._at
        if self._peek() != ":":
            raise self._unexpected("expected `:`")
        self._at += 1
        return end

    def _string(self) -> None:
        """Skips a string whose opening quote is here."""
        self._at += 1
        while True:
            match = _PLAIN.match(self._text, self._at)
            assert match is not None  # the pattern matches nothing, too
            self._at = match.end()
            char = self._text[self._at : self._at + 1]
            if char == "\\":
                self._escape()
            elif char == '"':
                self._at += 1
                return
            else:
                raise self._unexpected("control character in a string")

    def _escape(self) -> None:
        begin = self._at
        letter = self._text[begin + 1 : begin + 2]
        if letter == "u":
            self._unicode_escape()
        elif letter in _SIMPLE_ESCAPES:
            self._at = begin + 2
        elif letter:
            raise self._error(begin, "invalid escape in a string")
        else:
            raise self._error(begin + 1, "unexpected end of the text")

    def _unicode_escape(self) -> None:
        begin = self._at
        unit = self._hex4(begin + 2)
        if unit is None:
            if _CUT_HEX.match(self._text, begin + 2):
                raise self._error(len(self._text), "unexpected end of the text")
            raise self._error(begin, "invalid escape in a string")
        self._at = begin + 6
        if not 0xD800 <= unit <= 0xDFFF:
            return
        if unit < 0xDC00 and self._text.startswith("\\u", self._at):
            low = self._hex4(self._at + 2)
            if low is not None and 0xDC00 <= low <= 0xDFFF:
                self._at += 6
                return
        if not self._lenient:
            raise self._error(begin, "lone surrogate in a string")

    def _hex4(self, at: int) -> int | None:
        match = _HEX4.match(self._text, at)
        return int(match[0], 16) if match else None

    def _number(self) -> None:
        begin = self._at
        if self._text.startswith("-", begin):
            self._at += 1
            if self._text.startswith("Infinity", self._at):
                self._not_json(begin, "-Infinity")
                return
        leading_zero = self._text.startswith("0", self._at)
        if self._digits() > 1 and leading_zero:
            raise self._error(begin, "invalid number")
        if self._text.startswith(".", self._at):
            self._at += 1
            self._digits()
        if self._text.startswith(("e", "E"), self._at):
            self._at += 1
            if self._text.startswith(("+", "-"), self._at):
                self._at += 1
            self._digits()

    def _digits(self) -> int:
        """Skips digits and counts them: at least one."""
        match = _DIGITS.match(self._text, self._at)
        if match is None:
            raise self._unexpected("invalid number")
        self._at = match.end()
        return self._at - match.start()

    def _word(self) -> None:
        for word in _WORDS:
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return
        for word in _NOT_JSON:
            if self._text.startswith(word, self._at):
                self._not_json(self._at, word)
                return
        rest = self._text[self._at : self._at + len("false")]
        if any(word.startswith(rest) for word in _WORDS):
            raise self._error(len(self._text), "unexpected end of the text")
        raise self._error(self._at, "expected a value")

    def _not_json(self, begin: int, word: str) -> None:
        if not self._lenient:
            raise self._error(begin, f"{word} is not a JSON value")
        self._at = begin + len(word)
