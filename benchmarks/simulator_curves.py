"""Cost against density, width and input activity, on random networks; see simulators.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from simulator_floor import Work, work_of
from simulator_tables import table
from simulator_ways import (
    Subject,
    Way,
    measure_in_turn,
    prepare,
    stream,
    timed,
)

from s5_to_loihi.fixed_point import Format
from s5_to_loihi.intel_export.model import (
    Block,
    Dense,
    Glu,
    GluVariant,
    Norm,
    QuantizedS5,
    StateSpace,
    Tensor,
)
from s5_to_loihi.simulators.loops import BLOCK

#: One format for all that neurons send, and shifts instead of small weights: results keep the size
#: of their operands, whatever the density, so about half the rectified messages are zero.
ACTIVATION = Format(16, 8)
FEATURES = 257


def random_network_model(
    width: int, states: int, density: float, seed: int = 1, biased: bool = True
) -> QuantizedS5:
    """Return one block of random int8 weights; without biases, silence stays silence."""
    rng = np.random.default_rng(seed)
    largest = min(127, round(7 / np.sqrt(density)))

    def weights(outputs: int, inputs: int) -> Tensor:
        shape = (outputs, inputs)
        data = rng.integers(1, largest + 1, shape) * rng.choice([-1, 1], shape)
        data *= rng.random(shape) < density
        gain = 7 / np.sqrt(3) * np.sqrt(inputs / 2)
        return Tensor(data, Format(8, max(0, round(np.log2(gain)))))

    def bias(size: int) -> Tensor:
        return Tensor(rng.integers(-256, 257, size) * biased, ACTIVATION)

    def dense(outputs: int, inputs: int) -> Dense:
        return Dense(weights(outputs, inputs), bias(outputs), ACTIVATION, ACTIVATION)

    angle, radius = rng.uniform(-np.pi, np.pi, states), rng.uniform(0.3, 0.97, states)
    eigenvalues = radius * np.exp(1j * angle) * 2**14
    encoder = dense(width, FEATURES)
    norm = Norm(
        bias(width),
        Tensor(np.full(width, 2**14), Format(16, 14)),
        *(None, None, ACTIVATION, ACTIVATION, None, None),
    )
    ssm = StateSpace(
        a_re=Tensor(np.trunc(eigenvalues.real).astype(np.int64), Format(16, 14)),
        a_im=Tensor(np.trunc(eigenvalues.imag).astype(np.int64), Format(16, 14)),
        b_re=weights(states, width),
        b_im=weights(states, width),
        c_re=weights(width, states),
        c_im=weights(width, states),
        d=Tensor(rng.integers(-64, 65, width), Format(8, 7)),
        u=ACTIVATION,
        bu_re=ACTIVATION,
        bu_im=ACTIVATION,
        x_re=ACTIVATION,
        x_im=ACTIVATION,
        y=ACTIVATION,
        conjugate_symmetric=True,
    )
    glu = Glu(GluVariant.HALF1, dense(width, width), None, ACTIVATION, Format(16, 14), ACTIVATION)
    block = Block(norm, ssm, glu, ACTIVATION)
    return QuantizedS5(f"random{width}", encoder, (block,), dense(FEATURES, width))


def random_tokens(count: int, active: float = 1.0, seed: int = 2) -> np.ndarray:
    """Return (count, 1, FEATURES) int32, a fraction of them not zero."""
    rng = np.random.default_rng(seed)
    shape = (count, 1, FEATURES)
    values = np.clip(np.rint(rng.normal(0, 2.0**11, shape)), -(2**15), 2**15 - 1)
    values[values == 0] = 1
    return (values * (rng.random(shape) < active)).astype(np.int32)


@dataclass(eq=False)
class Point:
    """One point of a curve: where it lies, what is run, and what it costs."""

    place: float
    subject: Subject
    work: Work
    streaming: Way
    sequences: Way


#: Tokens of a curve's sequences and of its streams.
CURVE_TOKENS, CURVE_STREAM = 4 * BLOCK, 200


def point_of(place: float, subject: Subject, rounds: int) -> Point:
    simulator, tokens = subject.simulator, subject.tokens
    few = tokens[:CURVE_STREAM, 0]
    streaming = timed(lambda: stream(simulator, few), len(few))
    sequences = timed(lambda: simulator.run(tokens), len(tokens))
    return Point(
        place,
        subject,
        work_of(subject),
        Way(f"streaming {place:g}", streaming, rounds, "equal"),
        Way(f"sequences {place:g}", sequences, rounds, "equal"),
    )


@dataclass(frozen=True)
class Fit:
    """A straight line through costs against operations."""

    nanoseconds: float
    intercept: float
    r_squared: float

    def __str__(self) -> str:
        return f"{self.nanoseconds:.4f} ns each + {self.intercept:.2f} us, R^2 {self.r_squared:.5f}"


def fit(operations: Sequence[float], microseconds: Sequence[float]) -> Fit:
    slope, intercept = np.polyfit(operations, microseconds, 1)
    residuals = np.asarray(microseconds) - slope * np.asarray(operations) - intercept
    total = np.sum((np.asarray(microseconds) - np.mean(microseconds)) ** 2)
    return Fit(slope * 1e3, intercept, 1 - float(np.sum(residuals**2) / total))


def print_curve(title: str, place: str, points: Sequence[Point], console: Console) -> None:
    rows = table(
        title, place, "streaming\nus/token", "synops\na token", "ns/synop", "sequences\nus/token",
        "synapses", "MAC/ns", "messages\nnot zero", "compile s",
    )  # fmt: skip
    for one in points:
        rows.add_row(
            f"{one.place:g}",
            f"{one.streaming.best:,.2f}",
            f"{one.work.synops:,.0f}",
            f"{one.streaming.best / one.work.synops * 1e3:.3f}" if one.work.synops else "",
            f"{one.sequences.best:,.2f}",
            f"{one.work.macs:,}",
            f"{one.work.macs / one.sequences.best / 1e3:.1f}",
            f"{100 * one.work.sent:.0f} %",
            f"{one.subject.seconds:.1f}",
        )
    console.print(rows)
    streaming = fit([p.work.synops for p in points], [p.streaming.best for p in points])
    console.print(f"Streaming against synops: {streaming}", highlight=False)
    if len({one.work.macs for one in points}) > 1:
        sequences = fit([p.work.macs for p in points], [p.sequences.best for p in points])
        console.print(f"Sequences against synapses: {sequences}", highlight=False)


@dataclass(frozen=True)
class Places:
    """Where the curves are measured."""

    densities: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
    widths: tuple[int, ...] = (48, 96, 192, 384, 768, 1536)
    active: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.0)
    dense_widths: tuple[int, ...] = (1536,)
    rounds: int = 9


QUICK_PLACES = Places((1.0, 0.1, 0.02), (48, 192, 768), (1.0, 0.2, 0.0), (), 3)


def curves(directory: Path, places: Places, console: Console) -> None:
    """Measure all curves in turn, print them, and draw two of them."""
    directory.mkdir(parents=True, exist_ok=True)
    tokens = random_tokens(CURVE_TOKENS)

    def random_point(place: float, width: int, density: float) -> Point:
        model = random_network_model(width, 2 * width // 3, density)
        return point_of(place, prepare(None, model, tokens), places.rounds)

    with console.status("compiling random networks"):
        by_density = [random_point(density, 768, density) for density in places.densities]
        by_width = [random_point(width, width, 0.1) for width in places.widths]
        dense = [random_point(width, width, 1.0) for width in places.dense_widths]
        by_activity = activity_points(places)
    networks = [*by_density, *by_width, *dense]
    measure_in_turn(
        [way for one in [*networks, *by_activity] for way in (one.streaming, one.sequences)],
        console,
    )
    one_block = "P = 2/3 H, 1 block, random weights"
    print_curve(f"Cost against density: H 768, {one_block}", "density", by_density, console)
    print_curve(f"Cost against width: 10 % dense, {one_block}", "H", by_width, console)
    title = f"Cost against input activity: H 768, 10 % dense, no biases, {one_block}"
    print_curve(title, "active inputs", by_activity, console)
    print_joint_fit([*networks, *by_activity], console)
    print_sparse_ratios([*by_density, *by_width, *dense], console)
    shape = f"P = 2/3 H, {FEATURES} in and out, 1 block"
    for name, points, place, title in (
        ("density", by_density, "density of all matrices", f"density: H = 768, {shape}"),
        ("width", by_width, "width H", f"width: 10 % dense, {shape}"),
    ):
        draw(directory / f"cost_{name}.png", points, place, f"Cost against {title}")
        console.print(f"Written: {directory / f'cost_{name}.png'}", soft_wrap=True)


def activity_points(places: Places) -> list[Point]:
    """One network, on inputs more or less of which are zero."""
    model = random_network_model(768, 512, 0.1, biased=False)
    return [
        point_of(active, prepare(None, model, random_tokens(CURVE_TOKENS, active)), places.rounds)
        for active in places.active
    ]


def density_of(one: Point) -> float:
    return round(one.work.macs / one.work.dense_macs, 2)


def print_joint_fit(points: Sequence[Point], console: Console) -> None:
    """Print streaming as a sum over operations, fitted to the relative errors of all points."""
    operations = np.array(
        [[p.work.synops, p.work.messages, p.work.updates] for p in points], dtype=float
    )
    costs = np.array([p.streaming.best for p in points])
    each, *_ = np.linalg.lstsq(operations / costs[:, None], np.ones(len(costs)), rcond=None)
    off = np.abs(operations @ each / costs - 1)
    console.print(
        f"All networks and inputs together, streaming: {each[0] * 1e3:.3f} ns a synop +"
        f" {each[1] * 1e3:.2f} ns a message + {each[2] * 1e3:.2f} ns a neuron update;"
        f" off by {100 * np.median(off):.1f} % (median), {100 * off.max():.1f} % (most).",
        highlight=False,
    )


def print_sparse_ratios(points: Sequence[Point], console: Console) -> None:
    """Print what networks of 10 % density cost as a part of dense ones, where both are there."""
    title = "90 % sparse / dense: <= 0.2 in streaming"
    rows = table(title, "H", "streaming", "sequences", "synops", "")
    by_shape = {(one.subject.model.encoder.bias.data.size, density_of(one)): one for one in points}
    for (width, density), dense in by_shape.items():
        sparse = by_shape.get((width, 0.1))
        if density != 1 or not sparse:
            continue
        ratio = sparse.streaming.best / dense.streaming.best
        rows.add_row(
            f"{width:g}",
            f"{ratio:.3f}",
            f"{sparse.sequences.best / dense.sequences.best:.3f}",
            f"{sparse.work.synops / dense.work.synops:.3f}",
            "met" if ratio <= 0.2 else "MISSED",
        )
    console.print(rows)


def draw(path: Path, points: Sequence[Point], place: str, title: str) -> None:
    """Draw both costs with the lines fitted against operations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    places = [one.place for one in points]
    for name, marker, costs, operations, unit in (
        ("streaming", "o", [p.streaming.best for p in points],
         [p.work.synops for p in points], "synop"),
        ("sequences", "s", [p.sequences.best for p in points],
         [p.work.macs for p in points], "synapse"),
    ):  # fmt: skip
        line = fit(operations, costs)
        label = (
            f"{name}; line: {line.intercept:.1f} us + {line.nanoseconds:.3f} ns a {unit}"
            f" (R² = {line.r_squared:.4f})"
        )
        (drawn,) = axes.plot(places, costs, marker, label=label)
        fitted = np.array(operations) * line.nanoseconds / 1e3 + line.intercept
        above = fitted > 0
        axes.plot(np.array(places)[above], fitted[above], "-", color=drawn.get_color(), alpha=0.5)
        for where, cost in zip(places, costs, strict=True):
            axes.annotate(
                f"{cost:.3g}", (where, cost), xytext=(0, 8), textcoords="offset points",
                ha="center", fontsize=8,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=place, ylabel="µs a token, one core", title=title)
    axes.set_xticks(places, [f"{value:g}" for value in places])
    axes.minorticks_off()
    axes.margins(0.08)
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
