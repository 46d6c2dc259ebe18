"""Names that files give to parts of theirs: checked once, where they enter.

Whatever passes may be an identifier in generated code, part of a file's name or a word in a
command. Texts that are for people, such as the name of a network, are data: they are escaped where
they are shown, and nothing is ever named after them.
"""

from __future__ import annotations

import re

LONGEST_NAME, LONGEST_TITLE = 100, 1000
_NAME = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")
#: What an error says that a name has to be.
RULE = f"Use letters, digits and _, with single dots or dashes inside, at most {LONGEST_NAME}"


def is_name(text: object) -> bool:
    """Tell whether a text may name a part: letters, digits and _, dots and dashes inside."""
    return isinstance(text, str) and len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_text(value: object, longest: int) -> bool:
    """Tell whether a value is a text that can be written to a file, and not too long."""
    if not isinstance(value, str) or len(value) > longest:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # halves of characters
        return False
    return True


def is_title(value: object) -> bool:
    """Tell whether a value may be shown as a name: a text in one line, all of it printable."""
    return is_text(value, LONGEST_TITLE) and str(value).isprintable()
