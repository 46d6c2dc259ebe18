"""One clip, one signal, one family of metrics: what a worker process computes at a time.

Signals are the clip as it came (``noisy``) and what a denoiser made of it: the network
(``integers``), its float model (``float``), or a baseline. What the last few computations needed is
kept, so that the metrics of one clip cost its simulation once.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi import audio, bundle
from s5_to_loihi.audio import Samples
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.options import AS_IT_IS, LoadOptions
from s5_to_loihi.denoising import denoise_in_floats, masked, tokens_of
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import baselines, perceptual, recording
from s5_to_loihi.evaluation.metrics import DNSMOS, PESQ, SIGNAL, STOI
from s5_to_loihi.evaluation.operations import simulate
from s5_to_loihi.evaluation.pairs import Pair
from s5_to_loihi.evaluation.recording import Recording
from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.simulators.fast import FastSimulator

NOISY, INTEGERS, FLOAT = "noisy", "integers", "float"
#: Source: IntelLabs/IntelNeuromorphicDNSChallenge ddf0e5d, snr.py.
EPSILON = 1e-8
#: Samples that the delay of a denoiser is looked for in. Source: as above, evaluate_network.ipynb.
LAG_SAMPLES = 50_000


@dataclass(frozen=True)
class Item:
    """What is computed at a time; can be pickled and compared.

    Attributes:
        pair: the clip.
        signal: ``noisy``, ``integers``, ``float``, or the name of a baseline.
        family: of metrics.
        network: the bundle.
        model: the float checkpoint; None if none is compared with.
        options: of the checkpoint.
    """

    pair: Pair
    signal: str
    family: str
    network: Path
    model: Path | None = None
    options: LoadOptions = AS_IT_IS


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal of a clip, with what came with it.

    Attributes:
        samples: (channels, samples) at 16 kHz.
        facts: counts, for the result.
    """

    samples: Samples
    facts: dict[str, Any]


def compute(item: Item) -> dict[str, Any]:
    """Compute a family of metrics of a signal of a clip.

    Returns:
        As JSON can say it. ``excluded``: why the clip must not be averaged, alone; or ``values``:
        metric -> mean over channels, None where it is not defined; ``notes``: texts; ``facts``:
        what else was counted, of the family ``signal``.

    Raises:
        S5ToLoihiError: of network, checkpoint or package: nothing that is the clip's own.
    """
    try:
        clip = _recording(item.pair)
    except InputError as error:
        return {"excluded": str(error)}
    signal = _signal(item, clip)
    if item.family == SIGNAL:
        values = _signal_values(item, clip, signal)
        facts = {"seconds": clip.seconds, "channels": len(clip.noisy), **signal.facts}
        notes = list(clip.notes) if item.signal == NOISY else []
        return {"values": values, "notes": notes, "facts": facts}
    values, undefined = _perceptual_values(item.family, clip, signal.samples)
    notes = [f"{item.signal}: {item.family.upper()} finds too little speech"] if undefined else []
    if item.family == DNSMOS and item.signal == NOISY and clip.seconds < perceptual.WINDOW_SECONDS:
        notes.append(f"DNSMOS: repeated, as a window takes {perceptual.WINDOW_SECONDS} s")
    return {"values": values, "notes": notes, "facts": {}}


def _signal_values(item: Item, clip: Recording, signal: Signal) -> dict[str, float | None]:
    """Return SI-SNR; of what was denoised also its improvements."""
    if clip.clean is None:
        return {}
    before, passed = _undenoised(item.pair)
    if item.signal == NOISY:
        return {"si_snr": before}
    ratio = _si_snr(signal.samples, clip.clean)
    return {"si_snr": ratio, "si_snri": ratio - before, "si_snri_encdec": ratio - passed}


@functools.lru_cache(maxsize=1)
def _undenoised(pair: Pair) -> tuple[float, float]:
    """Return the SI-SNR of a clip as it came, and after the transform to and fro alone."""
    clip = _recording(pair)
    assert clip.clean is not None
    passed = [audio.synthesise(audio.analyse(channel), len(channel)) for channel in clip.noisy]
    return _si_snr(clip.noisy, clip.clean), _si_snr(np.stack(passed), clip.clean)


