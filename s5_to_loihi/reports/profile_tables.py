"""Tables of a profile: what it costs, what decides, where it goes, and a measurement beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.profiling.breakdown import CoreRow, GroupRow
from s5_to_loihi.profiling.comparison import Compared
from s5_to_loihi.profiling.costs import PARTS
from s5_to_loihi.profiling.estimate import LATENCY, THROUGHPUT, TIMESTEP, energy_name, power_name
from s5_to_loihi.profiling.profile import ModeProfile, Profile
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports.numbers import short, shown, with_range
from s5_to_loihi.reports.table import (
    Cell,
    Content,
    Mark,
    Names,
    Number,
    Table,
    of_rows,
    share,
    table,
)

#: Cores listed on a terminal, those that take longest.
SLOWEST = 8


def _for_each(modes: Sequence[ModeProfile]) -> list[str]:
    """Return headings: the modes."""
    return [f"{mode.mode} #" for mode in modes]


def cost_table(modes: Sequence[ModeProfile]) -> Table:
    """One row a figure: all modes, with the interval, on a page also what drawn constants give."""
    rows = []
    for figures in zip(*map(_figures, modes), strict=True):
        cells: list[Content] = [figures[0][0]]
        for mode, (_, drawn, number) in zip(modes, figures, strict=True):
            cells += [number, mode.distribution.get(drawn, "-")]
        rows.append(cells)
    return of_rows(
        "Modelled, not run on hardware: as given (all constants low to all high)",
        ("", *(head for mode in modes for head in (f"{mode.mode} #", f"+{mode.mode}, drawn #"))),
        rows,
    )


def _figures(mode: ModeProfile) -> list[tuple[str, str, Quantity]]:
    """Return the figures of a mode: for people, the name of the distribution, the number."""
    energies = {scope: split.total for scope, split in mode.energy.items()}
    return [
        ("timestep, mean", TIMESTEP, mode.timestep),
        ("timestep, 95th percentile", "", mode.timestep_95),
        ("timestep, longest", "", mode.timestep_longest),
        ("latency of a token", LATENCY, mode.latency),
        ("throughput", THROUGHPUT, mode.throughput),
        *((f"power, {scope}", power_name(scope), one) for scope, one in mode.power.items()),
        *((f"energy a token, {scope}", energy_name(scope), energies[scope]) for scope in energies),
    ]


def spread_table(profile: Profile) -> Table:
    """One row a figure and mode: percentiles over drawn constants, and what moves it most."""
    figures = {"timestep, µs": TIMESTEP}
    figures |= {f"energy, {scope}, µJ": energy_name(scope) for scope in SCOPES}
    rows = []
    for title, name in figures.items():
        for mode in profile.modes.values():
            drawn = mode.distribution[name]
            numbers = (short(number) for number in (drawn.low, drawn.value, drawn.high))
            most = (f"{one.constant} {one.share:.0%}" for one in mode.influences[name][:2])
            rows.append((title, mode.mode, *numbers, ", ".join(most)))
    return of_rows(
        f"Over {profile.samples:,} draws of the constants, and the constants that matter most",
        ("", "mode", "5 % #", "median #", "95 % #", "share of the spread"),
        rows,
    )


def influence_table(modes: Sequence[ModeProfile], figures: Sequence[str]) -> Table:
    """One row a mode, a figure and a constant: what the constant does to the figure alone."""
    return table(
        "Which constants the uncertainty comes from: the number with one constant at the ends of"
        " its range, all others as given",
        [
            (mode, name, one)
            for mode in modes
            for name in figures
            for one in mode.influences[name][:4]
        ],
        {
            "mode": lambda row: row[0].mode,
            "number": lambda row: row[1],
            "constant": lambda row: row[2].constant,
            "number with its range #": lambda row: row[2].effect,
            "share of the spread #": lambda row: share(row[2].share),
        },
        folded=True,
    )


def energy_table(modes: Sequence[ModeProfile]) -> Table:
    """One row a part of a token's energy; what is drawn at rest for every scope."""
    rails = [mode.energy[SCOPES[0]] for mode in modes]
    *dynamic, static = PARTS
    rows = [(part, *(getattr(split, part) for split in rails)) for part in dynamic]
    for scope in SCOPES:
        rows.append((f"{static}, {scope}", *(mode.energy[scope].static for mode in modes)))
    return of_rows("Energy of a token at full speed, µJ", ("", *_for_each(modes)), rows)


def term_table(modes: Sequence[ModeProfile]) -> Table:
    """One row a term of the runtime model: how long it takes alone, how often it decides."""
    # Each mode has its terms in an order of its own.
    terms = [{term.name: term for term in mode.terms} for mode in modes]
    rows = []
    for name in terms[0]:
        cells = [Cell(name)]
        for of in terms:
            cells += [Cell(of[name].time), share(of[name].decides)]
        rows.append(cells)
    return of_rows(
        "What a timestep waits for: µs, and how often it is the longest",
        (
            "term",
            *(head for mode in modes for head in (f"{mode.mode} #", f"{mode.mode} decides #")),
        ),
        rows,
        folded=True,
    )


