"""Tables of a profile: what it costs, what decides, where it goes, and a measurement beside it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.profiling.comparison import Compared
from s5_to_loihi.profiling.estimate import TIMESTEP, energy_name
from s5_to_loihi.profiling.profile import ModeProfile, Profile
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.reports.tables import new_table

#: Cores listed, those that take longest.
SLOWEST = 8
#: Larger units, by the unit that a quantity comes in.
_SCALES = {
    "us": (("s", 1e6), ("ms", 1e3)),
    "uJ": (("J", 1e6), ("mJ", 1e3)),
    "tokens/s": (("k tokens/s", 1e3),),
}


def shown(quantity: Quantity) -> str:
    """Return a number with its range and unit: ``1.77 us (0.20 to 1.80)``."""
    unit, scale = next(
        (one for one in _SCALES.get(quantity.unit, ()) if abs(quantity.value) >= one[1]),
        (quantity.unit, 1.0),
    )
    return scaled(quantity, scale, f" {unit}")


def scaled(quantity: Quantity, scale: float = 1.0, unit: str = "") -> str:
    """Return a number with its range, divided by a scale."""
    value = digits(quantity.value / scale)
    low, high = (digits(number / scale, 2) for number in (quantity.low, quantity.high))
    return f"{value}{unit}" + ("" if low == high else f" ({low} to {high})")


def digits(number: float, significant: int = 3) -> str:
    """Return a number with so many significant digits, large ones whole."""
    if number == 0 or abs(number) >= 10 ** (significant - 1):
        return f"{number:,.0f}"
    return f"{number:.{significant}g}"


def cost_table(profile: Profile) -> Table:
    """One row a figure: both modes, with the interval."""
    table = new_table(
        "Modelled, not run on hardware: nominal (all constants cheap to all dear)",
        ("", "left"),
        *((name, "right") for name in profile.modes),
    )
    modes = list(profile.modes.values())
    for name, get in (
        ("timestep, mean", lambda mode: mode.timestep),
        ("timestep, 95 % of them below", lambda mode: mode.timestep_95),
        ("timestep, longest", lambda mode: mode.timestep_longest),
        ("latency of a token", lambda mode: mode.latency),
        ("throughput", lambda mode: mode.throughput),
    ):
        table.add_row(name, *(shown(get(mode)) for mode in modes))
    for scope in SCOPES:
        table.add_row(f"power, {scope}", *(shown(mode.power[scope]) for mode in modes))
    for scope in SCOPES:
        table.add_row(
            f"energy a token, {scope}", *(shown(mode.energy[scope].total) for mode in modes)
        )
    return table


def spread_table(profile: Profile) -> Table:
    """One row a figure and mode: percentiles over drawn constants, and what moves it most."""
    table = new_table(
        f"Over {profile.samples:,} draws of the constants, and the constants that matter most",
        ("", "left"),
        ("mode", "left"),
        ("5 %", "right"),
        ("median", "right"),
        ("95 %", "right"),
        ("part of the spread", "left"),
    )
    for title, name in (
        ("timestep, us", TIMESTEP),
        *((f"energy, {scope}, uJ", energy_name(scope)) for scope in SCOPES),
    ):
        for mode in profile.modes.values():
            most = (f"{one.constant} {one.share:.0%}" for one in mode.influences[name][:2])
            drawn = mode.distribution[name]
            numbers = (digits(number) for number in (drawn.low, drawn.value, drawn.high))
            table.add_row(title, mode.mode, *numbers, ", ".join(most))
    return table


def energy_table(profile: Profile) -> Table:
    """One row a part of a token's energy; what is drawn at rest for every scope."""
    table = new_table(
        "Energy of a token at full speed, uJ",
        ("", "left"),
        *((name, "right") for name in profile.modes),
    )
    modes = list(profile.modes.values())
    rails = SCOPES[0]
    for part in ("synaptic", "neuron", "communication"):
        table.add_row(part, *(shown(getattr(mode.energy[rails], part)) for mode in modes))
    for scope in SCOPES:
        table.add_row(f"static, {scope}", *(shown(mode.energy[scope].static) for mode in modes))
    return table


def term_table(profile: Profile) -> Table:
    """One row a term of the runtime model: how long it takes alone, how often it decides."""
    table = new_table(
        "What a timestep waits for: us, and the part of the time in which it is the longest",
        ("term", "left"),
        *((heading, "right") for name in profile.modes for heading in (name, "decides")),
    )
    terms = [{term.name: term for term in mode.terms} for mode in profile.modes.values()]
    for name in terms[0]:
        cells = []
        for own in terms:
            cells += [shown(own[name].time), f"{own[name].decides:.0%}"]
        table.add_row(name, *cells)
    return table


