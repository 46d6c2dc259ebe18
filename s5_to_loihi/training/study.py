"""The scaling study: denoisers of many widths, densities and bits on synthetic noisy speech.

``python -m s5_to_loihi.training.study FOLDER`` trains and finetunes them, on a GPU if there is one,
in several processes, within a number of seconds; ``s5-to-loihi study`` counts what the networks
cost. Everything follows from seeds. A model is trained in floats first; then, for each number of
bits, quantized, and finetuned as a network of integers.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s5_to_loihi import audio, bundle
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.description import DESCRIPTION, load_model, save_model
from s5_to_loihi.checkpoints.magnitude_pruning import sparsity_of
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.network.network import Readout
from s5_to_loihi.quantization.float_weights import FLOAT_FORMATS
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import Quantized, quantize_model
from s5_to_loihi.training import losses, spectra, synthetic
from s5_to_loihi.training.architecture import Architecture, initial_model
from s5_to_loihi.training.modules import Model, resumed
from s5_to_loihi.training.optimisation import optimiser
from s5_to_loihi.training.pruning import Pruner, Pruning
from s5_to_loihi.training.quantized import QuantizedNetwork
from s5_to_loihi.training.recurrence import cupy
from s5_to_loihi.training.stepping import Stepper

#: Weight of the spectral loss beside SI-SNR in dB.
SPECTRAL = 1.0
#: Seeds of the sounds that are trained with, and of those that are held out.
TRAINING_SEED, HELD_OUT_SEED = 1, 1_000_003
#: Steps after which the pace is looked at.
PACE = (10, 30, 100, *range(200, 100_000, 200))
#: Learning rates: of the float models; of those that were trained before; of finetuning, by bits of
#: the weights.
RATE, FURTHER_RATE, DECAY = 4e-3, 2e-3, 0.01
FINE_RATES: dict[int | str, float] = {
    8: 5e-5,
    "e4m3": 5e-5,
    "e5m2": 3e-4,
    4: 1e-3,
    3: 1.5e-3,
    2: 4e-3,
}
#: Weight of ``distillation_loss`` in finetuning, beside SI-SNR in dB.
DISTILLATION = 5.0
#: Clips that are scored at a time.
TOGETHER = 16


@dataclass(frozen=True)
class Point:
    """A model of the study.

    Attributes:
        width: H.
        sparsity: the share of zero weights.
        aware_of_chip: how weights are ranked, see ``Pruning``.
        from_dense: whether pruning begins with the trained dense model of that width, in as many
            steps more, or with a new one.
        seed: of the weights and of the sounds.
    """

    width: int
    sparsity: float
    aware_of_chip: bool = False
    from_dense: bool = False
    seed: int = 0

    @property
    def name(self) -> str:
        """For files and tables."""
        if not self.sparsity:
            return f"h{self.width}_dense"
        kind = "pruned" if self.from_dense else "sparse"
        aware = "_aware" if self.aware_of_chip else ""
        return f"h{self.width}_{kind}{round(100 * self.sparsity)}{aware}"

    @property
    def start(self) -> Point | None:
        """The model that training begins with, if it is another one."""
        return Point(self.width, 0.0, seed=self.seed) if self.from_dense else None


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        steps, further, fine_steps: of the training, of the training of a model that was trained
            before (its masks stay), and of each finetuning.
        batch, fine_batch: clips a step.
        seconds: of a clip in training; finetuning takes clips as long as those held out, since
            errors add up in slow states.
        pool: voices and noises to mix from, each of ``pool_seconds``.
        held_out: clips of ``pool_seconds``.
        calibration: clips that formats are chosen on.
    """

    steps: int = 4000
    further: int = 0
    fine_steps: int = 250
    batch: int = 64
    fine_batch: int = 16
    seconds: float = 2.0
    pool: int = 1024
    pool_seconds: float = 4.0
    held_out: int = 64
    calibration: int = 8


