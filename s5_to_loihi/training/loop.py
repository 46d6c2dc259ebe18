"""The loop, by Lightning: epochs, checkpoints, resuming, devices, logs."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.training import devices, losses
from s5_to_loihi.training.modules import Model
from s5_to_loihi.training.optimisation import LARGEST_GRADIENT, optimiser, rate_share
from s5_to_loihi.training.pruning import Pruner, senders
from s5_to_loihi.training.quantized import QuantizedNetwork
from s5_to_loihi.training.recipe import Accelerator, Machine, Numbers
from s5_to_loihi.training.tasks import WHOLE, Batch, Maker, Task, task_of

#: Of the list of epochs.
COLUMNS = ("epoch", "loss", "score")


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        name: of its checkpoint and its logs.
        epochs: how many.
        rate, decay: of the optimiser.
        activity: weight of the loss on messages.
    """

    name: str
    epochs: int
    rate: float
    decay: float
    activity: float = 0.0


class _Batches:
    """Batches, or a part of each."""

    def __init__(self, makers: list[Maker], part: slice = WHOLE):
        self.makers, self.part = makers, part

    def __len__(self) -> int:
        return len(self.makers)

    def __iter__(self) -> Iterator[Batch]:
        return (make(self.part) for make in self.makers)


class _Module(lightning.LightningModule):
    """What Lightning runs.

    Several devices share each batch, so that they train what one device would train, but for the
    order of sums; and of padding, of which there is less, in the loss on messages.
    """

    def __init__(self, task: Task, module: nn.Module, phase: Phase, pruner: Pruner | None):
        super().__init__()
        self.task, self.module, self.phase, self.pruner = task, module, phase, pruner
        self.steps_of_epoch = len(task.batches(0))
        #: Of the steps of this epoch, and of the test data.
        self.losses: list[Tensor] = []
        self.scores: list[Tensor] = []

    @property
    def progress(self) -> float:
        """How much of the phase is done, 0 to 1."""
        return self.global_step / max(1, self.phase.epochs * self.steps_of_epoch)

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def train_dataloader(self) -> _Batches:
        return _Batches(self.task.batches(self.current_epoch), self._own)

    def val_dataloader(self) -> _Batches:
        makers = self.task.test_batches()
        # Where there are fewer than devices, each takes all of them: the mean is the same.
        return _Batches(makers[self._own] if len(makers) >= self.trainer.world_size else makers)

    @property
    def _own(self) -> slice:
        """What this device has of something that all devices share."""
        return slice(self.trainer.global_rank, None, self.trainer.world_size)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if isinstance(self.module, QuantizedNetwork):
            run: Any = self.module.run(batch.tokens, batch.lengths)
        else:
            run = self.module.run(batch.tokens, lengths=batch.lengths)
        loss = self.task.loss(run.output, batch)
        if self.phase.activity:
            costs = message_costs(self.module)
            loss = loss + self.phase.activity * losses.activity(run.messages, costs)
        if devices.count() > 1:
            # Gradients are averaged over devices; the loss is a mean over all answers.
            weight = loss.new_tensor(self.task.weight(batch))
            loss = loss * weight / devices.total(weight) * devices.count()
        if not torch.isfinite(loss):
            raise InputError(
                f"training, {self.phase.name}",
                f"diverged: the loss is {float(loss.detach())} in epoch {self.current_epoch},"
                f" step {index}",
                "Lower the learning rate (training: rate), or check the data",
            )
        if self.pruner is not None and self.pruner.pruning.aware_of_chip:
            self.pruner.observe(run.messages, batch.lengths)
        self.losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if isinstance(self.module, QuantizedNetwork):
            self.module.fit()
        if self.pruner is not None and (
            self.global_step % self.pruner.pruning.interval == 0 or self.progress >= 1
        ):
            self.pruner.update(self.progress)

    def validation_step(self, batch: Batch, index: int) -> None:
        output = self.module(batch.tokens, lengths=batch.lengths)
        self.scores.append(self.task.scores(output, batch).double())

    def on_validation_epoch_start(self) -> None:
        self.scores.clear()

    def mean_loss_and_score(self) -> tuple[float, float]:
        """Return those of the epoch, over all devices."""
        scores = torch.cat(self.scores)
        sums = torch.stack(
            [
                torch.stack(self.losses).double().mean(),
                scores.new_ones(()),
                scores.sum(),
                scores.new_tensor(len(scores)),
            ]
        )
        self.losses.clear()
        loss, ranks, score, count = devices.total(sums).tolist()
        return loss / ranks, score / count

    def configure_optimizers(self) -> Any:
        steps_of = optimiser(self.module, self.phase.rate, self.phase.decay)
        total = max(1, self.phase.epochs * self.steps_of_epoch)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            steps_of, lambda step: rate_share(step / total)
        )
        return {
            "optimizer": steps_of,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.pruner is not None:
            checkpoint["rates"] = self.pruner.rates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.pruner is not None:
            self.pruner.rates = checkpoint["rates"]


def message_costs(module: nn.Module) -> dict[str, Tensor]:
    """Return which share of all synapses reads each neuron's message, by name of the message."""
    counts: dict[str, Tensor] = {}
    if isinstance(module, QuantizedNetwork):
        for message, count in module.fan_out().items():
            counts[message] = count
    else:
        assert isinstance(module, Model)
        weights = dict(module.weights())
        for name, message in senders(module).items():
            mask = weights[name].mask
            mask = mask.reshape(*mask.shape[:2], -1).sum(-1)
            counts[message] = counts.get(message, 0) + mask.sum(0)
    total = sum(count.sum() for count in counts.values())
    return {message: count / total for message, count in counts.items()}


class _AtomicIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and reads them without running what they hold."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())
            # On the disk before it takes the place of the one before.
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        try:
            # It may have been written where there was a GPU.
            found: dict[str, Any] = torch.load(path, map_location or "cpu", weights_only=True)
        except Exception as error:  # a damaged file surfaces as almost any exception
            raise InputError(
                os.fspath(path), f"is damaged ({error})", "Delete it, to begin that phase again"
            ) from None
        return found


class _Shown(Callback):
    """Tells how far a phase is, and writes a line about each epoch into a CSV."""

    def __init__(self, file: Path, phase: Phase, on_progress: Callable[[str, int, int], None]):
        self.file, self.phase, self.on_progress = file, phase, on_progress

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        loss, score = pl_module.mean_loss_and_score()
        pl_module.log_dict({"loss": loss, "score": score})
        if trainer.is_global_zero:
            # Epochs of a run that was killed before its checkpoint was written come once more.
            before = [row for row in read_history(self.file) if row[0] < epoch]
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.file) as temporary, temporary.open("w", newline="") as stream:
                rows = csv.writer(stream)
                rows.writerow(COLUMNS)
                rows.writerows([*before, (epoch, loss, score)])
        self.on_progress(self.phase.name, epoch + 1, self.phase.epochs)


