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
from s5_to_loihi.reports.html.page import Block, Note, Section
from s5_to_loihi.reports.numbers import shown, with_range
from s5_to_loihi.reports.table import Cell, Table, of_rows


def comparison(findings: Findings) -> Section:
    """Return every row with its origin and source."""
    weights = weights_of(findings.opened.network)
    measured = _labelled(findings.baselines, weights)
    latencies = [
        *((f"{one.name}, {mode}", _chip_time(one, mode)) for one, mode in _on_chip(findings)),
        *((label, one.time) for label, one in measured.items()),
    ]
    energies = [
        *((f"{one.name}, {mode}", _chip_energy(one, mode)) for one, mode in _on_chip(findings)),
        *((label, one.energy) for label, one in measured.items() if one.energy is not None),
    ]
    blocks: list[Block] = [
        *(Note(_in_words(findings.own, other)) for other in findings.contenders[1:]),
        charts.ranges(
            "token-times",
            "Time of a token: on Loihi 2 by the model (fall-through: latency; pipelined: time from"
            " a token to the next), and of the dense float model as it was measured.",
            latencies,
        ),
        charts.ranges(
            "token-energies",
            f"Energy of a token. On Loihi 2: {RATIO_SCOPE}. A processor or GPU counts more"
            " supplies: the table says which.",
            energies,
        ),
        _rows(measured, latencies, energies),
        comparison_tables.network_table(findings.contenders),
        comparison_tables.ratio_table(findings),
        *comparison_tables.device_tables(findings),
        *_quality(findings),
        comparison_tables.published_table(),
        *(Note(remark) for remark in findings.remarks),
    ]
    return Section("comparison", "Comparison", tuple(blocks))


def _in_words(own: Contender, other: Contender) -> str:
    """Say what the other network takes."""
    of = {one.name: one.ratio for one in ratios(own, other)}
    return (
        f"{other.name.capitalize()} ({other.what}): {with_range(of['synaptic operations'])} the"
        f" synaptic operations, {with_range(of['latency, fall-through'])} the latency,"
        f" {with_range(of['time per token, pipelined'])} the time per token pipelined,"
        f" {with_range(of['energy per token, fall-through'])} and"
        f" {with_range(of['energy per token, pipelined'])} the energy of {own.name}, which saves"
        f" {shown(of['synaptic memory'].value)} % of the synaptic memory."
    )


def _on_chip(findings: Findings) -> list[tuple[Contender, str]]:
    return [(one, mode) for one in findings.contenders for mode in ("fall-through", "pipelined")]


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
        label = f"{one.software.partition(' ')[0]}, {one.device.partition(',')[0]}, {mode}"
        label += "" if one.weights == weights else ", other sizes"
        count = sum(name.partition(" (")[0] == label for name in labelled)
        labelled[f"{label} ({count + 1})" if count else label] = one
    return labelled


def _rows(
    measured: Mapping[str, Baseline],
    latencies: Sequence[tuple[str, Quantity]],
    energies: Sequence[tuple[str, Quantity]],
) -> Table:
    """List all numbers of the charts with scope and source."""
    energy_of = dict(energies)
    rows = []
    for label, time in latencies:
        energy, baseline = energy_of.get(label), measured.get(label)
        source = time.source
        if baseline is not None:
            source = f"{baseline.software} on {baseline.device}; {baseline.sizes}; {time.source}"
        rows.append(
            (
                Cell(label, origin=time.origin),
                time,
                energy or "-",
                time.scope,
                energy.scope if energy else baseline.energy_note if baseline else "-",
                source,
            )
        )
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
