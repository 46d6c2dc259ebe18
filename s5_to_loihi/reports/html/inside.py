"""What goes on in the network: activity, drawings, values, verification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.profiling.breakdown import CoreRow
from s5_to_loihi.profiling.contenders import Contender
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.reports import network_tables, profile_tables
from s5_to_loihi.reports.core_drawing import LARGEST_PICTURE, busy, extent, places
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.page import Block, Floor, Note, Panel, Picture, Section
from s5_to_loihi.reports.html.terms import terms
from s5_to_loihi.reports.picture import as_svg
from s5_to_loihi.reports.run_tables import run_table

#: Titles of tables that show more on a page.
GROUPS = (
    "Groups: what each does for a token, and what the model says that takes: time on its slowest"
    " core, energy in each mode (dynamic, neurocore rails)"
)
OVER = (
    "the first tokens of the input (headroom: bits between the largest magnitude and the limit of"
    " the format, below zero where it saturates next, the bar shows the bits in use)"
)


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
    modes = list(findings.own.profile.modes.values())
    saturated = f"{findings.clipped:,} input values were saturated. " if findings.clipped else ""
    return Section(
        "activity",
        "Activity",
        (
            Note(f"Counted in simulation, exactly: {recording.origin}. {saturated}".strip()),
            terms("Synop", "Graded message"),
            charts.over_time(
                "What a token makes the network do, over time",
                "Means over sequences. Each area has a height of its own: its largest value.",
                {"synaptic operations": synops, "messages": messages},
                "a token",
            ),
            charts.over_time(
                "Share of neurons that send a message, group by group, over time",
                "A full row is 100 %. What is empty is not sent and costs nothing downstream.",
                {counts.groups[index]: shares[:, of] for of, index in enumerate(sending)},
                "%",
                most=100.0,
            ),
            replace(profile_tables.group_table(modes), title=GROUPS),
            *profile_tables.norm_tables(modes),
        ),
    )


def drawings(findings: Findings) -> Section:
    """Return the network and its place on the chip."""
    own = findings.own
    network = own.network
    groups = ", ".join(f"{group.name} ({group.size} neurons)" for group in network.groups)
    return Section(
        "network",
        "Network and cores",
        (
            Picture(
                "Neuron groups and synapses: stored synapses, share of the matrix, delay.",
                f"Drawing of the network {network.name}: {groups}; {network.synapse_count:,}"
                f" synapses, {network.latency} timesteps from input to output.",
                as_svg(lambda path: draw_network(network, path)),
            ),
            _floor(own),
            profile_tables.core_table("Cores, pipelined", _cores(own)),
        ),
    )


def _floor(own: Contender) -> Floor:
    """Draw the cores where they lie, by memory and by time."""
    evaluation, mapping = own.evaluation, own.profile.mapping
    chips, size, side = extent(evaluation)
    at = list(places(evaluation.system, chips.tolist(), side))
    groups = {row.core: ", ".join(dict.fromkeys(row.groups)) for row in _cores(own)}
    panels = []
    for title, values in (
        ("Memory in use, all words of a core", evaluation.fractions[:, Resource.TOTAL]),
        ("Time at work, share of a timestep", busy(evaluation)),
    ):
        most = float(values.max()) or 1.0
        loads = dict(zip(evaluation.physical.tolist(), values.tolist(), strict=True))
        cells = []
        for core, x, y in at:
            share = loads.get(core)
            said = "" if share is None else f"core {core}: {groups.get(core, '')}, {share:.1%}"
            cells.append((x, y, None if share is None else share / most, said))
        panels.append(Panel(title, f"{100 * most:.3g} %", tuple(cells)))
    left_out = f" The first {LARGEST_PICTURE} chips." if mapping.chips > LARGEST_PICTURE else ""
    return Floor(
        f"The cores of {own.profile.system}",
        f"{own.what.capitalize()}, mapped for: {mapping.objective}. Grey cores are not in use."
        f"{left_out}",
        f"Map of the cores of {own.profile.system}: {mapping.cores} of {mapping.system_cores} are"
        f" in use on {mapping.chips} chips.",
        size,
        tuple(panels),
    )


def _cores(own: Contender) -> tuple[CoreRow, ...]:
    return own.profile.modes["pipelined"].cores


def values(findings: Findings) -> Section:
    """Return what the integers do in their formats, and whether they are right."""
    vectors = findings.opened.vectors
    verified: Block = Note("Not verified: the bundle holds no recorded integers.")
    if vectors is not None:
        verified = run_table(
            findings.runs,
            f"Recorded integers, {vectors.origin}, run again for this report (under Lava:"
            " s5-to-loihi verify)",
        )
    return Section(
        "values",
        "Values and verification",
        (
            terms("Format", "Headroom"),
            verified,
            replace(network_tables.value_table(findings.values, OVER), folded=True),
            replace(network_tables.weight_table(findings.weights), folded=True),
            replace(network_tables.port_table(findings.ports), folded=True),
        ),
    )
