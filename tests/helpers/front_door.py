"""The output that the README shows, to hold against what is printed."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)


def shape(line: str) -> str:
    """A line of output without its numbers."""
    return re.sub(r"[-+]?\d[\d,.]*", "N", " ".join(line.split()))


def shown() -> list[str]:
    """The lines of output that the README shows, without those of what it leaves out."""
    blocks = FENCED.findall(README.read_text(encoding="utf-8"))
    (block,) = [body for _, body in blocks if "SQNR" in body]
    return [line for line in block.splitlines() if line.strip() not in ("", "...")]


def check_order(lines: list[str], printed: str) -> None:
    """Lines stand in an output in this order, whatever numbers they have."""
    following = iter([shape(line) for line in printed.splitlines()])
    for line in lines:
        assert shape(line) in following, line
