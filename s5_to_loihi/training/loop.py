"""The loop, by Lightning: epochs, checkpoints, resuming, devices, logs."""

from __future__ import annotations

import csv
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
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor, nn

from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.training import losses
from s5_to_loihi.training.modules import Model
from s5_to_loihi.training.optimisation import LARGEST_GRADIENT, optimiser, rate_share
from s5_to_loihi.training.pruning import Pruner, senders
from s5_to_loihi.training.quantized import QuantizedNetwork
from s5_to_loihi.training.recipe import Accelerator, Machine
from s5_to_loihi.training.tasks import Batch, Task

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
    """The batches of an epoch; with several devices, those of one of them."""

    def __init__(self, makers: list[Callable[[], Batch]], rank: int = 0, ranks: int = 1):
        # All devices take as many steps.
        self.makers = makers[rank : len(makers) - len(makers) % ranks or None : ranks]

    def __len__(self) -> int:
        return len(self.makers)

    def __iter__(self) -> Iterator[Batch]:
        return (make() for make in self.makers)


class _Module(lightning.LightningModule):
    """What Lightning runs."""

    def __init__(self, task: Task, module: nn.Module, phase: Phase, pruner: Pruner | None):
        super().__init__()
        self.task, self.module, self.phase, self.pruner = task, module, phase, pruner
        self.steps_of_epoch = len(task.batches(0))
        #: Of the steps of this epoch.
        self.losses: list[Tensor] = []

    @property
    def progress(self) -> float:
        """How much of the phase is done, 0 to 1."""
        return self.global_step / max(1, self.phase.epochs * self.steps_of_epoch)

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def train_dataloader(self) -> _Batches:
        trainer = self.trainer
        makers = self.task.batches(self.current_epoch)
        return _Batches(makers, trainer.global_rank, trainer.world_size)

    def val_dataloader(self) -> _Batches:
        return _Batches(self.task.test_batches())

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if isinstance(self.module, QuantizedNetwork):
            run: Any = self.module.run(batch.tokens, batch.lengths)
        else:
            run = self.module.run(batch.tokens, lengths=batch.lengths)
        loss = self.task.loss(run.output, batch)
        if self.phase.activity:
            costs = message_costs(self.module)
            loss = loss + self.phase.activity * losses.activity(run.messages, costs)
        if not torch.isfinite(loss):
            raise InputError(
                f"training, {self.phase.name}",
                f"diverged: the loss is {float(loss.detach())} in epoch {self.current_epoch},"
                f" step {index}",
                "Lower the learning rate (training: rate), or check the data",
            )
        if self.pruner is not None and self.pruner.pruning.aware_of_chip:
            self.pruner.observe(run.messages)
        self.losses.append(loss.detach())
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, batch_size=_size(batch))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if isinstance(self.module, QuantizedNetwork):
            self.module.fit()
        if self.pruner is not None and (
            self.global_step % self.pruner.pruning.interval == 0 or self.progress >= 1
        ):
            self.pruner.update(self.progress)

    def validation_step(self, batch: Batch, index: int) -> None:
        scores = self.task.scores(self.module(batch.tokens, lengths=batch.lengths), batch)
        self.log("score", scores.mean(), batch_size=_size(batch), sync_dist=True)

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


def _size(batch: Batch) -> int:
    return batch.tokens.shape[1]


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
            found: dict[str, Any] = torch.load(path, map_location, weights_only=True)
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
        loss = float(torch.stack(pl_module.losses).double().mean())
        pl_module.losses.clear()
        score = float(trainer.callback_metrics["score"])
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
    machine: Machine,
    pruner: Pruner | None = None,
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> None:
    """Train a module, from where an earlier call in the same folder was killed.

    Args:
        task: what to do.
        module: a ``Model`` or a ``QuantizedNetwork``; it is changed.
        phase: how long and how fast.
        folder: for checkpoints and logs.
        machine: what to compute on.
        pruner: of the module.
        on_progress: called after each epoch with the phase, epochs done and in all.

    Raises:
        InputError: the loss is not finite, there is no such device, or a file cannot be written.
    """
    _check(machine)
    checkpoints = folder / "checkpoints"
    last = checkpoints / f"{phase.name}.ckpt"
    wrapped = _Module(task, module, phase, pruner)
    saved = ModelCheckpoint(
        dirpath=checkpoints,
        filename=phase.name,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    whole = isinstance(module, QuantizedNetwork)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator=machine.accelerator.value,
            devices=machine.devices,
            precision="32-true" if whole else machine.numbers.value,
            max_epochs=phase.epochs,
            default_root_dir=folder,
            logger=_loggers(folder, phase.name),
            callbacks=[saved, _Shown(history_file(folder, phase.name), phase, on_progress)],
            plugins=[_AtomicIO()],
            gradient_clip_val=LARGEST_GRADIENT,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
        trainer.fit(wrapped, ckpt_path=last if last.exists() else None)
    module.cpu().eval()


def _check(machine: Machine) -> None:
    found = torch.cuda.device_count()
    if machine.accelerator is Accelerator.GPU and found < machine.devices:
        raise InputError(
            "machine: accelerator",
            f"asks for {machine.devices} GPU, PyTorch {torch.__version__} sees {found}",
            "Use accelerator: auto or cpu, or install a PyTorch with CUDA",
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