def history_file(folder: Path, name: str) -> Path:
    """Return where the epochs of a phase are listed."""
    return folder / "logs" / f"{name}.csv"


def read_history(file: Path) -> list[tuple[int, float, float]]:
    """Return epoch, mean loss and test score of each epoch so far."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    return [(int(epoch), float(loss), float(score)) for epoch, loss, score in rows]


def fit(
    task: Task,
    module: nn.Module,
    phase: Phase,
    folder: Path,
    pruner: Pruner | None = None,
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> None:
    """Train a module, from where an earlier call in the same folder was killed.

    Args:
        task: what to do, and what to compute on.
        module: a ``Model`` or a ``QuantizedNetwork``; it is changed.
        phase: how long and how fast.
        folder: for checkpoints and logs.
        pruner: of the module.
        on_progress: called after each epoch with the phase, epochs done and in all.

    Raises:
        InputError: the loss is not finite, there is no such device, or a file cannot be written.
    """
    machine = task.recipe.machine
    check(machine)
    last = folder / "checkpoints" / f"{phase.name}.ckpt"
    if machine.devices == 1:
        _fit(task, module, phase, folder, pruner, on_progress)
    else:
        given = (task.recipe, module, phase, folder, pruner)
        digests = devices.run(_fit_one, given, machine.devices, on_gpus(machine), on_progress)
        found = _AtomicIO().load_checkpoint(last)
        wrapped = _Module(task, module, phase, pruner)
        wrapped.load_state_dict(found["state_dict"])
        wrapped.on_load_checkpoint(found)
        if set(digests) != {digest(module)}:
            raise RuntimeError(f"devices have trained different weights: {digests}")
    module.cpu().eval()


def _fit_one(given: Any, rank: int, tell: Callable[..., None]) -> str:
    """Train on one of several devices; return the digest of what it has in the end."""
    recipe, module, phase, folder, pruner = given
    torch.set_num_threads(recipe.machine.threads)
    _fit(task_of(recipe), module, phase, folder, pruner, tell if rank == 0 else _nothing)
    return digest(module)


def _nothing(name: str, done: int, total: int) -> None:
    """Show no progress."""


def digest(module: nn.Module) -> str:
    """Return what tells a module's parameters, masks and statistics from others."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.cpu().numpy().tobytes())
    return found.hexdigest()


