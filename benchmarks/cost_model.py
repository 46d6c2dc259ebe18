"""The cost model against every public measurement of Loihi 2 that it can be held against.

Prints for each what was measured, what is predicted with its range, the ratio, and whether the
measured number lies in the range; then, for constants that two points determine, what either says
about the other. Nothing here was measured by us. The points are data:
s5_to_loihi/loihi2/operating_points.yaml. Then latency over the number of cores, for three networks;
at the end it measures how long an estimate takes here.

    python benchmarks/cost_model.py [--markdown]
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from synthetic_networks import synthetic_s5  # noqa: E402

from s5_to_loihi import intel_export  # noqa: E402
from s5_to_loihi.compiler import compile_export  # noqa: E402
from s5_to_loihi.demo import DENOISER  # noqa: E402
from s5_to_loihi.intel_export.lower import lower  # noqa: E402
from s5_to_loihi.loihi2.facts import load_system  # noqa: E402
from s5_to_loihi.passes.pipeline import run_passes  # noqa: E402
from s5_to_loihi.profiling.activity import record  # noqa: E402
from s5_to_loihi.profiling.calibration import (  # noqa: E402
    FACTOR,
    Checked,
    OperatingPoint,
    check,
    middle,
    predicted_with,
    read_points,
    solved,
)
from s5_to_loihi.profiling.core_numbers import core_curve  # noqa: E402
from s5_to_loihi.profiling.profile import (  # noqa: E402
    evaluate_recording,
    map_recording,
    profile_recording,
)
from s5_to_loihi.reports.numbers import short, symbol  # noqa: E402
from s5_to_loihi.reports.table import of_rows  # noqa: E402
from s5_to_loihi.reports.terminal import rendered  # noqa: E402

#: Constants that two points determine: the constant, and the two with the figure that does.
PAIRS = (
    (
        "instruction_time",
        ("QP solver, 2 cores", "timestep"),
        ("Izhikevich, 200 neurons", "timestep"),
    ),
    (
        "synop_time",
        ("PilotNet, LIF, Oheo Gulch", "timestep"),
        ("MatMul-free model, prefill, 24 chips", "timestep"),
    ),
    (
        "synop_time",
        ("PilotNet, LIF, Oheo Gulch", "timestep"),
        ("Hala Point, peak of synops (a core, 1 M of them)", "timestep"),
    ),
    (
        "synop_energy",
        ("PilotNet, LIF, Oheo Gulch", "dynamic"),
        ("MatMul-free model, prefill, 24 chips", "energy, chip with x86"),
    ),
    (
        "barrier_time",
        ("LIF, 1,200 neurons", "timestep"),
        ("Shortest timestep of a chip", "timestep"),
    ),
    (
        "static_power",
        ("PilotNet, LIF, Oheo Gulch", "idle power, neurocore rails"),
        ("Q-learning, 34 cores", "idle power, neurocore rails"),
    ),
    (
        "static_power",
        ("PilotNet, LIF, Oheo Gulch", "idle power, neurocore rails"),
        ("S4D, a board", "idle power, neurocore rails"),
    ),
    (
        "x86_power",
        ("MatMul-free model, generation, 24 chips", "idle power, chip with x86"),
        ("Autoencoder, 16 chips, at rest", "idle power, board"),
    ),
)
HEADINGS = (
    "point",
    "figure",
    "measured",
    "nominal",
    "5 % to 95 %",
    "range",
    "ratio",
    "in range",
    "within 1.5",
    "fitted",
)


def row_of(same: list[Checked]) -> tuple[str, ...]:
    """Return the row of a figure of a point, of all values that were measured."""
    point, predicted = same[0].point, same[0].predicted
    ratios = sorted({f"{one.ratio:.2f}" for one in same})
    within = "yes" if all(one.close for one in same) else "no"
    return (
        point.name,
        f"{same[0].figure}, {symbol(predicted.unit)}",
        " ".join(short(one.measured.value) for one in same),
        short(predicted.value),
        " to ".join(short(end) for end in same[0].likely),
        f"{short(predicted.low)} to {short(predicted.high)}",
        ratios[0] if len(ratios) == 1 else f"{ratios[0]} to {ratios[-1]}",
        "yes" if all(one.inside for one in same) else "no",
        within if point.detail else f"({within})",
        ", ".join(point.fitted) or "held out",
    )


def left_out(points: dict[str, OperatingPoint]) -> Iterator[tuple[str, ...]]:
    """Yield what a constant derived from one point says about another, both ways."""
    for constant, *ends in PAIRS:
        for (name, figure), (other, other_figure) in (ends, ends[::-1]):
            value = solved(points[name], figure, constant)
            said = predicted_with(points[other], other_figure, constant, value)
            measured = middle(points[other], other_figure)
            numbers = (short(said), short(measured), f"{measured / said:.2f}")
            yield (constant, name, short(value), other, *numbers)


def alone(points: tuple[OperatingPoint, ...]) -> dict[str, str]:
    """Return the constants that no second point can be predicted with, and what they are from."""
    paired = {constant for constant, *_ in PAIRS}
    return {
        constant: ", ".join(one.name for one in points if constant in one.fitted)
        for point in points
        for constant in point.fitted
        if constant not in paired
    }


def show(
    title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]], markdown: bool
) -> None:
    if markdown:
        print(f"\n{title}\n")
        for cells in (headings, ("---",) * len(headings), *rows):
            print(f"| {' | '.join(cells)} |")
        return
    grid = rendered(of_rows(title, headings, rows))
    Console(width=None if sys.stdout.isatty() else 220).print(grid)


def curve_rows() -> Iterator[tuple[str, ...]]:
    """Yield latency over the number of cores: as profiles have it."""
    shipped = compile_export(DENOISER)
    assert shipped.vectors
    wide = run_passes(synthetic_s5(384, 256, 3, 0.1))
    tokens = np.random.default_rng(0).integers(-2000, 2000, (64, 1, wide.input_size))
    subjects = (
        ("shipped denoiser, H 48", shipped.network, shipped.vectors.tokens),
        ("Intel's size, H 192, P 128", *intel_size()),
        ("synthetic, H 384, P 256, 10 %", wide, tokens),
    )
    for name, network, given in subjects:
        recording = record(network, given)
        mapping, system = map_recording(network, recording, load_system("oheogulch"))
        own = evaluate_recording(network, recording, mapping, system)
        for one in core_curve(network, recording, own):
            latency, timestep = (
                f"{short(us.value)} ({short(us.low)} to {short(us.high)})"
                for us in (one.latency, one.timestep)
            )
            yield name, f"{one.cores}", one.partition, latency, timestep


def intel_size():
    """Return a network of Intel's size and its tokens."""
    export = importlib.import_module("golden").export("denoiser_intel_size")
    model, _ = intel_export.to_model(export, intel_export.ExportOptions())
    network = run_passes(lower(model))
    return network, intel_export.to_vectors(export, network)[0].tokens


