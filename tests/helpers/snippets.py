"""The Python of README and docs as programs: one a page, its lines numbered as in the page.

    python tests/helpers/snippets.py FOLDER

writes all of them, for a type checker.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The first line of a block that is only type-checked starts with it and goes on with why.
NOT_RUN = "# Not run by the tests: "
#: Names that a page takes for granted, from ``snippet_names``.
GIVEN = {
    "docs/data.md": "features",
    "docs/netx.md": "features",
    "docs/python.md": "features, frames",
    "docs/simulators.md": "features, token",
}


def pages() -> list[Path]:
    """Every page with a block of Python."""
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in texts if "```python" in page.read_text(encoding="utf-8")]


def program(text: str, given: str = "", *, only_run: bool) -> str:
    """The blocks of a page, every other line blank.

    Args:
        text: of the page.
        given: names to import from ``snippet_names``, on the line of the page's title.
        only_run: leave out what is marked as not run.
    """
    lines, block = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            if block is not None:
                skipped = only_run and block[0].startswith(NOT_RUN)
                lines += [""] * len(block) if skipped else block
            block = [] if line == "```python" else None
            lines.append("")
        elif block is None:
            lines.append("")
        else:
            block.append(line)
    if given:
        assert not lines[0]
        lines[0] = f"from snippet_names import {given}"
    return "\n".join(lines) + "\n"


def page_program(page: Path, *, only_run: bool) -> str:
    given = GIVEN.get(page.relative_to(ROOT).as_posix(), "")
    return program(page.read_text(encoding="utf-8"), given, only_run=only_run)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages():
        name = page.relative_to(ROOT).as_posix().replace("/", "_").replace(".md", "_md.py")
        (folder / name).write_text(page_program(page, only_run=False), encoding="utf-8")