def _si_snr(samples: Samples, clean: Samples) -> float:
    """Return the mean over channels."""
    pairs = zip(samples, clean, strict=True)
    return float(np.mean([audio.si_snr(*pair, EPSILON) for pair in pairs]))


def _perceptual_values(
    family: str, clip: Recording, samples: Samples
) -> tuple[dict[str, float | None], bool]:
    """Return means over channels, and whether one of them is not defined."""
    if family == DNSMOS:
        scores = [perceptual.dnsmos(channel) for channel in samples]
        values = {f"dnsmos_{name}": [score[name] for score in scores] for name in scores[0]}
        return {name: float(np.mean(each)) for name, each in values.items()}, False
    if clip.clean is None:
        return {family: None}, False
    judge = {PESQ: perceptual.pesq, STOI: perceptual.stoi}[family]
    each = [judge(*one) for one in zip(clip.clean, samples, strict=True)]
    defined = [value for value in each if value is not None]
    whole = len(defined) == len(each)
    return {family: float(np.mean(defined)) if whole else None}, not whole


# --- signals -------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _recording(pair: Pair) -> Recording:
    return recording.read(pair)


def _signal(item: Item, clip: Recording) -> Signal:
    """Make a signal, or take the one that was made last."""
    return _made(dataclasses.replace(item, family=SIGNAL), _Unhashed(clip))


class _Unhashed:
    """A value that a cache takes for granted: it follows from the other arguments."""

    def __init__(self, value: Recording):
        self.value = value

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)


@functools.lru_cache(maxsize=2)
def _made(item: Item, held: _Unhashed) -> Signal:
    noisy = held.value.noisy
    if item.signal == NOISY:
        return Signal(noisy, {"encode_decode_ms": _encode_decode(noisy)})
    if item.signal == INTEGERS:
        return _integers(item.network, noisy)
    if item.signal == FLOAT:
        assert item.model is not None
        samples = denoise_in_floats(_model(item.model, item.options), noisy)
    else:
        samples = np.stack([baselines.BASELINES[item.signal](channel) for channel in noisy])
    return Signal(samples, {"lag": _lag(noisy, samples)})


def _integers(network: Path, noisy: Samples) -> Signal:
    simulator = _simulator(network)
    tokens, saturated = tokens_of(simulator.network, noisy)
    counted = simulate(simulator, tokens)
    masks = to_floats(counted.outputs, simulator.network.output_format)
    samples = masked(noisy, masks)
    facts = {
        "lag": _lag(noisy, samples),
        "saturated_inputs": saturated,
        "beyond_full_scale": int(np.count_nonzero(np.abs(samples) > 1.0)),
        "operations": dataclasses.asdict(counted.operations),
    }
    return Signal(samples, facts)


@functools.lru_cache(maxsize=1)
def _simulator(path: Path) -> FastSimulator:
    return FastSimulator(bundle.read(path).network)


@functools.lru_cache(maxsize=1)
def _model(path: Path, options: LoadOptions) -> S5Model:
    return load(path, options).model


def _encode_decode(samples: Samples) -> float:
    """Return milliseconds of this processor for the transform to and fro of one hop."""
    times = []
    for channel in samples:
        started = time.perf_counter()
        audio.synthesise(audio.analyse(channel), len(channel))
        times.append((time.perf_counter() - started) / audio.frame_count(len(channel)))
    return float(np.mean(times)) * 1e3


def _lag(noisy: Samples, made: Samples) -> float:
    """Return the samples by which a denoiser is late: where its correlation with its input peaks.

    Mean over channels, positive where the denoised signal is later (the challenge's code correlates
    the two the other way round, which gives a latency of the other sign).
    """
    from scipy import signal  # takes half a second to import

    lags = []
    for before, after in zip(noisy[:, :LAG_SAMPLES], made[:, :LAG_SAMPLES], strict=True):
        peak = np.argmax(signal.correlate(after, before, "full", "fft"))
        lags.append(int(peak) - len(before) + 1)
    return float(np.mean(lags))
