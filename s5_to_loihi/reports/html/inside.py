"""What goes on in the network: activity, drawings, values, verification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.reports import network_tables, profile_tables
from s5_to_loihi.reports.core_drawing import draw_mapping
from s5_to_loihi.reports.drawing import draw_network
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.page import Block, Note, Picture, Section
from s5_to_loihi.reports.picture import as_svg
from s5_to_loihi.reports.run_tables import run_table

#: Titles of tables that show more on a page.
GROUPS = (
    "Groups: what each does for a token, and what that takes by the model: time of its longest part"
    " of a core, energy by mode (dynamic, neurocore rails)"
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
            replace(profile_tables.group_table(modes), title=GROUPS),
            *profile_tables.norm_tables(modes),
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
                as_svg(lambda path: draw_network(network, path)),
            ),
            Picture(
                f"Cores: memory and time of each, and the heaviest links. {own.what.capitalize()},"
                f" objective {mapping.objective}.",
                f"Map of the cores of {own.profile.system}: {mapping.cores} of"
                f" {mapping.system_cores} are in use on {mapping.chips} chips.",
                as_svg(lambda path: draw_mapping(own.evaluation, path)),
            ),
            profile_tables.core_table("Cores, pipelined", cores),
        ),
    )


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
            verified,
            network_tables.value_table(findings.values, OVER),
            network_tables.weight_table(findings.weights),
            network_tables.port_table(findings.ports),
        ),
    )
