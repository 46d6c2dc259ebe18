"""What a token costs: summary, latency and energy with their ranges, real time, measurements."""

from __future__ import annotations

from dataclasses import replace

from s5_to_loihi.profiling.costs import PARTS
from s5_to_loihi.profiling.estimate import LATENCY, energy_name
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.profile import ModeProfile
from s5_to_loihi.reports import profile_tables
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.page import Card, Cards, Note, Section, card
from s5_to_loihi.reports.numbers import shown, with_range

#: The scope of the energies in the summary: what the network itself draws.
SCOPE = "neurocore rails"
MODES = ("fall-through", "pipelined")
#: A page shows what drawn constants give, too.
COSTS = (
    "Modelled: as given, in brackets with all constants fast and all slow; drawn: median over"
    " constants drawn from their ranges, in brackets the middle nine tenths"
)


def summary(findings: Findings) -> Section:
    """Return the numbers that one looks for first."""
    profile = findings.own.profile
    falling, flowing = (profile.modes[mode] for mode in MODES)
    waiting, mapping = falling.real_time, profile.mapping
    hop = shown(waiting.hop.value / 1000)
    busy = profile_tables.percent(waiting.duty_cycle)
    latency = card("Latency of a token, fall-through", falling.latency)
    in_real_time = [
        card(f"Energy a token, one every {hop} ms", waiting.energy[SCOPE]),
        card(f"Power, a token every {hop} ms", waiting.power[SCOPE]),
        card(f"Busy, a token every {hop} ms", replace(busy, unit="% of the time")),
    ]
    back_to_back = [
        card("Throughput, pipelined", flowing.throughput),
        card("Energy a token, fall-through, back to back", falling.energy[SCOPE].total),
        card("Energy a token, pipelined, back to back", flowing.energy[SCOPE].total),
    ]
    first, then = (in_real_time, back_to_back) if profile.denoiser else (back_to_back, in_real_time)
    cards = [
        latency,
        *first,
        *then,
        card("Synaptic operations", profile.activity.synops),
        Card(
            "Cores",
            f"{mapping.cores:,}",
            f"of {mapping.system_cores:,}",
            f"fullest {shown(100 * mapping.fullest)} % of {mapping.fullest_resource}",
            profile.system,
            "modelled",
        ),
        _verified_card(findings),
    ]
    if findings.denoising is not None:
        after = findings.denoising
        cards.append(
            Card(
                "SI-SNR",
                shown(after.denoised),
                "dB",
                f"noisy {shown(after.noisy)} dB",
                f"of {shown(after.seconds)} s of sound, against the clean recording",
                "measured",
            )
        )
    return Section(
        "summary",
        "Summary",
        (
            *(
                (Note(f"In real time: {profile_tables.real_time_verdict(profile)}."),)
                if profile.denoiser
                else ()
            ),
            Cards(tuple(cards)),
            Note(
                f"What decides a timestep: {_deciding(falling)}; {_deciding(flowing)}."
                " Modelled numbers come with the range of the model's constants; none was measured"
                " on a chip, unless it is marked so."
            ),
        ),
    )


def _deciding(mode: ModeProfile) -> str:
    """Say what a timestep of a mode waits for in most of the time."""
    found = mode.critical
    place = ", ".join(filter(None, (found.resource, found.place, found.group)))
    return f"{mode.mode}, {place}"


def _verified_card(findings: Findings) -> Card:
    if not findings.runs:
        return Card("Verified", "not", "", "", "the bundle holds no recorded integers", "")
    integers = sum(tensor.compared for run in findings.runs for tensor in run.tensors)
    equal = all(run.equal for run in findings.runs)
    modes = " and ".join(run.mode.value for run in findings.runs)
    return Card(
        "Verified",
        "all equal" if equal else "different",
        "",
        f"{integers:,} integers",
        f"interpreter, {modes}, against the recorded ones",
        "measured",
    )


def cost(findings: Findings) -> Section:
    """Return time and energy of both modes."""
    modes = [findings.own.profile.modes[mode] for mode in MODES]
    times = [
        *((f"latency, {mode.mode}", mode.latency) for mode in modes),
        *((f"timestep, {mode.mode}", mode.timestep) for mode in modes),
    ]
    energies = [
        (f"{mode.mode}, {scope}", split) for mode in modes for scope, split in mode.energy.items()
    ]
    return Section(
        "cost",
        "Time and energy",
        (
            charts.ranges(
                "times",
                "Time: the dot is the model with its constants as given, the line their whole"
                " range. Latency is from a token's entry to its output, without the host.",
                times,
            ),
            charts.stacked(
                "energies",
                "Energy of a token by what it is spent on, and by which supplies are counted."
                " Scopes differ several times: compare only like with like.",
                [
                    (label, {part: getattr(split, part).value for part in PARTS}, split.total)
                    for label, split in energies
                ],
            ),
            replace(profile_tables.cost_table(modes), title=COSTS),
            profile_tables.term_table(modes),
            *profile_tables.core_tables(findings.own.profile),
            profile_tables.influence_table(modes, (LATENCY, energy_name(SCOPE))),
        ),
    )


def real_time(findings: Findings) -> Section:
    """Return what the network takes with a token every hop."""
    modes = [findings.own.profile.modes[mode] for mode in MODES]
    hop = modes[0].real_time.hop
    return Section(
        "real-time",
        "In real time",
        (
            Note(
                f"A token every {with_range(hop)}; what is drawn while the chip waits is counted."
            ),
            profile_tables.real_time_table(modes),
        ),
    )


def measured(findings: Findings) -> Section | None:
    """Return what a board run measured beside what is predicted; None without one."""
    run = findings.measured
    if run is None:
        return None
    place = ", ".join(f"{name} {value}" for name, value in run.environment.items())
    return Section(
        "measured",
        "Measured and predicted",
        (
            Note(
                f"Run on {run.target}, {run.mode}, {run.tokens:,} tokens, {run.timesteps:,}"
                f" timesteps; {place or 'nothing is said of the environment'}."
            ),
            profile_tables.comparison_table(findings.compared),
        ),
    )
