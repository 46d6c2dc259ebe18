"""Pictures as files: the same drawing gives the same bytes, without a window or global state."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from s5_to_loihi.files.writing import check_target, replacing

#: Neither a date nor a version, by the suffixes that there are.
METADATA = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_STYLE = {"svg.hashsalt": "s5_to_loihi", "svg.fonttype": "none"}


def plain(name: str) -> str:
    """Return a name as it is to be written: what matplotlib would take for a formula is none."""
    return name.replace("$", r"\$")


@contextmanager
def drawn(
    path: str | os.PathLike,
    size: tuple[float, float],
    dpi: int = 150,
    suffixes: tuple[str, ...] = (".svg", ".png"),
    layout: Literal["constrained"] | None = None,
    style: Mapping[str, object] = {},
) -> Iterator[Figure]:
    """Yield a figure to draw on; a file gets it if the block succeeds.

    Args:
        path: the picture, replaced as a whole; its suffix says what it is.
        size: inches.
        dpi: of a picture made of pixels.
        suffixes: that the path may have, of ``METADATA``.
        layout: matplotlib's.
        style: more of matplotlib's parameters.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    check_target(path, suffixes)
    suffix = path.suffix.lower()
    with rc_context({**_STYLE, **style}), warnings.catch_warnings():
        # Of names in scripts that matplotlib's font lacks: an SVG has them as text all the same.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=dpi, metadata=METADATA[suffix])


def as_svg(draw: Callable[[Path], object]) -> bytes:
    """Return what a drawing function writes into an SVG file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "drawing.svg"
        draw(path)
        return path.read_bytes()