#: The longest first; after the dense models that others begin with.
POINTS = (
    *(Point(256, 0.0), Point(192, 0.0), Point(384, 0.9), Point(384, 0.8)),
    *(Point(256, sparsity, from_dense=True) for sparsity in (0.8, 0.85)),
    Point(192, 0.8, from_dense=True),
    *(Point(256, sparsity) for sparsity in (0.9, 0.95, 0.8)),
    *(Point(192, 0.9), Point(192, 0.8), Point(192, 0.9, aware_of_chip=True)),
    *(Point(width, 0.0) for width in (168, 160, 128, 96, 64, 48, 32, 24)),
    *(Point(128, 0.9), Point(128, 0.8), Point(96, 0.9)),
)
#: Pruning ends earlier than by default: a short training needs the rest to recover.
PRUNED_AT = 0.5
BITS = (4, 2, 3, 8)


class Sounds:
    """What is trained with and what is held out, on a device."""

    def __init__(self, scale: Scale, device: str):
        samples = round(scale.pool_seconds * audio.RATE)
        self.device, self.scale = device, scale
        random = torch.Generator(device).manual_seed(TRAINING_SEED)
        chunk = min(128, scale.pool)
        chunks = range(0, scale.pool, chunk)
        self.voices = torch.cat([synthetic.voices(chunk, samples, random) for _ in chunks])
        self.noises = torch.cat([synthetic.noises(chunk, samples, random) for _ in chunks])
        self.held_out = synthetic.clips(scale.held_out, scale.pool_seconds, HELD_OUT_SEED, device)

    def batches(
        self, count: int, seed: int, seconds: float | None = None
    ) -> Iterator[synthetic.Clips]:
        """Yield ever new mixtures of cuts of the pool."""
        random = torch.Generator(self.device).manual_seed(seed)
        length = round((seconds or self.scale.seconds) * audio.RATE)
        while True:
            yield synthetic.mix(
                _cuts(self.voices, count, length, random),
                _cuts(self.noises, count, length, random),
                random,
            )


def _cuts(sounds: Tensor, count: int, length: int, random: torch.Generator) -> Tensor:
    """Return cuts (count, length) of random sounds (N, samples)."""
    rows = torch.randint(0, len(sounds), (count, 1), generator=random, device=sounds.device)
    last = sounds.shape[1] - length + 1
    starts = torch.randint(0, last, (count, 1), generator=random, device=sounds.device)
    return sounds[rows, starts + torch.arange(length, device=sounds.device)]


def train(
    point: Point, sounds: Sounds, seconds: float = math.inf, start: S5Model | None = None
) -> tuple[S5Model, dict]:
    """Train a point in floats; return the model and what happened.

    ``start`` is the model to go on with: its masks stay, or it is pruned if the point begins with a
    dense one. Fewer steps are taken if ``seconds`` do not allow all of them; how many is told.
    """
    scale, device = sounds.scale, sounds.device
    torch.manual_seed(point.seed)
    batches = sounds.batches(scale.batch, (1000 if start is None else 2000) + point.seed)
    gain = _gain(next(batches))
    pruner, planned, rate = None, scale.steps, RATE
    pruning = Pruning(
        point.sparsity,
        end=PRUNED_AT,
        straight_through=False,
        aware_of_chip=point.aware_of_chip,
    )
    if start is None:
        architecture = Architecture(width=point.width)
        start = initial_model(
            point.name, architecture, audio.BINS, audio.BINS, Readout.EACH_TOKEN, point.seed
        )
        model = Model(start, gain).float().to(device)
        pruner = Pruner(model, pruning) if point.sparsity else None
    else:
        model = resumed(start, gain).float().to(device)
        planned, rate = scale.steps if point.from_dense else scale.further, FURTHER_RATE
        pruner = Pruner(model, pruning) if point.from_dense else None
    messages: dict[str, Tensor] = {}

    def loss_of(clips: synthetic.Clips) -> Tensor:
        spectrum = spectra.analyse(clips.noisy)
        run = model.run(spectra.features(spectrum))
        messages.update(run.messages)
        return losses.denoising_loss(spectrum, run.output, clips.clean, SPECTRAL)

    stepper = Stepper(model, optimiser(model, rate, DECAY), loss_of)
    curve, began = [], time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = True
    steps, step = planned, 0
    while step < steps:
        loss = stepper.step(next(batches), step / steps)
        if pruner is not None and step % pruning.interval == 0:
            if point.aware_of_chip:
                pruner.observe(messages)
            pruner.update((step + 1) / steps)
        if step % 100 == 0:
            curve.append(round(float(loss), 3))
        step += 1
        if step in PACE:
            steps = _affordable(planned, step, began, seconds)
    if pruner is not None:
        pruner.update(1.0)
    trained = model.eval().to_model()
    facts = {
        "steps": steps,
        "seconds": round(time.monotonic() - began, 1),
        "curve": curve,
        "sparsity": round(sparsity_of(trained), 4),
        **_score(lambda values: model(values), sounds, torch.float32),
    }
    return trained, facts


