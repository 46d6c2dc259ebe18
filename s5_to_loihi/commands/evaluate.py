"""``evaluate``: a network on a test set, counted as the field counts it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Option

from s5_to_loihi import bundle
from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.inputs import Layout, saturated_said
from s5_to_loihi.simulators.which import Device

if TYPE_CHECKING:
    from s5_to_loihi.evaluation.classification import Answered
    from s5_to_loihi.evaluation.neurobench import NeuroBench
    from s5_to_loihi.evaluation.plan import Plan
    from s5_to_loihi.evaluation.result import Evaluated

METRICSBOARD = (".yml", ".yaml")


class Family(str, Enum):
    """What can be asked for besides SI-SNR."""

    DNSMOS = "dnsmos"
    PESQ = "pesq"
    STOI = "stoi"
    ALL = "all"


class Denoiser(str, Enum):
    """What can be compared with."""

    NSNET2 = "nsnet2"
    RNNOISE = "rnnoise"
    INTEL_SDNN = "intel_sdnn"


def evaluate(
    path: choices.BundleArgument,
    noisy: Path | None = Option(None, help="A folder of noisy recordings (.wav)."),
    clean: Path | None = Option(
        None, help="The clean ones: paired by fileid_N as N-DNS names them, else by equal names."
    ),
    pairs: Path | None = Option(
        None, metavar="FILE.csv", help="Instead: pairs, with the columns noisy and clean."
    ),
    families: list[Family] | None = Option(
        None,
        "--metric",
        "-m",
        help="Besides SI-SNR; may be repeated. Seconds a clip; each needs packages.",
    ),
    baselines: list[Denoiser] | None = Option(
        None, "--baseline", help="Denoise the same clips by it, too; may be repeated."
    ),
    board: bool = Option(False, "--board", help="Show the entries of the N-DNS challenge."),
    metricsboard: Path | None = Option(
        None, metavar="FILE.yml", help="Write a row for the challenge's metrics board."
    ),
    team: str | None = Option(None, help="Who that row is of."),
    neurobench: bool = Option(
        False, "--neurobench", help="NeuroBench's metrics by its own code (needs torch)."
    ),
    data: Path | None = Option(
        None,
        metavar="FILE.npz",
        help="Instead of recordings: inputs (tokens, sequences, features) with labels or"
        " targets, and lengths.",
    ),
    raw: bool = Option(
        False,
        "--raw",
        help="Take integers as those of the input format. Default: as values, 3 is 3.0.",
    ),
    layout: Layout | None = Option(None, help="Which axis of inputs comes first. Default: tokens."),
    strict: bool = Option(False, "--strict", help="Make warnings an error (exit code 3)."),
    top_k: int = Option(5, "--top-k", min=1, help="Right if among so many."),
    model: Path | None = Option(
        None, "--float", metavar="CHECKPOINT", help="The float model to compare with."
    ),
    directory: Path | None = Option(
        None,
        "--output",
        "-o",
        metavar="DIRECTORY",
        help="Keep results there: results.json, a picture, what is done so far.",
    ),
    jobs: choices.JobsOption = None,
    device: choices.DeviceOption = Device.CPU,
    retry_failed: bool = Option(
        False, "--retry-failed", help="Compute those measurements again that failed."
    ),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Evaluate a network on a test set: a denoiser on pairs of recordings, others on answers.

    Per clip and on average, with confidence intervals: SI-SNR and its improvements, DNSMOS, PESQ,
    STOI; the float model beside the integers; latency, power proxy and size as the Intel N-DNS
    challenge counts them. Clips that must not be averaged stay out, with the reason. With -o it
    goes on where it was killed. Examples:

        s5-to-loihi evaluate denoiser.bundle --noisy noisy --clean clean --float model -o results

        s5-to-loihi evaluate keywords.bundle --data test.npz --float model
    """
    sources = {"--noisy": noisy, "--pairs": pairs, "--data": data}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            "evaluate",
            f"got {' and '.join(given) or 'nothing to evaluate on'}",
            "Give one of --noisy (with --clean), --pairs and --data",
        )
    if clean is not None and noisy is None:
        raise InputError("--clean", f"is given with {given[0]}", "It belongs to --noisy")
    if data is not None:
        _refuse_with_data(families, baselines, board, metricsboard, neurobench)
        shown = (details, as_json)
        _answers(path, data, (raw, layout), strict, model, top_k, directory, jobs, device, shown)
        return
    if device is not Device.CPU:
        raise InputError(
            "--device", f"is {device.value} without --data", "Recordings are evaluated by processes"
        )
    from s5_to_loihi.evaluation import pairs as pairing
    from s5_to_loihi.evaluation.metrics import PERCEPTUAL
    from s5_to_loihi.evaluation.plan import Plan

    check_target(metricsboard, METRICSBOARD)
    if metricsboard is not None and not team:
        raise InputError("--metricsboard", "does not say whose row it is", "Give --team NAME")
    wanted = {family.value for family in families or ()}
    plan = Plan(
        network=path,
        pairs=pairing.from_csv(pairs) if pairs else pairing.from_folders(noisy or "", clean),
        model=model,
        families=tuple(name for name in PERCEPTUAL if name in wanted or "all" in wanted),
        baselines=tuple(dict.fromkeys(one.value for one in baselines or ())),
    )
    show = _Shown(board, metricsboard, team or "", neurobench, details, as_json)
    _denoiser(plan, directory, jobs, retry_failed, show)