def core_tables(profile: Profile) -> tuple[Table, ...]:
    """One row a number of cores: its own mapping, others of ours, and Intel-like ones."""
    if not profile.curve:
        return ()
    return (
        table(
            "Latency over the number of cores (ours is balanced by the model; a board run goes"
            " through Intel's compiler)",
            profile.curve,
            {
                "cores #": lambda one: one.cores,
                "partition": lambda one: one.partition,
                "latency, fall-through #": lambda one: one.latency,
                "timestep, pipelined #": lambda one: one.timestep,
            },
        ),
    )


def group_table(modes: Sequence[ModeProfile]) -> Table:
    """One row a group."""

    def energy(place: int) -> Callable[[tuple[GroupRow, ...]], Cell]:
        return lambda of: Cell(of[place].energy, ranged=False)

    return table(
        "By group: counts a token, time on its slowest core, dynamic nJ in each mode",
        zip(*(mode.groups for mode in modes), strict=True),
        {
            "group": lambda of: of[0].name,
            "phase #": lambda of: of[0].phase,
            "neurons #": lambda of: of[0].neurons,
            "cores #": lambda of: of[0].cores,
            "instruc\u00adtions #": lambda of: of[0].instructions,
            "mes\u00adsages #": lambda of: _count(of[0].messages),
            "synops #": lambda of: _count(of[0].synops),
            "time # µs": lambda of: of[0].time,
            **{f"{mode.mode} # nJ": energy(place) for place, mode in enumerate(modes)},
        },
    )


def norm_tables(modes: Sequence[ModeProfile]) -> list[Table]:
    """One row a norm that is computed on the chip, beside one that is not; none if all are not."""
    rows: list[list[Content]] = [
        [
            norm[0].norm, norm[0].kind, norm[0].neurons, norm[0].synapses, norm[0].timesteps,
            *(of.time for of in norm),
        ]
        for norm in zip(*(mode.norms for mode in modes), strict=True)
    ]  # fmt: skip
    if not rows:
        return []
    nothing = [replace(time, value=0.0, low=0.0, high=0.0) for time in (m.timestep for m in modes)]
    rows.append(["for comparison", "batch norm before the SSM, folded", 0, 0, 0, *nothing])
    heads = ("norm", "kind", "neurons #", "synapses #", "timesteps #")
    title = "Norms: what each adds to the network, and to the way of a token"
    return [of_rows(title, (*heads, *(f"{mode.mode} # µs" for mode in modes)), rows)]


def _count(quantity: Quantity) -> Quantity:
    """Return a number whose column says what it counts."""
    return replace(quantity, unit="")


def core_table(title: str, cores: Iterable[CoreRow]) -> Table:
    """One row a core."""
    return table(
        title,
        cores,
        {
            "core #": lambda row: f"{row.core}",
            "+chip #": lambda row: row.chip,
            "groups": lambda row: Names(row.groups),
            "neurons #": lambda row: row.neurons,
            "synops #": lambda row: _count(row.synops),
            "+words read #": lambda row: _count(row.words),
            "+messages in #": lambda row: _count(row.messages),
            "time # µs": lambda row: row.time,
            "limited by": lambda row: row.limited_by,
            "energy # nJ": lambda row: row.energy,
        },
        folded=True,
    )


def slowest_table(mode: ModeProfile) -> Table:
    """One row a core, of the slowest ones."""
    return core_table(
        f"The {min(SLOWEST, len(mode.cores))} slowest of {len(mode.cores):,} cores, {mode.mode}",
        sorted(mode.cores, key=lambda row: -row.time.value)[:SLOWEST],
    )


def real_time_table(modes: Sequence[ModeProfile]) -> Table:
    """One row a figure of a token each hop."""
    views = [mode.real_time for mode in modes]
    rows: list[tuple[Cell | Content, ...]] = [
        ("keeps up", *(_kept(*view.keeps_up) for view in views)),
        ("duty cycle", *(Cell(percent(view.duty_cycle), ranged=False) for view in views)),
        ("latency", *(view.latency for view in views)),
    ]
    for scope in SCOPES:
        rows.append((f"energy a token, {scope}", *(view.energy[scope] for view in views)))
    title = f"In real time: a token every {with_range(views[0].hop)}"
    return of_rows(title, ("", *_for_each(modes)), rows)


def _kept(fast: bool, nominal: bool, slow: bool) -> Cell:
    """Say with which constants the chip is done before the next token comes."""
    words = "yes" if slow else "as given" if nominal else "only if fast" if fast else "no"
    return Cell(words, None if nominal else Mark.NOTICE)


