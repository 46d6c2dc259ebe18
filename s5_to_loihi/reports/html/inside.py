"""What goes on in the network: activity, drawings, values, verification."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.reports.core_drawing import draw_mapping
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.cells import number, share, table, text
from s5_to_loihi.reports.html.page import Cell, Note, Picture, Section


def activity(findings: Findings) -> Section:
    """Return what the network did over time, and group by group."""
    recording = findings.recording
    counts = recording.activity
    synops = counts.synops.sum(axis=2).mean(axis=1)
    messages = counts.messages.sum(axis=2).mean(axis=1)
    neurons = dict.fromkeys(counts.groups, 0)
    for name, size in recording.sizes.items():
        neurons[name.rpartition(".")[0]] += size
    sending = [index for index, group in enumerate(counts.groups) if neurons[group]]
    sizes = np.array([neurons[counts.groups[index]] for index in sending])
    shares = 100 * counts.messages[..., sending].mean(axis=1) / sizes
    profile = findings.own.profile
    saturated = f"{findings.clipped:,} input values were saturated. " if findings.clipped else ""
    return Section(
        "activity",
        "Activity",
        (
            Note(f"Counted in simulation, exactly: {recording.origin}. {saturated}".strip()),
            charts.over_time(
                "activity",
                "What a token makes the network do, over time; means over sequences.",
                {"synaptic operations": synops, "messages": messages},
                "a token",
            ),
            charts.over_groups(
                "messages",
                "Share of neurons that send a message, group by group: what is dark costs nothing.",
                [counts.groups[index] for index in sending],
                shares,
            ),
            table(
                "Groups: what each does for a token, and what that takes by the model (falling"
                " through; energy: dynamic, neurocore rails)",
                "group | neurons # | cores # | messages # | synops # | instructions an update #"
                " | longest part of a core # | energy #",
                [
                    (
                        text(row.name),
                        text(row.neurons),
                        text(row.cores),
                        number(row.messages),
                        number(row.synops),
                        text(row.instructions),
                        number(row.time),
                        number(row.energy),
                    )
                    for row in profile.modes["fall-through"].groups
                ],
            ),
        ),
    )


def drawings(findings: Findings) -> Section:
    """Return the network and its place on the chip."""
    own = findings.own
    network, mapping = own.network, own.profile.mapping
    groups = ", ".join(f"{group.name} ({group.size} neurons)" for group in network.groups)
    cores = own.profile.modes["pipelined"].cores
    return Section(
        "network",
        "Network and cores",
        (
            Picture(
                "Neuron groups and synapses: stored synapses, share of the matrix, delay.",
                f"Drawing of the network {network.name}: {groups}; {network.synapse_count:,}"
                f" synapses, {network.latency} timesteps from input to output.",
                _drawn(lambda path: draw_network(network, path)),
            ),
            Picture(
                f"Cores: memory and time of each, and the heaviest links. {own.what.capitalize()},"
                f" objective {mapping.objective}.",
                f"Map of the cores of {own.profile.system}: {mapping.cores} of"
                f" {mapping.system_cores} are in use on {mapping.chips} chips.",
                _drawn(lambda path: draw_mapping(own.evaluation, path)),
            ),
            table(
                "Cores, pipelined",
                "core | groups | neurons # | synops # | words read # | messages in #"
                " | time a timestep # | limited by | energy #",
                [
                    (
                        text(f"{row.chip}:{row.core}"),
                        text(", ".join(dict.fromkeys(row.groups))),
                        text(row.neurons),
                        number(row.synops),
                        number(row.words),
                        number(row.messages),
                        number(row.time),
                        text(row.limited_by),
                        number(row.energy),
                    )
                    for row in cores
                ],
                folded=True,
            ),
        ),
    )


def _drawn(draw: Callable[[Path], None]) -> bytes:
    """Return what a drawing function writes into an SVG file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "drawing.svg"
        draw(path)
        return path.read_bytes()


def values(findings: Findings) -> Section:
    """Return what the integers do in their formats, and whether they are right."""
    network = findings.opened.network
    rows = []
    for one in findings.values:
        bits = one.format.bits - 1
        used = math.log2(max(abs(one.lowest), abs(one.highest), 1))
        rows.append(
            (
                text(one.name),
                text(one.neurons),
                text(str(one.format)),
                text(f"{one.lowest:,} to {one.highest:,}"),
                Cell(f"{bits - used:.1f}", share=min(1.0, used / bits)),
                share(one.nonzero),
                text(one.saturated, warning=one.saturated > 0),
                text(one.dead),
            )
        )
    return Section(
        "values",
        "Values and verification",
        (
            _verification(findings),
            table(
                f"Values of {network.name} over the first tokens of the input (headroom:"
                " bits between the largest magnitude and the limit of the format, below zero where"
                " it saturates next, the bar shows the bits in use; at limit: saturated; dead:"
                " neurons that are always zero)",
                "value | neurons # | format | range | headroom, bits # | not zero # | at limit #"
                " | dead #",
                rows,
            ),
            table(
                "Weights",
                "synapses | shape | format | stored # | density # | range | at limit #",
                [
                    (
                        text(one.name),
                        text(f"{one.shape[0]} x {one.shape[1]}"),
                        text(str(one.format)),
                        text(one.synapses),
                        share(one.density),
                        text(f"{one.lowest} to {one.highest}"),
                        text(one.saturated),
                    )
                    for one in findings.weights
                ],
                folded=True,
            ),
            table(
                "Accumulators: the largest sum that any input can cause, proven",
                "port | exponent # | largest sum # | bits #",
                [
                    (text(one.name), text(one.exponent), text(one.worst_case), text(one.bits))
                    for one in findings.ports
                ],
                folded=True,
            ),
        ),
    )


def _verification(findings: Findings):
    vectors = findings.opened.vectors
    if vectors is None:
        return Note("Not verified: the bundle holds no recorded integers.")
    rows = []
    for run in findings.runs:
        wrong = sum(tensor.differing for tensor in run.tensors)
        result = "all equal" if run.equal else f"{wrong:,} differ, first in {run.first.value}"
        rows.append(
            (
                text(f"{run.backend.value}, {run.mode.value}"),
                text(f"{run.sequences} x {run.tokens:,}"),
                text(len(run.tensors)),
                text(sum(tensor.compared for tensor in run.tensors)),
                Cell(result, warning=not run.equal),
            )
        )
    return table(
        f"Recorded integers, {vectors.origin}, run again for this report (under Lava:"
        " s5-to-loihi verify)",
        "run | tokens # | tensors # | integers # | result",
        rows,
    )
