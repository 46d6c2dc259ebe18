"""What a token costs: summary, latency and energy with their ranges, real time, measurements."""

from __future__ import annotations

from s5_to_loihi.profiling.costs import PARTS
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.profile import ModeProfile
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.cells import card, number, share, table, text
from s5_to_loihi.reports.html.page import Card, Cards, Cell, Note, Section
from s5_to_loihi.reports.numbers import shown, with_range

#: The scope of the energies in the summary: what the network itself draws.
SCOPE = "neurocore rails"
MODES = ("fall-through", "pipelined")


def summary(findings: Findings) -> Section:
    """Return the numbers that one looks for first."""
    profile = findings.own.profile
    falling, flowing = (profile.modes[mode] for mode in MODES)
    waiting, mapping = falling.real_time, profile.mapping
    hop = shown(waiting.hop.value / 1000)
    cards = [
        card("Latency of a token, fall-through", falling.latency),
        card("Throughput, pipelined", flowing.throughput),
        card("Energy a token, fall-through", falling.energy[SCOPE].total),
        card("Energy a token, pipelined", flowing.energy[SCOPE].total),
        card(f"Busy, a token every {hop} ms", _percent(waiting.duty_cycle)),
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


def _percent(part: Quantity) -> Quantity:
    return Quantity(
        100 * part.value, 100 * part.low, 100 * part.high, "% of the time", part.scope,
        part.origin, part.source,
    )  # fmt: skip


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
            _cost_table(modes),
            _terms_table(modes),
            _influence_table(modes),
        ),
    )


def _figures(mode: ModeProfile) -> dict[str, tuple[Quantity, str]]:
    """Return the numbers of a mode: for people -> number, name of its distribution."""
    return {
        "timestep, mean": (mode.timestep, "timestep"),
        "timestep, 95th percentile": (mode.timestep_95, ""),
        "timestep, longest": (mode.timestep_longest, ""),
        "latency": (mode.latency, "latency"),
        "throughput": (mode.throughput, "throughput"),
        **{
            f"energy a token, {scope}": (split.total, f"energy, {scope}, total")
            for scope, split in mode.energy.items()
        },
        **{f"power, {scope}": (one, f"power, {scope}") for scope, one in mode.power.items()},
    }


def _cost_table(modes: list[ModeProfile]):
    rows = []
    for name in _figures(modes[0]):
        cells: list[Cell] = [text(name)]
        for mode in modes:
            quantity, drawn = _figures(mode)[name]
            cells.append(number(quantity))
            spread = mode.distribution.get(drawn)
            cells.append(number(spread) if spread else text("-"))
        rows.append(tuple(cells))
    return table(
        "Modelled: as given, in brackets with all constants fast and all slow; drawn: median over"
        " constants drawn from their ranges, in brackets the middle nine tenths",
        "number | fall-through # | drawn # | pipelined # | drawn #",
        rows,
    )


def _terms_table(modes: list[ModeProfile]):
    return table(
        "What a timestep waits for: the longest decides",
        "mode | waits for | takes, alone # | decides #",
        [
            (text(mode.mode), text(term.name), number(term.time), share(term.decides))
            for mode in modes
            for term in mode.terms
            if term.time.high > 0
        ],
        folded=True,
    )


def _influence_table(modes: list[ModeProfile]):
    return table(
        "Which constants the uncertainty comes from: the number with one constant at the ends of"
        " its range, all others as given",
        "mode | number | constant | number with its range # | share of the spread #",
        [
            (
                text(mode.mode),
                text(name),
                text(one.constant),
                number(one.effect),
                share(one.share),
            )
            for mode in modes
            for name in ("latency", f"energy, {SCOPE}, total")
            for one in mode.influences[name][:4]
        ],
        folded=True,
    )


def real_time(findings: Findings) -> Section:
    """Return what the network takes with a token every hop."""
    modes = [findings.own.profile.modes[mode] for mode in MODES]
    hop = modes[0].real_time.hop
    rows = []
    for mode in modes:
        view = mode.real_time
        fast, nominal, slow = view.keeps_up
        kept = "yes" if slow else "as given" if nominal else "only if fast" if fast else "no"
        rows.append(
            (
                text(mode.mode),
                text(kept, warning=not nominal),
                number(_percent(view.duty_cycle)),
                number(view.latency),
                *(number(one) for one in view.energy.values()),
            )
        )
    scopes = " | ".join(f"energy a token, {scope} #" for scope in modes[0].real_time.energy)
    return Section(
        "real-time",
        "In real time",
        (
            Note(
                f"A token every {with_range(hop)}; what is drawn while the chip waits is counted."
            ),
            table(
                "Modelled, with the range of the constants",
                f"mode | keeps up | busy # | latency # | {scopes}",
                rows,
            ),
        ),
    )


def measured(findings: Findings) -> Section | None:
    """Return what a board run measured beside what is predicted; None without one."""
    run = findings.measured
    if run is None:
        return None
    rows = []
    for one in findings.compared:
        inside = {True: "yes", False: "no", None: ""}[one.inside]
        rows.append(
            (
                text(one.name),
                number(one.measured),
                number(one.predicted) if one.predicted else text(""),
                text("" if one.ratio is None else f"{shown(one.ratio)} ×"),
                text(inside, warning=one.inside is False),
                text(one.note),
            )
        )
    place = ", ".join(f"{name} {value}" for name, value in run.environment.items())
    return Section(
        "measured",
        "Measured and predicted",
        (
            Note(
                f"Run on {run.target}, {run.mode}, {run.tokens:,} tokens, {run.timesteps:,}"
                f" timesteps; {place or 'nothing is said of the environment'}."
            ),
            table(
                "Measured beside predicted",
                "number | measured # | predicted # | measured / predicted # | in range | note",
                rows,
            ),
        ),
    )