def _scored(model: S5Model, sounds: Sounds) -> dict[str, Any]:
    """Return what is known of a model that was trained before."""
    module = Model(model).eval().float().to(sounds.device)
    return {
        "sparsity": round(sparsity_of(model), 4),
        **_score(lambda values: module(values), sounds, torch.float32),
    }


def _affordable(steps: int, done: int, began: float, seconds: float) -> int:
    """Return how many steps ``seconds`` allow at the pace so far: at most ``steps``."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    pace = (time.monotonic() - began) / done
    if seconds == math.inf:
        return steps
    return max(done + 1, min(steps, int(seconds / pace)))


def _gain(clips: synthetic.Clips) -> float:
    return float(1 / spectra.features(spectra.analyse(clips.noisy)).std())


def _score(run: Any, sounds: Sounds, kind: torch.dtype) -> dict[str, Any]:
    """Return SI-SNR of the held-out clips, in dB: on average and of each."""
    cleaned, noisy = [], []
    held = sounds.held_out
    torch.backends.cuda.matmul.allow_tf32 = False
    with torch.no_grad():
        for first in range(0, len(held.noisy), TOGETHER):
            part = held.noisy[first : first + TOGETHER].to(kind)
            clean = held.clean[first : first + TOGETHER].to(kind)
            spectrum = spectra.analyse(part)
            estimate = spectra.denoised(
                spectrum, run(spectra.features(spectrum)).to(kind), part.shape[-1]
            )
            cleaned.append(losses.si_snr(estimate, clean))
            noisy.append(losses.si_snr(part, clean))
    values = torch.cat(cleaned).double()
    return {
        "si_snr": round(float(values.mean()), 4),
        "noisy": round(float(torch.cat(noisy).double().mean()), 4),
        "clips": [round(float(value), 3) for value in values],
    }


def quantized(model: S5Model, bits: int | str, sounds: Sounds) -> Quantized:
    """Quantize a model after training, on cuts of the training sounds."""
    clips = next(sounds.batches(sounds.scale.calibration, 77, sounds.scale.pool_seconds))
    tokens = spectra.features(spectra.analyse(clips.noisy.double())).cpu().numpy()
    return quantize_model(model, tokens, Precision(weights=bits))


def finetune(
    model: S5Model, bits: int | str, sounds: Sounds, seconds: float = math.inf
) -> tuple[Quantized, dict]:
    """Quantize a model and train its integers; return them and what happened.

    Fewer steps are taken if ``seconds`` do not allow all of them; how many is told.
    """
    scale, began = sounds.scale, time.monotonic()
    start = quantized(model, bits, sounds)
    network = QuantizedNetwork(start).to(sounds.device)
    facts: dict[str, Any] = {"rounded": _score(network, sounds, torch.float64)}
    count, seconds_each = scale.fine_batch, scale.pool_seconds
    seed = 5000 + (bits if isinstance(bits, int) else 100 + list(FLOAT_FORMATS).index(bits))
    batches, curve = sounds.batches(count, seed, seconds_each), []
    check = [next(sounds.batches(count, 9000 + index, seconds_each)) for index in range(4)]
    teacher = Model(model).eval().float().to(sounds.device)

    def loss_of(clips: synthetic.Clips) -> Tensor:
        spectrum = spectra.analyse(clips.noisy.double())
        values = spectra.features(spectrum)
        with torch.no_grad():
            wanted = teacher(values.float()).double()
        mask = network(values)
        loss = losses.denoising_loss(spectrum, mask, clips.clean.double(), SPECTRAL)
        return loss + DISTILLATION * losses.distillation_loss(spectrum, mask, wanted)

    rate = FINE_RATES.get(bits, 1e-3)
    recorded = cupy() is not None  # else the processor helps out in every step
    stepper = Stepper(network, optimiser(network, rate), loss_of, recorded=recorded)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    reached = _loss(network, check)
    steps, step, first = scale.fine_steps, 0, time.monotonic()
    left = seconds - 2 * (first - began)
    while step < steps:
        loss = stepper.step(next(batches), step / steps)
        network.fit()
        if step % 20 == 0:
            curve.append(round(float(loss), 3))
        step += 1
        if step in PACE:
            steps = _affordable(scale.fine_steps, step, first, left)
    if _loss(network, check) > reached:
        network.load_state_dict(before)
        facts["kept"] = "rounded"
    facts |= {
        "steps": steps,
        "curve": curve,
        "tuned": _score(network, sounds, torch.float64),
        "seconds": round(time.monotonic() - began, 1),
    }
    return network.quantized(), facts


def _loss(network: QuantizedNetwork, batches: list[synthetic.Clips]) -> float:
    """Return the mean loss on training sounds that finetuning does not see."""
    found = []
    with torch.no_grad():
        for clips in batches:
            spectrum = spectra.analyse(clips.noisy.double())
            mask = network(spectra.features(spectrum))
            loss = losses.denoising_loss(spectrum, mask, clips.clean.double(), SPECTRAL)
            found.append(float(loss))
    return sum(found) / len(found)


# --- many at once --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Seconds that a training, a finetuning and all together may take."""

    training: float = math.inf
    finetuning: float = math.inf
    total: float = math.inf


