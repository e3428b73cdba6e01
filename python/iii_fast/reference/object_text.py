"""An object as JSON text whose members can be replaced, added and removed while all other text stays as it came.

Rules: docs/wire.md 19. Used by ``update`` only.
"""

from __future__ import annotations

from dataclasses import dataclass

from iii_fast.reference import codec_json as json_text


@dataclass(slots=True)
class _Member:
    name: str
    before: str  # from the end of the value before it, or the opening brace
    label: str  # name, colon and what is between them
    value: str


class ObjectText:
    """The members of one object (valid JSON without white space around it) with the text between them."""

    def __init__(self, text: str) -> None:
        self._members: list[_Member] = []
        end = 1
        for name, name_begin, value_begin, value_end in json_text.spans(text):
            before, label = text[end:name_begin], text[name_begin:value_begin]
            self._members.append(_Member(name, before, label, text[value_begin:value_end]))
            end = value_end
        self._last = {member.name: member for member in self._members}
        self._after = text[end:]

    def __str__(self) -> str:
        inner = "".join(member.before + member.label + member.value for member in self._members)
        return "{" + inner + self._after

    def get(self, name: str) -> str | None:
        """The text of a member's value; of duplicates the last."""
        member = self._last.get(name)
        return member.value if member else None

    def put(self, name: str, value: str) -> None:
        """Replaces the value of a member in its place, or adds the member behind the last one."""
        if name in self._last:
            self._last[name].value = value
            return
        before = "," if self._members else ""
        member = _Member(name, before, json_text.string_text(name) + ":", value)
        self._members.append(member)
        self._last[name] = member

    def remove(self, name: str) -> bool:
        """Removes all members of a name; false when there are none."""
        if self._last.pop(name, None) is None:
            return False
        first_before = self._members[0].before
        self._members = [member for member in self._members if member.name != name]
        if self._members:
            # Whoever is first now stands where the first one stood, without a comma.
            self._members[0].before = first_before
        else:
            self._after = first_before + self._after
        return True