def _refuse_with_data(*options: object) -> None:
    """Refuse what is for denoisers only."""
    names = ("--metric", "--baseline", "--board", "--metricsboard", "--neurobench")
    said = [name for name, option in zip(names, options, strict=True) if option]
    if said:
        raise InputError(said[0], "is given with --data", "It is for denoisers (--noisy)")


@dataclass(frozen=True)
class _Shown:
    """What is printed and written of a denoiser besides the results; see the options."""

    board: bool
    metricsboard: Path | None
    team: str
    neurobench: bool
    details: bool
    as_json: bool


def _denoiser(
    plan: Plan, directory: Path | None, jobs: int | None, retry_failed: bool, show: _Shown
) -> None:
    from s5_to_loihi.evaluation import packages
    from s5_to_loihi.evaluation.result import RESULTS
    from s5_to_loihi.evaluation.run import TABLE
    from s5_to_loihi.evaluation.run import evaluate as evaluate_clips
    from s5_to_loihi.reports.evaluation_drawing import draw_clips

    if show.neurobench:
        packages.require("neurobench")
    with console.batch_progress("measurements") as shown:
        evaluated = evaluate_clips(plan, directory, jobs, retry_failed, shown)
    found = _neurobench(plan, evaluated) if show.neurobench else None
    written = [] if show.metricsboard is None else [show.metricsboard]
    if show.metricsboard is not None:
        _write_metricsboard(evaluated, show.metricsboard, show.team, plan)
    if directory is not None:
        picture = directory / "clips.png"
        drawn = draw_clips(picture, evaluated)
        written += [directory / RESULTS, directory / TABLE, *([picture] if drawn else [])]
    if show.as_json:
        console.print_json({"evaluation": evaluated, "neurobench": found})
    else:
        _tell(plan, evaluated, found, written, show)
    failed = [clip for clip in evaluated.clips if clip.failed]
    if failed:
        raise InputError(
            f"{len(failed)} of {len(evaluated.clips)} clips",
            f"could not be computed; {failed[0].name}: {failed[0].excluded}",
            "--retry-failed computes them again",
        )


def _tell(
    plan: Plan,
    evaluated: Evaluated,
    found: NeuroBench | None,
    written: list[Path],
    show: _Shown,
) -> None:
    from s5_to_loihi.reports import evaluation_tables as tables
    from s5_to_loihi.reports.summary import Summary, command
    from s5_to_loihi.reports.table import Mark

    clips = (*tables.mean_tables(evaluated), tables.clip_table(evaluated))
    used = evaluated.resources
    details = [
        tables.excluded_table(evaluated),
        tables.note_table(evaluated),
        *(clips if evaluated.included else ()),
        tables.rounding_table(evaluated),
        None if used is None else tables.resource_table(used),
    ]
    with_board = show.board or show.metricsboard is not None
    asked = [tables.board_table(evaluated)] if with_board else []
    asked += [] if found is None else [tables.neurobench_table(found)]
    results = [one for one in written if one.suffix == ".json"][:1]
    into_report = ("--evaluation", *results) if results else ()
    console.summarise(
        Summary(
            tables.verdict(evaluated),
            [*tables.facts(evaluated), *(("wrote", str(file)) for file in written)],
            Mark.GOOD if evaluated.included else Mark.BAD,
            warnings=tables.warnings(evaluated),
            notes=evaluated.notes,
            next=command("report", plan.network, "-o", "report.html", *into_report),
        ),
        [table for table in details if table is not None],
        show.details,
        asked,
        "\n".join(tables.SAME_AND_NOT) if with_board else "",
    )


