"""A whole training: data, float model, pruning, integers, and a verified bundle at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from s5_to_loihi import bundle
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.description import DESCRIPTION, load_model, save_model
from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.checkpoints.magnitude_pruning import sparsity_of
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.compiler import own_vectors
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.writing import write_json
from s5_to_loihi.float_model import S5Model
from s5_to_loihi.quantization.folding import fold
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import Quantized, quantize_folded
from s5_to_loihi.training import loop
from s5_to_loihi.training.architecture import initial_model
from s5_to_loihi.training.modules import FeatureNorm, Model, resumed
from s5_to_loihi.training.pruning import Pruner
from s5_to_loihi.training.quantized import QuantizedNetwork
from s5_to_loihi.training.recipe import Numbers, Recipe, as_mapping
from s5_to_loihi.training.tasks import Task, task_of
from s5_to_loihi.verification import verify_interpreter

#: What a folder says of the training in it.
FACTS = "training.json"
LARGEST_FACTS = 1 << 20
MODEL = "model"


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gave.

    Attributes:
        folder: of all files.
        model: in floats.
        quantized: the network of integers.
        bundle: where it was written.
        scores: of the test data: ``float``, ``rounded`` (after training), ``integers`` (what was
            deployed).
        score_name, score_unit: of them.
        sparsity: share of zeros in the float model's matrices.
        denoises: whether it is a denoiser.
    """

    folder: Path
    model: S5Model
    quantized: Quantized
    bundle: Path
    scores: dict[str, float]
    score_name: str
    score_unit: str
    sparsity: float
    denoises: bool