def percent(part: Quantity) -> Quantity:
    """Return a fraction in percent."""
    value, low, high = (100 * one for one in (part.value, part.low, part.high))
    return replace(part, value=value, low=low, high=high, unit="%")


def comparison_table(rows: Iterable[Compared]) -> Table:
    """One row a measured number."""
    return table(
        "Measured beside predicted",
        rows,
        {
            "number": lambda row: row.name,
            "measured #": lambda row: row.measured,
            "predicted #": lambda row: row.predicted or "-",
            "measured / predicted #": lambda row: (
                "-" if row.ratio is None else Number(row.ratio, 2)
            ),
            "in range": lambda row: _inside(row.inside),
            "note": lambda row: row.note,
        },
    )


def _ratio(row: Compared) -> Content:
    return "-" if row.ratio is None else Number(row.ratio, 2)


def _inside(inside: bool | None) -> Cell:
    if inside is None:
        return Cell("-")
    return Cell("yes") if inside else Cell("no", Mark.BAD)


def all_tables(profile: Profile) -> tuple[Table, ...]:
    """Return what a terminal shows of a profile."""
    modes = tuple(profile.modes.values())
    in_real_time = real_time_table(modes)
    return (
        *((in_real_time,) if profile.denoiser else ()),
        cost_table(modes),
        energy_table(modes),
        spread_table(profile),
        term_table(modes),
        group_table(modes),
        *norm_tables(modes),
        slowest_table(profile.modes["pipelined"]),
        *core_tables(profile),
        *(() if profile.denoiser else (in_real_time,)),
    )


def real_time_verdict(profile: Profile) -> str:
    """Return what a token costs in real time, in one sentence: a token at a time."""
    mode = profile.modes["fall-through"]
    view = mode.real_time
    energy, power = view.energy[SCOPES[0]], view.power[SCOPES[0]]
    rest = 100 * mode.idle_power[SCOPES[0]].value / power.value
    share = "more than 99.9" if rest > 99.9 else shown(rest)
    does = "takes" if view.keeps_up[1] else "does not keep up: it takes"
    return (
        f"a token every {with_range(view.hop)} {does} {with_range(mode.latency, narrow=True)} and"
        f" {with_range(energy, narrow=True)}, {share} % of it drawn at rest"
    )


def verdict(profile: Profile) -> str:
    """Return what a token that is alone on the chip costs; of a denoiser in real time."""
    mode = profile.modes["fall-through"]
    if profile.denoiser:
        said = real_time_verdict(profile)
        return f"{profile.network} on {profile.system}, in real time: {said}, modelled"
    energy = mode.energy[SCOPES[0]].total
    return (
        f"{profile.network} on {profile.system}: a token on its own takes"
        f" {with_range(mode.latency, narrow=True)} and {with_range(energy, narrow=True)}, modelled"
    )


def facts(profile: Profile) -> list[tuple[str, str]]:
    """Return what the numbers are of, what each mode costs and what decides."""
    mapping, activity = profile.mapping, profile.activity
    made = "made here, not saved" if mapping.made_here else "the bundle's own"
    view = profile.modes["fall-through"].real_time
    of_energy, of_power = (
        with_range(one[SCOPES[0]], narrow=True) for one in (view.energy, view.power)
    )
    in_real_time = (
        "real time",
        f"a token every {with_range(view.hop)}, fall-through: busy"
        f" {with_range(percent(view.duty_cycle), narrow=True)} of the time, {of_energy} a token,"
        f" {of_power} ({SCOPES[0]})",
    )
    lines = [
        *((in_real_time,) if profile.denoiser else ()),
        (
            "mapping",
            f"{made}, {mapping.objective}: {mapping.cores:,} of {mapping.system_cores:,} cores,"
            f" {mapping.chips} of {mapping.system_chips} chips",
        ),
        (
            "activity",
            f"{short(activity.synops.value)} synops ({short(activity.synops.low)} to"
            f" {short(activity.synops.high)}), {short(activity.messages.value)} messages,"
            f" {short(activity.updates.value)} updates a token, {activity.origin}",
        ),
    ]
    for mode in profile.modes.values():
        energy = mode.energy[SCOPES[0]].total
        lines.append(
            (
                mode.mode,
                f"latency {with_range(mode.latency, narrow=True)},"
                f" {with_range(mode.throughput, narrow=True)},"
                f" {with_range(energy, narrow=True)} a token ({SCOPES[0]})",
            )
        )
    decides = [
        f"{one.resource}, {one.place}" + (f" ({one.group})" if one.group else "")
        for one in (mode.critical for mode in profile.modes.values())
    ]
    lines.append(("decides", "; ".join(dict.fromkeys(decides))))
    if not profile.denoiser:
        lines.append(in_real_time)
    lines.append(("source", profile.source))
    return lines
