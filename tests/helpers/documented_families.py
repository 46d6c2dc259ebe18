"""The table of docs/checkpoints.md that says which families become networks."""

import itertools
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "checkpoints.md"


def documented() -> dict[str, tuple[bool, ...]]:
    """Row -> what it says of reading, quantizing and mapping."""
    table = DOCUMENT.read_text().partition("| model | reads | quantizes | maps |\n")[2]
    rows = {}
    for line in itertools.takewhile(lambda line: line.startswith("|"), table.splitlines()[1:]):
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        assert all(cell == "yes" or cell.partition(":")[0] == "no" for cell in cells), line
        rows[name] = tuple(cell == "yes" for cell in cells)
    return rows
