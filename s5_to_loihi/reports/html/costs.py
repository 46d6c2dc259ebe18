"""What a token costs: summary, latency and energy with their ranges, real time, measurements."""

from __future__ import annotations

from dataclasses import replace

from s5_to_loihi.profiling.core_numbers import OWN
from s5_to_loihi.profiling.costs import PARTS
from s5_to_loihi.profiling.estimate import LATENCY, energy_name
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.profile import Profile
from s5_to_loihi.reports import profile_tables
from s5_to_loihi.reports.html import charts
from s5_to_loihi.reports.html.page import Block, Cards, Note, Pair, Section
from s5_to_loihi.reports.html.terms import terms
from s5_to_loihi.reports.html.verdict import SCOPE, Verdict
from s5_to_loihi.reports.numbers import with_range

MODES = ("fall-through", "pipelined")
#: What a mode is for.
FOR = {
    "fall-through": "For a stream: one token at a time.",
    "pipelined": "For recordings: the tokens of a sequence one behind the other.",
}
#: A page shows what drawn constants give, too.
COSTS = (
    "Modelled: as given, in brackets with all constants fast and all slow; drawn: median over"
    " constants drawn from their ranges, in brackets the middle nine tenths"
)


def summary(found: Verdict) -> Section:
    """Return the numbers that one looks for first."""
    return Section("summary", "Summary", (Cards(found.cards),))


def cost(findings: Findings) -> Section:
    """Return time and energy of both modes."""
    modes = [findings.own.profile.modes[mode] for mode in MODES]
    times = [
        *((f"latency, {mode.mode}", mode.latency) for mode in modes),
        *((f"timestep, {mode.mode}", mode.timestep) for mode in modes),
    ]
    return Section(
        "cost",
        "Time and energy at full speed",
        (
            terms("Fall-through", "Pipelined", "Timestep", "Neurocore rails"),
            charts.ranges(
                "Latency of a token, and one timestep",
                "The dot is the model with its constants as given, the line their whole range."
                " Latency is from a token's entry to its output, without the host.",
                times,
            ),
            Pair(
                tuple(
                    charts.stacked(
                        f"Energy of a token, {mode.mode}, by power scope",
                        f"{FOR[mode.mode]} Scopes count different supplies: compare only like with"
                        " like.",
                        [
                            (scope, {part: getattr(of, part).value for part in PARTS}, of.total)
                            for scope, of in mode.energy.items()
                        ],
                    )
                    for mode in modes
                )
            ),
            replace(profile_tables.cost_table(modes), title=COSTS),
            profile_tables.term_table(modes),
            *_over_cores(findings.own.profile),
            profile_tables.influence_table(modes, (LATENCY, energy_name(SCOPE))),
        ),
    )


def _over_cores(profile: Profile) -> tuple[Block, ...]:
    """Draw what other numbers of cores would cost; nothing where that was not computed."""
    if not profile.curve:
        return ()
    labels = [f"{one.cores:,} cores" for one in profile.curve]
    kinds = [one.partition for one in profile.curve]
    own = next(one for one in profile.curve if one.partition == OWN)
    caption = (
        "Ours is balanced by the model. Intel-like: as Intel's compiler is known to partition,"
        " which a run on a board goes through."
    )
    charts_of = (
        ("Latency of a token over the number of cores, fall-through", "latency"),
        ("Timestep over the number of cores, pipelined", "timestep"),
    )
    return (
        Pair(
            tuple(
                charts.ranges(
                    title,
                    caption,
                    [
                        (label, getattr(one, name))
                        for label, one in zip(labels, profile.curve, strict=True)
                    ],
                    rule=("as long as this mapping", getattr(own, name).value),
                    kinds=kinds,
                )
                for title, name in charts_of
            )
        ),
        *(replace(one, folded=True) for one in profile_tables.core_tables(profile)),
    )


def real_time(findings: Findings) -> Section:
    """Return what the network takes with a token every hop."""
    modes = [findings.own.profile.modes[mode] for mode in MODES]
    falling, flowing = (mode.real_time for mode in modes)
    hop = falling.hop
    every = with_range(hop)
    return Section(
        "real-time",
        "In real time",
        (
            terms("Token", "Fall-through", "Pipelined", "Neurocore rails"),
            charts.ranges(
                f"Time from a token to its output, one every {every}",
                "Fall-through, the chip computes a token at once and waits for the next one."
                " Pipelined, each timestep waits for a token, so an answer takes as many of these"
                " intervals as the network has timesteps.",
                [("fall-through", falling.latency), ("pipelined", flowing.latency)],
                rule=(f"the next token comes ({every})", hop.value),
            ),
            charts.ranges(
                f"Energy of a token in real time, one every {every}, by power scope",
                "What the chip draws while it waits is counted; that is nearly all of it for a"
                " small network. Fall-through.",
                list(falling.energy.items()),
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