def speed_rows() -> list[tuple[str, ...]]:
    """Time counting and estimating of Intel's size, on all its recorded tokens and on ten times."""
    network, tokens = intel_size()
    mapping, system = map_recording(network, record(network, tokens), load_system("oheogulch"))
    rows = []
    for repeats in (1, 10):
        longer = np.tile(tokens, (repeats, 1, 1))
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            recording = record(network, longer)
            counted = time.perf_counter()
            profile_recording(network, recording, mapping, system)
            seconds.append((counted - started, time.perf_counter() - counted))
        best = (f"{min(column):.2f}" for column in zip(*seconds, strict=True))
        rows.append((f"{len(longer):,}", *best))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print tables for the docs")
    options = parser.parse_args()
    points = read_points()
    checked = [one for point in points for one in check(point)]
    show(
        f"Public measurements (within {FACTOR}: in brackets where too little is known for it)",
        HEADINGS,
        [
            row_of(list(same))
            for _, same in itertools.groupby(checked, lambda one: (one.point.name, one.figure))
        ],
        options.markdown,
    )
    show(
        "A constant from one point alone, and what it says about another",
        ("constant", "from", "value", "predicts", "predicted", "measured", "ratio"),
        list(left_out({point.name: point for point in points})),
        options.markdown,
    )
    only = alone(points)
    print("\nNothing else determines:", "; ".join(f"{name} ({by})" for name, by in only.items()))
    wrong = [one for one in checked if not one.inside or (one.point.detail and not one.close)]
    print(f"\n{len(checked)} numbers, {len(checked) - len(wrong)} as demanded")
    for one in wrong:
        print(f"not: {one.point.name}, {one.figure}")
    show(
        "Latency over the number of cores, µs (all constants fast and slow)",
        ("network", "cores", "partition", "latency, fall-through", "timestep, pipelined"),
        list(curve_rows()),
        options.markdown,
    )
    show(
        "Seconds for H 192, P 128, 3 blocks on one board, measured here, best of 3",
        ("tokens", "counting activity", "estimating both modes from it"),
        speed_rows(),
        options.markdown,
    )


if __name__ == "__main__":
    main()