def _fit(
    task: Task,
    module: nn.Module,
    phase: Phase,
    folder: Path,
    pruner: Pruner | None,
    on_progress: Callable[[str, int, int], None],
) -> None:
    machine, checkpoints = task.recipe.machine, folder / "checkpoints"
    last = checkpoints / f"{phase.name}.ckpt"
    wrapped = _Module(task, module, phase, pruner)
    saved = ModelCheckpoint(
        dirpath=checkpoints,
        filename=phase.name,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    mixed = machine.numbers in (Numbers.MIXED_BFLOAT, Numbers.MIXED_HALF)
    whole = isinstance(module, QuantizedNetwork)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cuda" if on_gpus(machine) else "cpu",
            devices=machine.devices,
            # Batch norm adds up over devices, and buffers are the same on all of them.
            strategy=DDPStrategy(broadcast_buffers=False) if machine.devices > 1 else "auto",
            # Doubles are the module's own.
            precision=machine.numbers.value if mixed and not whole else "32-true",
            max_epochs=phase.epochs,
            default_root_dir=folder,
            logger=_loggers(folder, phase.name),
            callbacks=[saved, _Shown(history_file(folder, phase.name), phase, on_progress)],
            # A process trains on a device of this machine, also in a job of a cluster.
            plugins=[_AtomicIO(), LightningEnvironment()],
            gradient_clip_val=LARGEST_GRADIENT,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
        trainer.fit(wrapped, ckpt_path=last if last.exists() else None)


def on_gpus(machine: Machine) -> bool:
    """Return whether GPUs compute."""
    if machine.accelerator is Accelerator.AUTO:
        return torch.cuda.is_available()
    return machine.accelerator is Accelerator.GPU


def check(machine: Machine) -> None:
    """See that this computer has what is asked for.

    Raises:
        InputError: it has not.
    """
    gpus, found = on_gpus(machine), torch.cuda.device_count()
    if gpus and found < machine.devices:
        raise InputError(
            "machine: accelerator",
            f"asks for {machine.devices} GPU, PyTorch {torch.__version__} sees {found}",
            "Use accelerator: cpu, fewer devices, or a PyTorch with CUDA",
        )
    if not gpus and machine.numbers is Numbers.MIXED_HALF:
        raise InputError(
            "machine: numbers",
            "is 16-mixed, which is for GPUs, and a processor computes",
            "Use bf16-mixed or 32-true",
        )


def _loggers(folder: Path, name: str) -> list[Logger]:
    try:
        return [TensorBoardLogger(folder / "logs", name=name, version="tensorboard")]
    except ModuleNotFoundError:  # it is not part of the extra
        return []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks on devices, and its tips, to itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def evaluate(task: Task, module: nn.Module) -> float:
    """Return the mean score of a module on the test data, on the processor."""
    module = module.cpu().eval()
    scores = []
    with torch.no_grad():
        for make in task.test_batches():
            batch = make()
            scores.append(task.scores(module(batch.tokens, lengths=batch.lengths), batch))
    return float(torch.cat(scores).double().mean())