def train(
    recipe: Recipe,
    folder: Path,
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Trained:
    """Train a recipe, or go on with it where an earlier call in the same folder was killed.

    Args:
        recipe: what to train.
        folder: of all files; made if it is not there.
        on_progress: called with the name of what goes on, how much is done, and of how much.

    Raises:
        InputError: the data or the recipe are not fit, the folder holds another training, the
            training diverges, or a file cannot be written.
        CapacityError: the network does not fit a width.
    """
    loop.check(recipe.machine)
    precision = precision_of(recipe)
    task = task_of(recipe, lambda done, total: on_progress("reading", done, total))
    module = new_module(recipe, task)
    _claim(folder, recipe, task)
    torch.manual_seed(recipe.training.seed)
    torch.set_num_threads(recipe.machine.threads)
    scores: dict[str, float] = {}
    _float_phase(recipe, task, module, folder, on_progress)
    model = module.to_model()
    if not recipe.integers.from_scratch:
        scores["float"] = loop.evaluate(task, module)
    save_model(model, folder / MODEL)
    quantized = quantize_for(task, model, precision)
    network = QuantizedNetwork(quantized)
    scores["rounded"] = loop.evaluate(task, network)
    if recipe.integers.epochs:
        phase = loop.Phase(
            "integers",
            recipe.integers.epochs,
            recipe.integers.rate,
            0.0,
            recipe.training.activity,
        )
        loop.fit(task, network, phase, folder, on_progress=on_progress)
        network.fit()
        quantized = network.quantized()
    scores["integers"] = loop.evaluate(task, network)
    written = _write_bundle(recipe, task, quantized, folder)
    facts = {
        "schema": "s5_to_loihi training",
        "recipe": as_mapping(recipe),
        "data_sha256": task.digest(),
        "scores": scores,
        "score": f"{task.score_name} in {task.score_unit}",
        "sparsity": sparsity_of(model),
        "torch": torch.__version__,
    }
    write_json(folder / FACTS, facts)
    return Trained(
        folder,
        model,
        quantized,
        written,
        scores,
        task.score_name,
        task.score_unit,
        sparsity_of(model),
        task.score_name == "SI-SNR",
    )


def precision_of(recipe: Recipe) -> Precision:
    """Return the bits of a recipe."""
    return Precision(
        weights=recipe.integers.weights,
        activations=recipe.integers.activations,
        overrides=MappingProxyType(dict(recipe.integers.overrides)),
    )


def quantize_for(task: Task, model: S5Model, precision: Precision) -> Quantized:
    """Quantize a model after training, on training data of its task."""
    return quantize_folded(fold(model), task.calibration(), precision, task.sequence_length)


def new_module(recipe: Recipe, task: Task) -> Model:
    """Return the module that a training begins with.

    Raises:
        InputError: the checkpoint to begin with is for other data.
        CheckpointError: it cannot be read, or not be trained.
    """
    if recipe.start:
        start = replace(_start(recipe.start, task), name=recipe.name)
        module = resumed(start, *task.scale())
    else:
        made = initial_model(
            recipe.name, recipe.model, task.inputs, task.outputs, task.readout, recipe.training.seed
        )
        module = Model(made, *task.scale())
    return module if recipe.machine.numbers is Numbers.DOUBLE else module.float()


def _start(path: str, task: Task) -> S5Model:
    """Return the model to begin with, which must be for the task's data."""
    model, _ = load_model(Path(path) / DESCRIPTION)
    # One without encoder or decoder is refused by the module.
    inputs = model.encoder.weight.shape[1] if model.encoder else task.inputs
    outputs = model.decoder.weight.shape[0] if model.decoder else task.outputs
    for name, had, needed in (
        ("features", inputs, task.inputs),
        ("outputs", outputs, task.outputs),
        ("readout", model.readout.value, task.readout.value),
    ):
        if had != needed:
            what = f"has {had} for {name}, the data want {needed}"
            raise InputError(f"start: {path}", what, "Begin with another model")
    return model


def _float_phase(
    recipe: Recipe,
    task: Task,
    module: Model,
    folder: Path,
    on_progress: Callable[[str, int, int], None],
) -> None:
    if recipe.integers.from_scratch:
        set_norms(task, module)
        return
    pruner = Pruner(module, recipe.sparsity) if recipe.sparsity.sparsity else None
    schedule = recipe.training
    phase = loop.Phase("float", schedule.epochs, schedule.rate, schedule.decay, schedule.activity)
    loop.fit(task, module, phase, folder, pruner, on_progress)
    if pruner is not None:
        pruner.update(1.0)


def set_norms(task: Task, module: Model) -> None:
    """Set the statistics of batch norm to those of an epoch, without training."""
    module.train()
    for norm in module.modules():
        if not isinstance(norm, FeatureNorm):
            continue
        norm.momentum = None  # a plain mean over all batches
        norm.reset_running_stats()
    with torch.no_grad():
        for make in task.batches(0):
            batch = make()
            module(batch.tokens, batch.lengths)
    module.eval()


def _claim(folder: Path, recipe: Recipe, task: Task) -> None:
    """Begin a folder, or see that what it holds is this training."""
    mine = json.loads(json.dumps({"recipe": as_mapping(recipe), "data": task.digest()}))
    # Where the data lie and what computes may change.
    for part in ("train", "test"):
        mine["recipe"]["data"].pop(part)
    mine["recipe"].pop("machine")
    if recipe.start:
        _, files = load_model(Path(recipe.start) / DESCRIPTION)
        mine["recipe"]["start"] = source_digest(files)
    own = hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()
    place = folder / "checkpoints" / "recipe.json"
    if place.exists():
        found = read_json(place, largest=LARGEST_FACTS, if_damaged="Choose another folder")
        if not isinstance(found, dict) or found.get("sha256") != own:
            raise InputError(
                str(folder),
                "holds the training of another recipe or of other data",
                "Choose another folder, or delete this one",
            )
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be made ({error.strerror})", "Choose another place"
        ) from None
    write_json(place, {"sha256": own, **mine})


def _write_bundle(recipe: Recipe, task: Task, quantized: Quantized, folder: Path) -> Path:
    """Write the network with recorded vectors, after the interpreter has verified them."""
    source = dict(load(folder / MODEL, LoadOptions()).source)
    tuned = recipe.integers.epochs > 0
    notes = list(quantized.notes)
    if tuned:
        notes.append(f"trained as integers for {recipe.integers.epochs} epochs")
    vectors = own_vectors(quantized.network, np.asarray(task.held_out()))
    result = verify_interpreter(quantized.network, vectors)
    assert result.equal
    path = folder / f"{recipe.name}.bundle"
    network = replace(quantized.network, name=recipe.name)
    bundle.write(Bundle(network, vectors, source, tuple(notes)), path)
    return path
