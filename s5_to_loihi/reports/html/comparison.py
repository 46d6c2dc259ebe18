"""The network beside others: its dense twin on the chip, the float model, publications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from s5_to_loihi.profiling.baselines import STREAMING, Baseline
from s5_to_loihi.profiling.contenders import RATIO_SCOPE, Contender, ratios
from s5_to_loihi.profiling.dense_float import weights_of
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports import comparison_tables
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.page import Block, Chart, Note, Pair, Section
from s5_to_loihi.reports.html.terms import terms
from s5_to_loihi.reports.numbers import shown
from s5_to_loihi.reports.table import Cell, Content, Table, of_rows

MODES = ("fall-through", "pipelined")
#: How tokens come, for each mode of the chip.
COMING = {MODES[0]: "one at a time", MODES[1]: "sequences known in advance"}
#: What a time of a mode covers.
OF_TIME = {
    MODES[0]: "fall-through, from its entry to its output",
    MODES[1]: "pipelined, from one output to the next",
}


def comparison(findings: Findings) -> Section:
    """Return every row with its origin and source."""
    weights = weights_of(findings.opened.network)
    measured = _labelled(findings.baselines, weights)
    blocks: list[Block] = [
        terms("Dense twin", "Fall-through", "Pipelined"),
        Pair(tuple(_saved(findings.own, other) for other in findings.contenders[1:])),
        *(_charts(findings, mode, measured) for mode in COMING),
        replace(_rows(findings, measured), folded=True),
        comparison_tables.network_table(findings.contenders),
        comparison_tables.ratio_table(findings),
        *(replace(table, folded=True) for table in comparison_tables.device_tables(findings)),
        *_quality(findings),
        replace(comparison_tables.published_table(), folded=True),
        *(Note(remark) for remark in findings.remarks),
    ]
    return Section("comparison", "Comparison", tuple(blocks))


def _charts(findings: Findings, mode: str, measured: Mapping[str, Baseline]) -> Pair:
    """Return time and energy of a token on all devices, for one way in which tokens come."""
    alone = mode == MODES[0]
    chips = {_on_chip(one): one for one in findings.contenders}
    here = {label: one for label, one in measured.items() if (one.mode == STREAMING) == alone}
    times = [(label, _chip_time(one, mode)) for label, one in chips.items()]
    times += [(label, one.time) for label, one in here.items()]
    energies = [(label, _chip_energy(one, mode)) for label, one in chips.items()]
    energies += [(label, one.energy) for label, one in here.items() if one.energy is not None]
    this = _on_chip(findings.own)
    return Pair(
        (
            charts.ranges(
                f"Time of a token, {COMING[mode]}",
                f"Loihi 2 by the model, {OF_TIME[mode]}; the dense float model as it was measured.",
                times,
                rule=(this, _chip_time(findings.own, mode).value),
                strong=this,
            ),
            charts.ranges(
                f"Energy of a token, {COMING[mode]}",
                f"On Loihi 2: {RATIO_SCOPE}. A processor or GPU counts more supplies: the table"
                " below says which.",
                energies,
                rule=(this, _chip_energy(findings.own, mode).value),
                strong=this,
            ),
        )
    )


def _saved(own: Contender, other: Contender) -> Chart:
    """Draw what another network takes on the chip, in units of this one."""
    rows = [(one.name, one.ratio) for one in ratios(own, other) if one.ratio.unit == "x"]
    return charts.ranges(
        f"How many times as much the {other.name} takes on Loihi 2",
        f"{other.what[:1].upper()}{other.what[1:]}. The line is the middle nine tenths of drawn"
        " constants, each the same for both networks.",
        rows,
        rule=(f"as much as {own.name}", 1.0),
    )


def _on_chip(one: Contender) -> str:
    return f"{one.name}, Loihi 2"


def _chip_time(one: Contender, mode: str) -> Quantity:
    profile = one.profile.modes[mode]
    if mode == "fall-through":
        return profile.latency
    return replace(profile.timestep, scope="from a token's output to the next one's")


def _chip_energy(one: Contender, mode: str) -> Quantity:
    return one.profile.modes[mode].energy[RATIO_SCOPE].total


def _labelled(baselines: Sequence[Baseline], weights: int) -> dict[str, Baseline]:
    """Return the baselines by short names of their own: library, device, mode, other sizes."""
    labelled: dict[str, Baseline] = {}
    for one in baselines:
        mode = "streaming" if one.mode == STREAMING else one.mode.partition(" of ")[0]
        label = f"{one.software.partition(' ')[0]}, {_short(one.device)}, {mode}"
        label += "" if one.weights == weights else ", other sizes"
        count = sum(name.partition(" (")[0] == label for name in labelled)
        labelled[f"{label} ({count + 1})" if count else label] = one
    return labelled


def _short(device: str) -> str:
    """Return the name of a device without what all have."""
    return device.partition(",")[0].replace("(R)", "").removesuffix(" Processor")


def _rows(findings: Findings, measured: Mapping[str, Baseline]) -> Table:
    """List all numbers of the charts with scope and source."""
    rows: list[tuple[Cell | Content, ...]] = []
    for one in findings.contenders:
        for mode in MODES:
            time, energy = _chip_time(one, mode), _chip_energy(one, mode)
            label = Cell(f"{one.name}, {mode}", origin=time.origin)
            rows.append((label, time, energy, time.scope, energy.scope, time.source))
    for name, of in measured.items():
        source = f"{of.software} on {of.device}; {of.sizes}; {of.time.source}"
        covers = of.energy.scope if of.energy else of.energy_note
        label = Cell(name, origin=of.time.origin)
        rows.append((label, of.time, of.energy or "-", of.time.scope, covers, source))
    return of_rows(
        "A token on each device: the first rows are modelled, the float model was measured",
        ("what", "time a token #", "energy a token #", "time covers", "energy covers", "source"),
        rows,
    )


def _quality(findings: Findings) -> list[Note]:
    """Say how well this network and the dense bundle denoise, if that was measured."""
    own, dense = findings.denoising, findings.dense_denoising
    if own is None or dense is None:
        return []
    return [
        Note(
            f"SI-SNR on {shown(own.seconds)} s of sound, noisy {own.noisy:.2f} dB: this network"
            f" {own.denoised:.2f} dB, {findings.contenders[-1].name} {dense.denoised:.2f} dB;"
            " measured with the integers of both."
        )
    ]