def _work(jobs: Any, results: Any, folder: str, scale: Scale, device: str, most: Limits) -> None:
    """Do jobs until there are none: ``(point, None)`` trains, ``(point, bits)`` finetunes."""
    torch.set_num_threads(1)
    try:
        sounds = Sounds(scale, device)
        for point, bits in iter(jobs.get, None):
            try:
                results.put((point, bits, _job(point, bits, Path(folder), sounds, most)))
            except Exception:  # one that fails must not take the others with it
                results.put((point, bits, {"failed": _reason()}))
    except Exception:
        results.put((None, None, {"failed": _reason()}))


def _reason() -> str:
    """Return the error being handled and where it was raised, in a line."""
    kind, error, trace = sys.exc_info()
    place = traceback.extract_tb(trace)[-1]
    return f"{kind.__name__ if kind else ''}: {error} ({place.filename}:{place.lineno})"[:500]


def _job(point: Point, bits: int | str | None, folder: Path, sounds: Sounds, most: Limits) -> dict:
    place = folder / point.name
    if bits is None:
        before = None
        if (place / DESCRIPTION).exists():
            before, _ = load_model(place / DESCRIPTION)
            if not sounds.scale.further:
                return _scored(before, sounds)
            point = replace(point, from_dense=False)  # its masks stay
        elif point.start is not None:
            before, _ = load_model(folder / point.start.name / DESCRIPTION)
        model, facts = train(point, sounds, most.training, before)
        save_model(model, place)
        return facts
    model, _ = load_model(place / DESCRIPTION)
    tuned, facts = finetune(model, bits, sounds, most.finetuning)
    bundle.write(
        Bundle(tuned.network, None, {"format": "trained by s5_to_loihi", "name": point.name}, ()),
        folder / f"{point.name}_w{bits}.bundle",
    )
    return facts