def _neurobench(plan: Plan, evaluated: Evaluated) -> NeuroBench | None:
    """Run NeuroBench on the first channel of the first clip that is in the means."""
    from s5_to_loihi.denoising import tokens_of
    from s5_to_loihi.evaluation import recording
    from s5_to_loihi.evaluation.neurobench import measure

    names = {clip.name for clip in evaluated.included}
    pair = next((pair for pair in plan.pairs.clips if pair.name in names), None)
    if pair is None:
        return None
    network = bundle.read(plan.network).network
    tokens, _ = tokens_of(network, recording.read(pair).noisy[:1])
    return measure(network, tokens.astype("int32"))


def _write_metricsboard(evaluated: Evaluated, path: Path, team: str, plan: Plan) -> None:
    from s5_to_loihi.evaluation.challenge import metricsboard_row, write_metricsboard
    from s5_to_loihi.evaluation.clip import INTEGERS

    if evaluated.resources is None:
        raise InputError(str(path), "has no row: no clip could be judged", "See the clips' reasons")
    means = {name: mean.value for name, mean in evaluated.means.get(INTEGERS, {}).items()}
    row = metricsboard_row(
        means,
        evaluated.resources,
        team=team,
        model=evaluated.network,
        date=datetime.date.today().isoformat(),
        path=plan.network.name,
    )
    write_metricsboard(path, [row])


def _doubts(found: Answered) -> tuple[str, ...]:
    from s5_to_loihi.quantization.doubts import low_ratio_said

    return (
        *saturated_said(found.saturated, found.values, found.data),
        *low_ratio_said(found.signal_to_noise, found.data),
    )


def _answers(
    path: Path,
    data: Path,
    meaning: tuple[bool, Layout | None],
    strict: bool,
    model: Path | None,
    top_k: int,
    directory: Path | None,
    jobs: int | None,
    device: Device,
    shown: tuple[bool, bool],
) -> None:
    from s5_to_loihi.checkpoints.loading import load
    from s5_to_loihi.evaluation import classification, labelled
    from s5_to_loihi.evaluation.plan import EVALUATION, of_another
    from s5_to_loihi.evaluation.result import RESULTS
    from s5_to_loihi.files.records import write_record
    from s5_to_loihi.reports import answer_tables as tables
    from s5_to_loihi.reports.evaluation_drawing import draw_confusion
    from s5_to_loihi.reports.summary import Summary, command
    from s5_to_loihi.tasks import store
    from s5_to_loihi.tasks.workers import processors

    opened = bundle.read(path)
    (raw, layout), (details, as_json) = meaning, shown
    answers = labelled.read(data, opened.network, layout)
    loaded = None if model is None else load(model)
    with console.progress("Evaluating", "sequences") as advance:
        found = classification.answer(
            opened,
            answers,
            where=str(data),
            digest=bundle.digest(path),
            model=None if loaded is None else loaded.model,
            top_k=top_k,
            threads=jobs or processors(),
            device=device,
            notes=() if loaded is None else of_another(opened, loaded),
            raw=raw,
            on_progress=advance,
        )
    written: list[Path] = []
    if directory is not None:
        with store.opened(directory, opened.network.name, EVALUATION):
            write_record(found, directory / RESULTS, classification.SCHEMA)
            picture = directory / "confusion.png"
            drawn = draw_confusion(picture, found)
        written = [directory / RESULTS, *([picture] if drawn else [])]
    console.doubt(str(data), _doubts(found), strict)
    if as_json:
        console.print_json(found)
        return
    console.summarise(
        Summary(
            tables.verdict(found),
            [*tables.facts(found), *(("wrote", str(file)) for file in written)],
            warnings=tuple(f"left out: {reason}" for reason in found.excluded),
            notes=found.notes,
            next=command("report", path, "-o", "report.html"),
        ),
        tables.answer_tables(found),
        details,
    )
