"""What a report says first: one sentence, and six numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from s5_to_loihi.backends.measured import SCOPES
from s5_to_loihi.evaluation.classification import Answered
from s5_to_loihi.evaluation.result import Evaluated
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.profiling.profile import ModeProfile, Profile
from s5_to_loihi.profiling.quantity import Quantity
from s5_to_loihi.profiling.real_time import RealTime
from s5_to_loihi.reports import answer_tables, evaluation_tables
from s5_to_loihi.reports.html.page import Card, card
from s5_to_loihi.reports.numbers import in_words, short, shown, with_range

#: The scope of energies and powers at the top: what the network itself draws.
SCOPE = SCOPES[0]


class Verdict(NamedTuple):
    """A sentence in two parts, what speaks against believing it, and six numbers."""

    answer: str
    rest: str
    doubt: str
    cards: tuple[Card, ...]


def verdict(findings: Findings, evaluated: Evaluated | Answered | None) -> Verdict:
    """Return what one wants to know of a network in ten seconds."""
    profile = findings.own.profile
    falling, flowing = profile.modes["fall-through"], profile.modes["pipelined"]
    view = falling.real_time
    fits = f"It fits on {_fits(profile)}."
    if profile.denoiser:
        energy, power = view.energy[SCOPE], view.power[SCOPE]
        answer = keeps_up_said(view)
        rest = (
            f"A token comes every {with_range(view.hop)} and is answered after"
            f" {_plainly(falling.latency)}, for {_plainly(energy)} at {_plainly(power)}."
        )
        first = (
            card("Faster than real time", _factor(view)),
            card("Latency of a token", falling.latency),
            _card(f"Power, a token every {with_range(view.hop)}", power, energy),
        )
    else:
        energy = falling.energy[SCOPE].total
        answer = f"Answers a token in {_plainly(falling.latency)}, for {_plainly(energy)}."
        rest = f"In a long sequence it computes {_plainly(flowing.throughput)}."
        first = (
            card("Latency of a token, fall-through", falling.latency),
            card("Throughput, pipelined", flowing.throughput),
            card("Energy of a token, fall-through", energy),
        )
    fidelity, of_fidelity = _fidelity(findings, evaluated)
    return Verdict(
        answer,
        " ".join(filter(None, (rest, fidelity, fits))),
        f"{_verified(findings)} {_doubt(falling, flowing)}",
        (*first, of_fidelity, _cores_card(profile), _verified_card(findings)),
    )


def _plainly(quantity: Quantity) -> str:
    """Return a number with its unit and without its range."""
    words = in_words(quantity)
    return f"{words.value} {words.unit}"


def _factor(view: RealTime) -> Quantity:
    """Return how many times as fast as real time it is."""
    busy = view.duty_cycle
    return replace(
        busy,
        value=1 / busy.value,
        low=1 / busy.high,
        high=1 / busy.low,
        unit="x",
        scope=f"{with_range(view.hop)} between tokens over the time that one takes",
    )


def keeps_up_said(view: RealTime) -> str:
    """Say whether it keeps up with real time, by what factor, and how sure that is."""
    fast, nominal, slow = view.keeps_up
    factor = _factor(view)
    if slow:
        return f"Keeps up with real time {short(factor.value)} times over."
    if nominal:
        return (
            f"Keeps up with real time {short(factor.value)} times over, unless the chip is slower"
            " than assumed."
        )
    wanted = f"it would have to be {short(1 / factor.value)} times as fast"
    if fast:
        return f"Does not keep up with real time, unless the chip is faster than assumed: {wanted}."
    return f"Does not keep up with real time: {wanted}."


def _card(title: str, power: Quantity, energy: Quantity) -> Card:
    """Return a card for a power that says what that is a token."""
    made = card(title, power)
    return replace(made, range=f"{made.range}; {with_range(energy)} a token")


def _fits(profile: Profile) -> str:
    mapping = profile.mapping
    chips = f", {mapping.chips} chips" if mapping.chips > 1 else ""
    return f"{mapping.cores:,} of {mapping.system_cores:,} cores of {profile.system}{chips}"


def _cores_card(profile: Profile) -> Card:
    mapping = profile.mapping
    return Card(
        "Fits on",
        f"{mapping.cores:,}",
        f"of {mapping.system_cores:,} cores",
        f"fullest: {shown(100 * mapping.fullest)} % of {mapping.fullest_resource}",
        f"{profile.system}, mapped {mapping.objective}",
        "modelled",
    )


def _fidelity(findings: Findings, evaluated: Evaluated | Answered | None) -> tuple[str, Card]:
    """Say what integers cost in quality, as far as that is known: a sentence, and a card."""
    scores = findings.opened.source.get("scores", "").split(", ")[0]
    # Such as "output SQNR on held-out data 37.11 dB".
    what, _, number = scores.removesuffix(" dB").rpartition(" ")
    known = f"{what[:1].upper()}{what[1:]} is {number} dB." if scores.endswith(" dB") else ""
    if scores.endswith(" dB"):
        made = Card("SQNR", number, "dB", "of integers to floats", what, "measured")
    else:
        made = card("Synaptic operations", findings.own.profile.activity.synops)
    if findings.denoising is not None:
        of = findings.denoising
        known = f"SI-SNR rises from {of.noisy:.2f} to {of.denoised:.2f} dB."
        scope = f"of {shown(of.seconds)} s of sound, against the clean recording"
        noisy = f"noisy: {shown(of.noisy)} dB"
        made = Card("SI-SNR, denoised", shown(of.denoised), "dB", noisy, scope, "measured")
    if evaluated is not None:
        module = answer_tables if isinstance(evaluated, Answered) else evaluation_tables
        known = f"On a test set: {module.verdict(evaluated).partition(': ')[2]}."
    return known, made


def _verified(findings: Findings) -> str:
    """Say whether the integers are right."""
    if not findings.runs:
        return "The bundle holds no recorded integers to verify it with."
    if all(run.equal for run in findings.runs):
        return f"All {_integers(findings):,} recorded integers came out equal."
    return "Some integers differ from the recorded ones: see Values and verification."


def _integers(findings: Findings) -> int:
    return sum(tensor.compared for run in findings.runs for tensor in run.tensors)


def _verified_card(findings: Findings) -> Card:
    if not findings.runs:
        return Card("Verified", "not", "", "", "the bundle holds no recorded integers", "")
    equal = all(run.equal for run in findings.runs)
    modes = " and ".join(run.mode.value for run in findings.runs)
    return Card(
        "Verified",
        "all equal" if equal else "different",
        "",
        f"{_integers(findings):,} integers",
        f"interpreter, {modes}, against the recorded ones",
        "measured",
    )


def _doubt(*modes: ModeProfile) -> str:
    """Say what nobody has measured, and what a timestep waits for."""
    places = [
        ", ".join(filter(None, (one.resource, one.place, one.group)))
        for one in (mode.critical for mode in modes)
    ]
    decides = " and ".join(dict.fromkeys(places))
    return (
        "Times, energies and powers are modelled, with the range of the model's constants: nothing"
        f" has run on a chip unless it is marked measured. What decides the time: {decides}."
    )
