"""What a command found out, in a few lines: the verdict first, what to do next last."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from s5_to_loihi.reports.table import Mark
from s5_to_loihi.reports.terminal import STYLES, folded

#: Notes that a summary has room for.
NOTES = 4
_BLOCK = re.compile(r"\bblock(\d+)\b")


@dataclass(frozen=True)
class Summary:
    """The answer of a command.

    Attributes:
        verdict: one line that says how it went.
        facts: (label, text) of what else one wants to know, at most six or so.
        mark: how the verdict stands out.
        warnings: what may be wrong with the result although it was made, and what to do.
        notes: what was found out or assumed on the way.
        choices: those of them that are shown however many there are.
        next: the command that one would type next, and maybe ``  # what for``; empty if none.
    """

    verdict: str
    facts: Sequence[tuple[str, str]] = ()
    mark: Mark = Mark.GOOD
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    next: str = ""
    choices: Sequence[str] = ()

    def head(self, width: int | None, whole: bool) -> list[Text]:
        """Return all lines but the last: the verdict, warnings, facts and notes.

        Args:
            width: of the terminal; None for a file or a pipe.
            whole: whether all notes are shown.
        """
        lines = [Text(line, f"bold {STYLES[self.mark]}") for line in folded(self.verdict, width)]
        for warning in self.warnings:
            lines += [Text(line, STYLES[Mark.NOTICE]) for line in _hung("Warning:", warning, width)]
        margin = max((len(label) for label, _ in self.facts), default=0)
        for label, text in self.facts:
            lines += map(Text, _hung(f"  {label:{margin}} ", text, width))
        notes = merged(note for note in self.notes if note not in self.choices)
        shown = notes if whole or len(notes) <= NOTES else notes[: NOTES - 1]
        for note in (*self.choices, *shown):
            lines += map(Text, _hung("Note:", note, width))
        if len(shown) < len(notes):
            lines.append(Text(f"Note: {len(notes) - len(shown)} more with --details"))
        return lines

    def foot(self, more: bool) -> list[Text]:
        """Return the last lines: how to see more, and what to do next.

        Args:
            more: whether --details would show more.
        """
        lines = [Text("More:  --details", "dim")] * more
        return lines + [Text.assemble("Next:  ", (self.next, "bold"))] * bool(self.next)


def command(*words: object) -> str:
    """Return a command of this program as one would type it."""
    return shlex.join(["s5-to-loihi", *map(str, words)])


def merged(notes: Iterable[str]) -> list[str]:
    """Return notes with those made one that differ only in their block."""
    blocks: dict[str, list[str]] = {}
    for note in notes:
        found = _BLOCK.search(note)
        key = note if found is None else note[: found.start()] + "\0" + note[found.end() :]
        blocks.setdefault(key, []).append(found.group() if found else "")
    return [key.replace("\0", _together(names)) for key, names in blocks.items()]


def _together(names: Sequence[str]) -> str:
    numbers = [int(name.removeprefix("block")) for name in names if name]
    if len(names) > 2 and numbers == list(range(numbers[0], numbers[0] + len(names))):
        return f"{names[0]} to {names[-1]}"
    return ", ".join(dict.fromkeys(names))


def _hung(label: str, text: str, width: int | None) -> list[str]:
    """Return lines of a text that stand to the right of a label."""
    indent = " " * (len(label) + 1)
    lines = folded(text, None if width is None else max(20, width - len(indent))) or [""]
    return [f"{label} {lines[0]}", *(indent + line for line in lines[1:])]
