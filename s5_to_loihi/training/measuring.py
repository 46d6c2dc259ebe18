"""What the networks of a study cost, beside what they are worth."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi import audio, bundle
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.checkpoints.description import DESCRIPTION, load_model
from s5_to_loihi.checkpoints.magnitude_pruning import sparsity_of, weight_matrices
from s5_to_loihi.denoising import denoise_in_floats, masked, tokens_of
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.fixed_point import to_floats
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.network.network import Network
from s5_to_loihi.profiling.activity import record
from s5_to_loihi.profiling.profile import profile_recording
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.training import synthetic

RESULTS, MODELS, BUNDLES = "results.json", "models.zip", "bundles.zip"
LARGEST_RESULTS, LARGEST_UNPACKED = 1 << 24, 1 << 31
#: Clips made here, on the processor, that networks are measured on: how many, seconds, seed.
CLIPS, SECONDS, SEED = 12, 4.0, 2_000_003
#: Tokens that activity is counted on.
COUNTED = 1000


@dataclass(frozen=True)
class Cost:
    """What a network is worth and costs; by name of a point and bits in ``study.json``.

    Attributes:
        si_snr: dB, mean over the clips made here; float_si_snr: of its float model.
        weights: of the float model that are not zero: multiplications a token without sparse
            messages. Real and imaginary parts count apart.
        synapses: of the network.
        synops: operations a token, counted.
        words: of core memory, all cores in use; cores: in use.
        latency_us, energy_uj: modelled, a token, pipelined; neuro cores alone.
    """

    si_snr: float
    float_si_snr: float
    weights: int
    synapses: int
    synops: float
    words: int
    cores: int
    latency_us: float
    energy_uj: float


def measured(
    folder: Path,
    bits: tuple[str, ...],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure the networks in a study's folder.

    Args:
        folder: with ``results.json``, ``models.zip`` and ``bundles.zip``.
        bits: which of them: ``8``, ``e4m3``.
        on_progress: called with networks done and in all.

    Returns:
        Name of a network -> its ``Cost`` as JSON has it.

    Raises:
        InputError: the folder has no such files.
    """
    read_results(folder)
    clips = synthetic.clips(CLIPS, SECONDS, SEED)
    noisy, clean = clips.noisy.double().numpy(), clips.clean.double().numpy()
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for name in (MODELS, BUNDLES):
            _unpack(folder / name, place)
        networks = [
            (path, width)
            for width in bits
            for path in sorted(Path(place).glob(f"*_w{width}.bundle"))
        ]
        for done, (path, width) in enumerate(networks, start=1):
            name = path.name.removesuffix(".bundle")
            model, _ = load_model(Path(place) / name.removesuffix(f"_w{width}") / DESCRIPTION)
            found[name] = vars(cost(model, bundle.read(path).network, noisy, clean))
            on_progress(done, len(networks))
    return found


def _unpack(path: Path, place: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > LARGEST_UNPACKED:
                what = f"holds {size >> 20} MiB (limit {LARGEST_UNPACKED >> 20})"
                raise InputError(str(path), what, "Measure fewer networks at a time")
            archive.extractall(place)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(str(path), f"is damaged ({error})", "Train the study again") from None


def read_results(folder: Path) -> dict[str, Any]:
    """Return ``results.json`` of a study.

    Raises:
        InputError: it or the other files are missing or damaged.
    """
    for name in (RESULTS, MODELS, BUNDLES):
        if not (folder / name).is_file():
            raise InputError(str(folder), f"has no {name}", "Train the study first")
    found = read_json(folder / RESULTS, largest=LARGEST_RESULTS, if_damaged="Train it again")
    if not isinstance(found, dict) or "trained" not in found:
        raise InputError(str(folder / RESULTS), "is no result of a study", "Train it again")
    return found


def cost(model: S5Model, network: Network, noisy: np.ndarray, clean: np.ndarray) -> Cost:
    """Measure one network on clips (N, samples)."""
    tokens, _ = tokens_of(network, noisy)
    outputs = Interpreter(network).evaluate(tokens).outputs
    cleaned = masked(noisy, to_floats(outputs, network.output_format))
    floats = denoise_in_floats(model, noisy)

    def score(samples: np.ndarray) -> float:
        return float(np.mean(list(map(audio.si_snr, samples, clean))))

    recording = record(network, tokens[:COUNTED])
    mapping, evaluation = map_network(network, recording.rates, objective=Objective.CORES)
    costs = profile_recording(network, recording, mapping, evaluation.system)
    mode = costs.modes["pipelined"]
    return Cost(
        si_snr=score(cleaned),
        float_si_snr=score(floats),
        weights=_weights(model),
        synapses=network.synapse_count,
        synops=costs.activity.synops.value,
        words=int(evaluation.words[:, Resource.TOTAL].sum()),
        cores=int(evaluation.loads.cores),
        latency_us=mode.latency.value,
        energy_uj=next(iter(mode.energy.values())).total.value,
    )


def _weights(model: S5Model) -> int:
    matrices = weight_matrices(model)
    total = sum(array.size for array in matrices.values())
    return round(total * (1 - sparsity_of(model)))
