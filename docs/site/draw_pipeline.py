"""Draws docs/pipeline.svg: from a checkpoint to the chip.

python docs/site/draw_pipeline.py
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).parents[1] / "pipeline.svg"
WIDTH, HEIGHT = 880, 250
BOX = (184, 84)
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
.title { font-weight: 600 }
.command { font-family: ui-monospace, monospace; font-size: 12px; fill: #0b5cad }
rect { fill: #eef4fb; stroke: #57606a }
.later { fill: none; stroke-dasharray: 5 4 }
path { fill: none; stroke: #57606a; stroke-width: 1.5 }
.head { fill: #57606a; stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } rect { fill: #172331; stroke: #8b949e } .command { fill: #79b8ff }
  .later { fill: none } path { stroke: #8b949e } .head { fill: #8b949e }
}
"""


class Box(NamedTuple):
    """A step: where it stands, what it is, and the command that does it."""

    column: int
    row: int
    title: str
    lines: tuple[str, ...]
    command: str = ""
    later: bool = False


BOXES = (
    Box(0, 0, "Float checkpoint", ("sparse S5 or a relative", "JAX, PyTorch, safetensors")),
    Box(1, 0, "Integers", ("8-bit weights,", "16-bit activations"), "quantize, compile"),
    Box(2, 0, "Network", ("neuron groups,", "sparse synapses"), "inspect"),
    Box(3, 0, "Cores", ("which neuron goes where;", "what a token costs"), "map, profile"),
    Box(2, 1, "Simulators", ("interpreter, fast, Lava:", "every integer is equal"), "verify"),
    Box(3, 1, "Loihi 2", ("prepared and rehearsed,", "not yet run"), "deploy", later=True),
)
#: From box to box, by their places.
ARROWS = ((0, 1), (1, 2), (2, 3), (2, 4), (3, 5))


def place(box: Box) -> tuple[float, float]:
    """Return the upper left corner."""
    return 12 + box.column * 224, 12 + box.row * 138


def drawn_box(box: Box) -> str:
    """Return a box with its texts."""
    x, y = place(box)
    middle = x + BOX[0] / 2
    later = ' class="later"' if box.later else ""
    parts = [f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="8"{later}/>']
    parts.append(f'<text class="title" x="{middle}" y="{y + 20}">{box.title}</text>')
    parts += [
        f'<text x="{middle}" y="{y + 39 + 16 * index}">{line}</text>'
        for index, line in enumerate(box.lines)
    ]
    if box.command:
        parts.append(f'<text class="command" x="{middle}" y="{y + 75}">{box.command}</text>')
    return "\n".join(parts)


def drawn_arrow(start: Box, end: Box) -> str:
    """Return an arrow to the right, or down."""
    (x, y), (to_x, to_y) = place(start), place(end)
    width, height = BOX
    if start.row == end.row:
        line = f"M{x + width},{y + height / 2} H{to_x - 8}"
        tip = (to_x, to_y + height / 2)
        head = f"M{tip[0]},{tip[1]} l-9,-5 v10 z"
    else:
        line = f"M{x + width / 2},{y + height} V{to_y - 8}"
        tip = (to_x + width / 2, to_y)
        head = f"M{tip[0]},{tip[1]} l-5,-9 h10 z"
    return f'<path d="{line}"/><path class="head" d="{head}"/>'


def picture() -> str:
    """Return the whole picture."""
    parts = [drawn_arrow(BOXES[start], BOXES[end]) for start, end in ARROWS]
    parts += [drawn_box(box) for box in BOXES]
    title = "From a float checkpoint through integers and a network to the cores of a Loihi 2"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