def group_table(profile: Profile) -> Table:
    """One row a group."""
    table = new_table(
        "By group: counts of a token, time of its longest part of a core, dynamic nJ by mode",
        ("group", "left"),
        ("phase", "right"),
        ("neurons", "right"),
        ("cores", "right"),
        ("instruc-\ntions", "right"),
        ("mes-\nsages", "right"),
        ("synops", "right"),
        ("time, us", "right"),
        *((name.replace("-", "-\n"), "right") for name in profile.modes),
    )
    for rows in zip(*(mode.groups for mode in profile.modes.values()), strict=True):
        table.add_row(
            rows[0].name,
            f"{rows[0].phase}",
            f"{rows[0].neurons:,}",
            f"{rows[0].cores:,}",
            f"{rows[0].instructions}",
            digits(rows[0].messages.value),
            digits(rows[0].synops.value),
            scaled(rows[0].time),
            *(digits(row.energy.value * 1e3) for row in rows),
        )
    return table


def core_table(mode: ModeProfile) -> Table:
    """One row a core, of the slowest ones."""
    table = new_table(
        f"The {min(SLOWEST, len(mode.cores))} slowest of {len(mode.cores):,} cores, {mode.mode}",
        ("core", "right"),
        ("groups", "left"),
        ("neurons", "right"),
        ("synops", "right"),
        ("time, us", "right"),
        ("by", "left"),
        ("energy, nJ", "right"),
    )
    for row in sorted(mode.cores, key=lambda row: -row.time.value)[:SLOWEST]:
        table.add_row(
            f"{row.core}",
            row.groups[0] + (f" and {len(row.groups) - 1} more" if len(row.groups) > 1 else ""),
            f"{row.neurons:,}",
            digits(row.synops.value),
            scaled(row.time),
            row.limited_by,
            scaled(row.energy, 1e-3),
        )
    return table


def real_time_table(profile: Profile) -> Table:
    """One row a figure of a token each hop."""
    modes = list(profile.modes.values())
    table = new_table(
        f"In real time: a token every {shown(modes[0].real_time.hop)}",
        ("", "left"),
        *((name, "right") for name in profile.modes),
    )
    keeps_up = {3: "yes", 0: "no"}
    table.add_row(
        "keeps up", *(keeps_up.get(sum(m.real_time.keeps_up), "not surely") for m in modes)
    )
    table.add_row("duty cycle", *(f"{mode.real_time.duty_cycle.value:.3%}" for mode in modes))
    table.add_row("latency", *(shown(mode.real_time.latency) for mode in modes))
    for scope in SCOPES:
        table.add_row(
            f"energy a token, {scope}", *(shown(mode.real_time.energy[scope]) for mode in modes)
        )
    return table


def comparison_table(rows: Sequence[Compared]) -> Table:
    """One row a measured number."""
    table = new_table(
        "Measured beside predicted",
        ("", "left"),
        ("measured", "right"),
        ("predicted", "right"),
        ("ratio", "right"),
        ("in range", "left"),
    )
    for row in rows:
        inside = {True: "yes", False: "no", None: row.note or "-"}[row.inside]
        table.add_row(
            row.name,
            shown(row.measured),
            "-" if row.predicted is None else shown(row.predicted),
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            inside,
        )
    return table


def summary(profile: Profile) -> list[str]:
    """Return what the numbers are of, and what decides, in sentences."""
    mapping, activity = profile.mapping, profile.activity
    made = "made here, not written" if mapping.made_here else "of the bundle"
    lines = [
        f"{profile.network} on {profile.system}: {mapping.cores:,} of {mapping.system_cores:,}"
        f" cores, {mapping.chips} of {mapping.system_chips} chips",
        f"Mapping {made}, for {mapping.objective}; activity {activity.origin}",
        f"A token: {digits(activity.synops.value)} synops ({digits(activity.synops.low)} to"
        f" {digits(activity.synops.high)}), {digits(activity.messages.value)} messages,"
        f" {digits(activity.updates.value)} updates",
    ]
    for mode in profile.modes.values():
        decides = mode.critical
        group = f" ({decides.group})" if decides.group else ""
        lines.append(
            f"What decides, {mode.mode}: {decides.resource}, {decides.place}{group},"
            f" {shown(decides.time)}"
        )
    lines.append(f"Source: {profile.source}")
    return lines
