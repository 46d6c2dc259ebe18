"""A measurement beside the prediction: the ratio, and whether it lies in the predicted range."""

from __future__ import annotations

from dataclasses import dataclass

from s5_to_loihi.backends.measured import MeasuredProfile
from s5_to_loihi.errors import InputError
from s5_to_loihi.profiling.profile import ModeProfile, Profile
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.simulators.interpreter import Mode

#: The target whose times are those of the chip.
BOARD = "board"
NOT_THE_CHIP = "a simulator's, not to be compared with the chip's"
NOT_PREDICTED = "the model does not predict it"
#: The counters of a core that are predicted.
COUNTERS = ("synops", "updates", "messages_in")
COUNTED = "simulation of the profiled input, for as many tokens as the run had"


@dataclass(frozen=True)
class Compared:
    """A measured number and its prediction.

    Attributes:
        name: what was measured.
        measured: the number.
        predicted: None where there is no prediction, or none that may stand beside it.
        ratio: measured over predicted.
        inside: whether the measured number lies in the predicted range; None for counts, which
            have none: their ratio is 1 if the run had the input that was profiled.
        note: why there is no prediction, or what to keep in mind.
    """

    name: str
    measured: Quantity
    predicted: Quantity | None
    ratio: float | None
    inside: bool | None
    note: str


def compare(
    profile: Profile, measured: MeasuredProfile, digest: str, where: str
) -> tuple[Compared, ...]:
    """Put what a run measured beside what is predicted.

    Args:
        profile: of the bundle that was run.
        measured: what the run wrote.
        digest: of the bundle.
        where: what to call the measurement in an error.

    Raises:
        InputError: the measurement is of another bundle, or of a mode that there is not.
    """
    if measured.bundle_digest != digest:
        raise InputError(
            where,
            f"was measured on another bundle ({measured.network}, digest"
            f" {measured.bundle_digest[:12] or 'none'}; this one has {digest[:12]})",
            "Give the bundle that was run; mapping or compiling it again changes it",
        )
    if measured.mode not in profile.modes:
        raise InputError(
            where, f"has mode '{measured.mode}'", f"Modes are {', '.join(profile.modes)}"
        )
    mode = profile.modes[measured.mode]
    return (*_times(mode, measured, where), *_powers(mode, measured, where),
            *_counts(mode, measured, where))  # fmt: skip


def _compared(
    name: str,
    value: float,
    predicted: Quantity | None,
    where: str,
    like: tuple[str, str] = ("", ""),
) -> Compared:
    unit, scope = (predicted.unit, predicted.scope) if predicted else like
    measured = Quantity.exact(value, unit, scope, Origin.MEASURED, where)
    if predicted is None:
        return Compared(name, measured, None, None, None, NOT_PREDICTED)
    ratio = value / predicted.value if predicted.value else None
    inside = None if predicted.low == predicted.high else value in predicted
    return Compared(name, measured, predicted, ratio, inside, "")


def _times(mode: ModeProfile, measured: MeasuredProfile, where: str) -> list[Compared]:
    if measured.time is None:
        return []
    time = measured.time
    if measured.target != BOARD:
        simulated = Quantity.exact(
            time.total, "us", "a timestep of the simulator", Origin.MEASURED, where
        )
        return [Compared("timestep", simulated, None, None, None, NOT_THE_CHIP)]
    rows = [_compared("timestep", time.total, mode.timestep, where)]
    if time.spiking is not None:
        rows.append(_compared("timestep, spiking phase", time.spiking, mode.timestep, where))
    for name in ("management", "host"):
        value = getattr(time, name)
        if value is not None:
            rows.append(_compared(f"timestep, {name}", value, None, where, ("us", "a timestep")))
    return rows


def _powers(mode: ModeProfile, measured: MeasuredProfile, where: str) -> list[Compared]:
    if measured.power is None:
        return []
    power, scope = measured.power, measured.power.scope
    rows = [_compared(f"power, {scope}", power.total, mode.power[scope], where)]
    if power.static is not None:
        rows.append(
            _compared(f"power, {scope}, static", power.static, mode.idle_power[scope], where)
        )
    if measured.time is not None and measured.target == BOARD and measured.tokens:
        lasting = measured.time.total * measured.timesteps / measured.tokens
        energy = power.total * lasting
        rows.append(_compared(f"energy, {scope}", energy, mode.energy[scope].total, where))
    for rail, watts in power.rails.items():
        rows.append(_compared(f"power, rail {rail}", watts, None, where, ("W", f"rail {rail}")))
    return rows


def _counts(mode: ModeProfile, measured: MeasuredProfile, where: str) -> list[Compared]:
    """Compare counters: of all cores, of the busiest, and core by core if the same are in use."""
    updating = measured.timesteps if mode.mode == Mode.PIPELINED.value else measured.tokens
    predicted = {
        (core.chip, core.core_on_chip): {
            "synops": core.synops.value * measured.tokens,
            "updates": core.neurons * updating,
            "messages_in": core.messages.value * measured.tokens,
        }
        for core in mode.cores
    }
    rows = []
    for counter in COUNTERS:
        counts = {(one.chip, one.core): getattr(one, counter) for one in measured.activity}
        counts = {place: count for place, count in counts.items() if count is not None}
        if not counts:
            continue
        wanted = {place: numbers[counter] for place, numbers in predicted.items()}
        name = counter.replace("_", " ")
        pairs = [
            ("all cores", sum(counts.values()), sum(wanted.values())),
            ("busiest core", max(counts.values()), max(wanted.values())),
        ]
        if counts.keys() == wanted.keys():
            pairs += [
                (f"chip {chip} core {core}", counts[chip, core], wanted[chip, core])
                for chip, core in sorted(counts)
            ]
        for place, count, number in pairs:
            quantity = Quantity.exact(number, name, "the run", Origin.MODELLED, COUNTED)
            rows.append(_compared(f"{name}, {place}", float(count), quantity, where))
    return rows
