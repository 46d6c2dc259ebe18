"""All that a report says of a bundle: estimated, measured here, read, and verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s5_to_loihi import audio, bundle, inspection, verification
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.backends.measured import MeasuredProfile, read_measured
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.denoising import denoise, read_pair, unrelated
from s5_to_loihi.errors import CapacityError, InputError
from s5_to_loihi.inputs import Layout, largest_of, louder_said, saturated_said
from s5_to_loihi.inspection import PortSummary, ValueSummary, WeightSummary
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.profiling.activity import Recording, record
from s5_to_loihi.profiling.baselines import Baseline, measure, read_baselines
from s5_to_loihi.profiling.comparison import Compared, compare
from s5_to_loihi.profiling.contenders import Contender, contender, twins
from s5_to_loihi.profiling.dense_float import is_s5, sizes_of
from s5_to_loihi.profiling.profile import fitting, map_recording, recorded_tokens
from s5_to_loihi.simulation import Typical, read_typical
from s5_to_loihi.simulators.interpreter import Mode
from s5_to_loihi.verification import RunResult

#: What a report calls the network that it is of.
OWN = "this network"
#: Tokens of all sequences together whose values are summarised.
VALUE_TOKENS = 4096
#: Tokens of the first sequence that are verified falling through.
FALL_THROUGH_TOKENS = 64
#: A step of ``gather``, to say which one runs: its name, and done and in all.
Progress = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class Sources:
    """What a report is made of.

    Attributes:
        bundle: the network's directory.
        inputs: data to count activity with; by default the bundle's recorded tokens.
        clean: the clean version of the recording in ``inputs``, to say how well it is denoised.
        system: to map onto; by default that of the bundle's mapping, else the smallest that fits.
        dense: a bundle to compare with.
        measured: the result of a board run.
        baselines: results of ``benchmarks/baselines.py``.
        measure: whether to measure the float model here.
        seed: of mappings and drawn constants.
        raw: take integers in ``inputs`` as integers of the input format.
        layout: of three axes of ``inputs``; None: tokens first, unless something speaks against it.
    """

    bundle: Path
    inputs: Path | None = None
    clean: Path | None = None
    system: System | None = None
    dense: Path | None = None
    measured: Path | None = None
    baselines: tuple[Path, ...] = ()
    measure: bool = True
    seed: int = 0
    raw: bool = False
    layout: Layout | None = None


@dataclass(frozen=True)
class Denoising:
    """SI-SNR of a recording in dB, before and after, means over channels."""

    noisy: float
    denoised: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found.

    Attributes:
        opened: the bundle.
        digest: of its manifest.
        recording: what the network sent.
        clipped: input values that were saturated.
        contenders: the network itself, then what it is compared with on the chip.
        remarks: what could not be done, and why.
        baselines: measured here or elsewhere.
        runs: verifications; empty without recorded vectors.
        values, weights, ports: what is in the network.
        measured: the board run.
        compared: its numbers beside the predicted ones.
        denoising, dense_denoising: of this network and of the dense bundle; None without a clean
            recording, or without such a bundle.
    """

    opened: Bundle
    digest: str
    recording: Recording
    clipped: int
    contenders: tuple[Contender, ...]
    remarks: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    runs: tuple[RunResult, ...]
    values: tuple[ValueSummary, ...]
    weights: tuple[WeightSummary, ...]
    ports: tuple[PortSummary, ...]
    measured: MeasuredProfile | None
    compared: tuple[Compared, ...]
    denoising: Denoising | None
    dense_denoising: Denoising | None

    @property
    def own(self) -> Contender:
        """The network itself."""
        return self.contenders[0]


