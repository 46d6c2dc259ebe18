"""Values that say in a few lines what they are, in a terminal and in a notebook."""

from __future__ import annotations

import html


class Described:
    """Has a ``repr`` of a title and a few facts, which notebooks show as a table."""

    def _described(self) -> tuple[str, dict[str, str]]:
        """Return the title, and facts by name."""
        raise NotImplementedError

    def __repr__(self) -> str:
        title, facts = self._described()
        width = max(map(len, facts), default=0)
        return "\n".join([title, *(f"  {name:{width}}  {fact}" for name, fact in facts.items())])

    def _repr_html_(self) -> str:
        title, facts = self._described()
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(fact)}</td></tr>"
            for name, fact in facts.items()
        )
        return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"