def run(
    folder: Path,
    out: Path,
    scale: Scale,
    points: tuple[Point, ...],
    bits: tuple[int | str, ...],
    processes: int,
    most: Limits,
    device: str,
) -> dict[str, Any]:
    """Train and finetune all points; ``out/results.json`` is written as they come in.

    Models that lie in the folder already are not trained again. One that begins with a dense model
    takes it from there, or waits for it if it is among the points.
    """
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    jobs, results = context.Queue(), context.Queue()
    workers = [
        context.Process(
            target=_work, args=(jobs, results, str(folder), scale, device, most), daemon=True
        )
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for point in points:
        if point.start not in points:
            jobs.put((point, None))
    found: dict[str, Any] = {
        "scale": asdict(scale),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "torch": torch.__version__,
        "points": {point.name: asdict(point) for point in points},
        "trained": {},
        "tuned": {},
        "failed": {},
    }
    waiting = len(points)
    while waiting and time.monotonic() - started < most.total:
        try:
            point, width, facts = results.get(timeout=2)
        except Exception:  # nothing yet; a worker may have died
            if not any(worker.is_alive() for worker in workers):
                break
            continue
        if point is None:
            found["failed"]["worker"] = facts["failed"]
            continue
        waiting -= 1
        name = point.name if width is None else f"{point.name}_w{width}"
        following = [one for one in points if width is None and one.start == point]
        if "failed" in facts:
            found["failed"][name] = facts["failed"]
            waiting -= len(following)
        elif width is None:
            found["trained"][name] = facts
            for one in bits:
                jobs.put((point, one))
                waiting += 1
            for other in following:
                jobs.put((other, None))
        else:
            found["tuned"][name] = facts
        found["seconds"] = round(time.monotonic() - started, 1)
        (out / "results.json").write_text(json.dumps(found, indent=1))
        shown = {key: facts[key] for key in ("si_snr", "seconds") if key in facts}
        shown |= {key: facts[key]["si_snr"] for key in ("rounded", "tuned") if key in facts}
        print(
            f"{found['seconds']:7.1f} s  {name:24} {shown or facts.get('failed', '')}", flush=True
        )
    for worker in workers:
        worker.kill()
    return found


def pack(folder: Path, out: Path) -> None:
    """Put models and bundles into two files: ``models.zip`` and ``bundles.zip``."""
    for name, pattern in (("models.zip", "*/model.*"), ("bundles.zip", "*.bundle/*")):
        with zipfile.ZipFile(out / name, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(folder.glob(pattern)):
                archive.write(file, file.relative_to(folder))


def check_gpu() -> None:
    """Say whether a GPU gives the same integers as the processor."""
    scale = Scale(steps=1, batch=2, pool=4, held_out=2, calibration=2, seconds=0.5, pool_seconds=1)
    sounds = Sounds(scale, "cuda")
    model, _ = train(Point(16, 0.0), sounds)
    network = QuantizedNetwork(quantized(model, 8, sounds))
    values = spectra.features(spectra.analyse(sounds.held_out.noisy.double()))
    on_cpu = network.run(values.cpu()).integers
    equal = torch.equal(network.cuda().run(values).integers.cpu(), on_cpu)
    print(f"GPU and processor give the same integers: {equal}", flush=True)


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="s5_to_loihi.training.study", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for models.zip, bundles.zip, results.json")
    parser.add_argument("--steps", type=int, default=Scale.steps)
    parser.add_argument("--further", type=int, default=0, help="steps more of those --trained")
    parser.add_argument("--fine-steps", type=int, default=Scale.fine_steps)
    parser.add_argument("--pool", type=int, default=Scale.pool)
    parser.add_argument("--batch", type=int, default=Scale.batch)
    parser.add_argument("--fine-batch", type=int, default=Scale.fine_batch)
    parser.add_argument("--held-out", type=int, default=Scale.held_out)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which to end")
    parser.add_argument("--train-seconds", type=float, default=math.inf, help="of each training")
    parser.add_argument("--fine-seconds", type=float, default=math.inf, help="of each finetuning")
    parser.add_argument("--trained", type=Path, help="a models.zip of an earlier run")
    parser.add_argument("--points", default="", help="names, separated by commas; all by default")
    parser.add_argument("--bits", default=",".join(map(str, BITS)))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args(arguments)
    points = tuple(p for p in POINTS if not given.points or p.name in given.points.split(","))
    bits = tuple(int(one) if one.isdecimal() else one for one in given.bits.split(",") if one)
    scale = replace(
        Scale(),
        steps=given.steps,
        further=given.further,
        fine_steps=given.fine_steps,
        pool=given.pool,
        batch=given.batch,
        fine_batch=given.fine_batch,
        held_out=given.held_out,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if given.device == "cuda":
        check_gpu()
    with tempfile.TemporaryDirectory() as folder:
        if given.trained is not None:
            with zipfile.ZipFile(given.trained) as archive:
                archive.extractall(folder)
        left = given.seconds - (time.monotonic() - began)
        run(
            *(Path(folder), given.out, scale, points, bits),
            processes=given.processes,
            most=Limits(given.train_seconds, given.fine_seconds, left),
            device=given.device,
        )
        pack(Path(folder), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