def _silent(name: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def gather(sources: Sources, progress: Progress = _silent) -> Findings:
    """Find out all that a report says.

    Args:
        sources: what to read.
        progress: called with the name of each step; returns a function of done and in all.

    Raises:
        S5ToLoihiError: something cannot be read, does not suit the network, or does not fit.
    """
    opened = bundle.read(sources.bundle)
    measured = read_measured(sources.measured) if sources.measured else None
    read = [row for path in sources.baselines for row in read_baselines(path).measured]
    dense = bundle.read(sources.dense) if sources.dense else None
    denoising, dense_denoising = (_denoised(one, sources) for one in (opened, dense))
    typical = _typical(opened, sources)
    tokens = typical.tokens
    recording = record(opened.network, tokens, progress("Counting messages"))
    own = _mapped(OWN, "as compiled", opened, recording, sources, progress)
    contenders, remarks = _compared_networks(own, recording, dense, sources, progress)
    here: tuple[Baseline, ...] = ()
    if sources.measure and not is_s5(opened.network):
        remarks = [*remarks, "no float model is measured here: the network is not of S5 alone"]
    elif sources.measure:
        step = progress("Measuring the float model here")
        here = measure(sizes_of(opened.network), on_progress=step).measured
    compared: tuple[Compared, ...] = ()
    digest = bundle.digest(sources.bundle)
    if measured is not None:
        compared = compare(own.profile, measured, digest, str(sources.measured))
    shown = tokens[: max(1, VALUE_TOKENS // tokens.shape[1])]
    return Findings(
        opened=opened,
        digest=digest,
        recording=recording,
        clipped=typical.saturated,
        contenders=(own, *contenders),
        remarks=(*typical.notes, *_doubts(opened, typical, sources, denoising), *remarks),
        baselines=(*here, *read),
        runs=tuple(_verified(opened)),
        values=inspection.values(opened.network, shown),
        weights=inspection.weights(opened.network),
        ports=inspection.ports(opened.network),
        measured=measured,
        compared=compared,
        denoising=denoising,
        dense_denoising=dense_denoising,
    )


def _doubts(
    opened: Bundle, typical: Typical, sources: Sources, denoising: Denoising | None
) -> tuple[str, ...]:
    """Say what may be wrong with the input, and with its clean version."""
    if sources.inputs is None:
        return ()
    where = str(sources.inputs)
    ratios = () if denoising is None else (denoising.noisy,)
    return (
        *saturated_said(typical.saturated, typical.tokens.size, where),
        *louder_said(opened.source, largest_of(opened.network, typical.tokens), where),
        *unrelated(ratios, str(sources.clean)),
    )


def _typical(opened: Bundle, sources: Sources) -> Typical:
    if sources.inputs is None:
        return Typical(recorded_tokens(opened), 0, ())
    return read_typical(opened.network, sources.inputs, sources.raw, sources.layout)


def _mapped(
    name: str,
    what: str,
    opened: Bundle,
    recording: Recording,
    sources: Sources,
    progress: Progress,
) -> Contender:
    """Profile a bundle on its own mapping, or on one made here."""
    placed = fitting(opened.mapping, sources.system)
    if placed is None:
        step = progress(f"Mapping {name}")
        placed = map_recording(opened.network, recording, sources.system, sources.seed, step)
        what += ", mapped for this report"
    return contender(
        name, what, opened.network, recording, *placed, sources.seed, curve=name == OWN
    )


def _compared_networks(
    own: Contender,
    recording: Recording,
    dense: Bundle | None,
    sources: Sources,
    progress: Progress,
) -> tuple[list[Contender], list[str]]:
    """Return the dense twin and the dense bundle, and why there is none."""
    found: list[Contender] = []
    remarks: list[str] = []
    progress("Comparing with the dense twin")
    try:
        found += twins(own, recording, sources.seed)
    except CapacityError as error:
        remarks.append(f"No dense twin: {error}")
    if dense is not None and sources.dense is not None:
        tokens = _typical(dense, sources).tokens
        sent = record(dense.network, tokens, progress("Counting messages of the dense bundle"))
        what = f"{dense.network.name} of {sources.dense.name}, {sent.origin}"
        found.append(_mapped("dense bundle", what, dense, sent, sources, progress))
    return found, remarks


def _verified(opened: Bundle) -> list[RunResult]:
    """Compare both modes of the interpreter with the recorded integers."""
    if opened.vectors is None:
        return []
    network, vectors = opened.network, opened.vectors
    return [
        verification.verify_interpreter(network, vectors),
        verification.verify_run(
            network,
            vectors.first(FALL_THROUGH_TOKENS, 1),
            Backend.INTERPRETER,
            Mode.FALL_THROUGH,
        ),
    ]


def _denoised(opened: Bundle | None, sources: Sources) -> Denoising | None:
    """Denoise the recording and compare it with the clean one."""
    if opened is None or sources.clean is None:
        return None
    if sources.inputs is None or sources.inputs.suffix.lower() != ".wav":
        what = "has no noisy recording beside it"
        raise InputError(str(sources.clean), what, "Give --input IN.wav")
    noisy, clean = read_pair(sources.inputs, sources.clean)
    cleaned = denoise(opened.network, noisy.samples, Backend.INTERPRETER).samples
    before, after = (
        float(np.mean([audio.si_snr(*pair) for pair in zip(samples, clean.samples, strict=True)]))
        for samples in (noisy.samples, cleaned)
    )
    return Denoising(before, after, noisy.samples.shape[1] / audio.RATE)
