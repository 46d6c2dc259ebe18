"""``study``: widths, densities and bits of a denoiser, trained and measured."""

from __future__ import annotations

from pathlib import Path

from typer import Argument, Option

from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation.packages import require
from s5_to_loihi.files.writing import write_json
from s5_to_loihi.quantization.float_weights import FLOAT_FORMATS
from s5_to_loihi.reports.summary import Summary


def study(
    folder: Path = Argument(..., metavar="FOLDER", help="Of the study; made if it is not there."),
    bits: str = Option("8", metavar="LIST", help="Bits of weights to measure, as 8,4,e4m3."),
    as_json: choices.JsonOption = False,
) -> None:
    """Measure the networks of a scaling study: SI-SNR against weights, memory and energy.

    Training them takes a GPU and minutes, and is a program of its own:

        python -m s5_to_loihi.training.study FOLDER --steps 4000

    This command measures what it has left in FOLDER on clips made here, maps every network onto
    Loihi 2, and writes study.json and pareto.png. Needs the extra 'train'.
    """
    require("train")
    from s5_to_loihi.reports.study_drawing import draw_study
    from s5_to_loihi.reports.study_tables import study_table
    from s5_to_loihi.training.measuring import measured

    widths = tuple(one.strip() for one in bits.split(","))
    if not all(one.isdecimal() or one in FLOAT_FORMATS for one in widths):
        raise InputError("--bits", f"is {bits!r:.40}", "Give numbers, as 8,4, or e4m3, e5m2")
    with console.progress("Measuring", "networks") as advance:
        costs = measured(folder, widths, advance)
    if not costs:
        raise InputError(str(folder), f"has no networks of {bits} bits", "Give others (--bits)")
    write_json(folder / "study.json", costs)
    draw_study(costs, folder / "pareto.png")
    if as_json:
        console.print_json(costs)
        return
    console.show(study_table(costs))
    console.summarise(
        Summary(
            f"Wrote {folder / 'study.json'}: {len(costs)} networks",
            (("drew", str(folder / "pareto.png")),),
        ),
    )
