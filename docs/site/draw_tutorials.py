"""Draws docs/tutorials/pictures: runs the tutorials and keeps the plots that they save.

python docs/site/draw_tutorials.py

The site shows each plot behind the code that draws it, so that building the site runs nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

TUTORIALS = Path(__file__).parents[1] / "tutorials"
#: Plots look alike, and are small.
STYLE = """
axes.titlesize: medium
axes.grid: True
axes.axisbelow: True
grid.alpha: 0.3
image.cmap: viridis
savefig.dpi: 110
"""


def draw(script: Path, folder: Path) -> None:
    """Run a tutorial in a folder of its own and copy what it saved as pictures."""
    (folder / "matplotlibrc").write_text(STYLE)
    places = {"TMPDIR": str(folder), "MATPLOTLIBRC": str(folder), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, script], cwd=folder, env=os.environ | places, check=True)
    for picture in sorted(folder.glob("*/*.png")):
        target = TUTORIALS / "pictures" / f"{script.stem}_{picture.name}"
        target.parent.mkdir(exist_ok=True)
        Image.open(picture).convert("RGB").quantize(64).save(target, optimize=True)


if __name__ == "__main__":
    for tutorial in sorted(TUTORIALS.glob("*.py")):
        with tempfile.TemporaryDirectory() as directory:
            draw(tutorial, Path(directory))
