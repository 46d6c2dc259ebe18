"""What an evaluation computes: tasks with a digest of all that goes into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s5_to_loihi import bundle
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.loading import LoadedCheckpoint, load
from s5_to_loihi.checkpoints.options import AS_IT_IS, LoadOptions
from s5_to_loihi.denoising import check_denoiser
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import packages
from s5_to_loihi.evaluation.clip import FLOAT, INTEGERS, NOISY, Item
from s5_to_loihi.evaluation.metrics import DNSMOS, SIGNAL
from s5_to_loihi.evaluation.pairs import Pair, Pairs
from s5_to_loihi.files.digest import source_digest
from s5_to_loihi.tasks.store import Kind
from s5_to_loihi.tasks.task import Task
from s5_to_loihi.tasks.tool import tool

#: What the directory of an evaluation holds.
EVALUATION = Kind("evaluation", "measurement")


@dataclass(frozen=True)
class Plan:
    """What is evaluated, on what, and by what.

    Attributes:
        network: the bundle of a denoiser.
        pairs: the clips.
        model: a float checkpoint to compare with; None for none.
        options: what the checkpoint does not say.
        families: of metrics, besides those of the signal.
        baselines: other denoisers, of ``baselines.BASELINES``.
    """

    network: Path
    pairs: Pairs
    model: Path | None = None
    options: LoadOptions = AS_IT_IS
    families: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    @property
    def signals(self) -> tuple[str, ...]:
        """What is judged of each clip, by name."""
        floats = () if self.model is None else (FLOAT,)
        return (NOISY, *floats, INTEGERS, *self.baselines)


def check(plan: Plan) -> tuple[str, ...]:
    """Refuse what cannot be evaluated before anything is computed.

    Returns:
        What the user should know.

    Raises:
        InputError: the network is no denoiser, a package is not installed, or a metric needs what
            is not there.
        BundleError, CheckpointError: a file cannot be read.
    """
    opened = bundle.read(plan.network)
    check_denoiser(opened.network)
    for name in (*plan.families, *plan.baselines):
        packages.require(name)
    judged = any(pair.clean is not None for pair in plan.pairs.clips)
    if not judged and DNSMOS not in plan.families:
        raise InputError(
            "clips",
            "have no clean recordings, which all metrics but DNSMOS need",
            "Give --clean, or --metric dnsmos",
        )
    notes = list(plan.pairs.notes)
    if plan.model is not None:
        notes += of_another(opened, load(plan.model, plan.options))
    return tuple(notes)


def of_another(opened: Bundle, loaded: LoadedCheckpoint) -> tuple[str, ...]:
    """Return what to say of a float model that a network was not made from; else nothing."""
    if loaded.source["sha256"] == opened.source.get("sha256"):
        return ()  # what loading found out was told when the network was made
    what = (
        f"the network was not made from {loaded.model.name}, by the digests of both: differences"
        " are not of rounding alone"
    )
    return (*loaded.notes, what)


def tasks_of(
    plan: Plan, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Task, ...]:
    """Return a task for each clip, signal and family of metrics.

    Args:
        plan: see ``check``.
        on_progress: called with clips whose files are digested, and all.

    Raises:
        InputError: a file cannot be read.
    """
    versions = dict(tool())
    network = bundle.digest(plan.network)
    model = None if plan.model is None else dict(load(plan.model, plan.options).source)
    tasks = []
    for done, pair in enumerate(plan.pairs.clips, start=1):
        heard = _digest(pair)
        for signal in plan.signals:
            for family in (SIGNAL, *plan.families):
                basis = {
                    "tool": versions,
                    "clip": heard,
                    "network": network if signal == INTEGERS else None,
                    "model": model if signal == FLOAT else None,
                    "options": plan.options.as_json() if signal == FLOAT else None,
                    "packages": packages.versions(signal) | packages.versions(family),
                }
                settings = {"clip": pair.name, "signal": signal, "family": family}
                item = Item(pair, signal, family, plan.network, plan.model, plan.options)
                tasks.append(Task(settings, basis, (pair.name, signal, family), item))
        on_progress(done, len(plan.pairs.clips))
    return tuple(tasks)


def _digest(pair: Pair) -> list[str | None]:
    try:
        return [source_digest([file]) if file else None for file in (pair.noisy, pair.clean)]
    except OSError as error:
        raise InputError(str(error.filename), f"cannot be read ({error.strerror})") from None
