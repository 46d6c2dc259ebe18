"""What mkdocs cannot do by itself: pages from code, and links that leave docs/.

In the repository, pages link to each other and to files beside ``docs/`` by relative paths, and
tutorials are scripts. On the site, every file that is linked to is there, scripts are pages, and
the reference is generated from the commands and public names.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

#: What the site calls the repository.
ELSEWHERE = "repository"
LINK = re.compile(r"(\]\()([^)#\s]*)((?:#[^)\s]*)?\))")
REMOTE = re.compile(r"[a-z]+:")
ITEM = re.compile(r"([*-]|\d+\.) ")
FENCE = re.compile(r" *(```|~~~)")
#: A plot that a tutorial saves; ``draw_tutorials.py`` keeps it for the site.
SAVED = re.compile(r"savefig\(folder / \"([^\"]+)\"\)")
#: Pages that nothing links to, but the navigation does.
ENTRIES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
#: Public, and not in ``s5_to_loihi.__all__``: they import Lava.
LAVA_NAMES = ("process_models.process.S5Network", "process_models.process.S5Block")


def on_files(files: Files, config: Any) -> Files:
    """Add generated pages, tutorials, and every file of the repository that a page links to."""
    for name, text in (("commands", commands_page()), ("python", python_page())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for script in sorted((ROOT / "docs" / "tutorials").glob("*.py")):
        page = f"tutorials/{script.stem}.md"
        files.append(File.generated(config, page, content=tutorial_page(script)))
        files.remove(files.src_uris[f"tutorials/{script.name}"])
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    waiting += ENTRIES
    seen = set(waiting)
    while waiting:
        origin = waiting.pop()
        source = ROOT / origin
        if not origin.startswith("docs/"):
            address = f"{ELSEWHERE}/{origin}"
            files.append(File.generated(config, address, abs_src_path=str(source)))
        if origin.endswith(".md") and source.is_file():
            for target in linked(source.read_text(encoding="utf-8"), origin):
                if target not in seen and not target.startswith("docs/"):
                    seen.add(target)
                    if (ROOT / target).is_file():
                        waiting.append(target)
    return files


def linked(text: str, origin: str) -> list[str]:
    """Return the files of the repository that a page links to, as paths from its root."""
    return [
        posixpath.normpath(posixpath.join(posixpath.dirname(origin), match[2]))
        for match in LINK.finditer(text)
        if match[2] and not REMOTE.match(match[2])
    ]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at where files are on the site, and part lists from the lines before them."""
    address = page.file.src_uri
    if address.startswith("reference/"):
        return markdown
    origin = address.removeprefix(f"{ELSEWHERE}/")
    origin = origin if address != origin else f"docs/{address}"

    def turned(match: re.Match[str]) -> str:
        if not match[2] or REMOTE.match(match[2]):
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), match[2]))
        inside = place.startswith("docs/")
        there = place.removeprefix("docs/") if inside else f"{ELSEWHERE}/{place}"
        if there.startswith("tutorials/"):
            there = there.replace(".py", ".md")
        return match[1] + posixpath.relpath(there, posixpath.dirname(address) or ".") + match[3]

    return with_lists_apart(LINK.sub(turned, markdown))


def with_lists_apart(markdown: str) -> str:
    """Put an empty line before lists: GitHub needs none, Python-Markdown does."""
    lines: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        fenced ^= bool(FENCE.match(line))
        before = lines[-1] if lines else ""
        starts = ITEM.match(line) and not fenced
        if starts and before.strip() and not (ITEM.match(before) or before.startswith(" ")):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def tutorial_page(script: Path) -> str:
    """Return a script in the percent format as a page."""
    parts = []
    for cell in re.split(r"^# %%", script.read_text(encoding="utf-8"), flags=re.M)[1:]:
        kind, _, body = cell.partition("\n")
        if "[markdown]" in kind:
            parts.append(re.sub(r"^# ?", "", body.strip(), flags=re.M))
        elif body.strip():
            parts.append(f"```python\n{body.strip()}\n```")
            parts += [
                f"![The plot that this draws](pictures/{script.stem}_{name})"
                for name in SAVED.findall(body)
            ]
    place = script.relative_to(ROOT)
    title, *rest = parts
    return (
        "\n\n".join([title, f"This page is the script `{place}`: run it as it is.", *rest]) + "\n"
    )


def commands_page() -> str:
    """Return the reference of the command line, from the commands themselves."""
    from s5_to_loihi import cli

    parts = [
        "# Commands",
        "What `s5-to-loihi COMMAND -h` prints, from the same source. "
        "[What commands have in common](../command_line.md).",
    ]
    for name, entry in cli.COMMANDS.items():
        command = cli.imported(name)
        usage = " ".join([f"s5-to-loihi {name}", *command.collect_usage_pieces(_context(command))])
        parts += [f"## {name}", entry.summary, f"```\n{usage}\n```"]
        said = (command.help or "").partition("\n\n")[2].replace("\b\n", "")
        if said:
            parts.append(as_markdown(said))
        rows = [row for parameter in command.params if (row := _row(parameter, command))]
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def as_markdown(said: str) -> str:
    """Return help as text, with what is indented or has line breaks of its own as code."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", said):
        if re.search(r"^(\s{2,}|\w+: [{\w])", paragraph, flags=re.M):
            paragraphs.append(f"```\n{paragraph.strip()}\n```")
        else:
            paragraphs.append(cell(paragraph))
    return "\n\n".join(paragraphs)


def _context(command: Any) -> Any:
    import typer

    return typer.Context(command) if hasattr(typer, "Context") else command.make_context("", [])


def _row(parameter: Any, command: Any) -> str:
    record = parameter.get_help_record(_context(command))
    if record is None:
        record = (parameter.make_metavar(_context(command)), getattr(parameter, "help", "") or "")
    return f"| `{record[0].replace('|', ' or ')}` | {cell(record[1])} |"


def cell(text: str) -> str:
    """Return a text that stands in a cell of a table as it is."""
    words = " ".join(text.split())
    for sign in ("\\", "|", "<", "*", "_"):
        words = words.replace(sign, f"&#{ord(sign)};")
    return words


def python_page() -> str:
    """Return the reference of the public names, in the order of ``__all__``."""
    import s5_to_loihi

    parts = [
        "# Python",
        "All of `s5_to_loihi.__all__`, from the docstrings; what the examples take for granted is"
        " in [From Python](../python.md).",
    ]
    names = [name for name in s5_to_loihi.__all__ if name != "__version__"]
    for name in names:
        parts.append(f"::: s5_to_loihi.{s5_to_loihi._DEFINED_IN[name]}.{name}")
    parts.append("And under Lava:")
    parts += [f"::: {name}" for name in LAVA_NAMES]
    return "\n\n".join(parts) + "\n"
