"""The network on a test set, where an evaluation of it is given."""

from __future__ import annotations

from pathlib import Path

from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation import classification, result
from s5_to_loihi.evaluation.classification import Answered
from s5_to_loihi.evaluation.clip import INTEGERS, NOISY
from s5_to_loihi.evaluation.metrics import DNSMOS, METRICS
from s5_to_loihi.evaluation.result import Evaluated
from s5_to_loihi.evaluation.statistics import CONFIDENCE, Mean
from s5_to_loihi.files.reading import read_json
from s5_to_loihi.files.records import read_record
from s5_to_loihi.profiling.quantity import Origin, Quantity
from s5_to_loihi.reports import answer_tables, evaluation_tables
from s5_to_loihi.reports.evaluation_drawing import draw_clips, draw_confusion
from s5_to_loihi.reports.html.page import Block, Cards, Note, Picture, Section, card
from s5_to_loihi.reports.picture import as_svg

#: Metrics that stand at the top.
CARDS = ("si_snr", "si_snri", "dnsmos_ovrl", "pesq", "stoi")


def read(path: Path, digest: str) -> Evaluated | Answered:
    """Read what ``evaluate`` wrote of a bundle.

    Args:
        path: its ``results.json``.
        digest: of the bundle.

    Raises:
        InputError: it is no such file, or of another bundle.
    """
    schema = classification.SCHEMA
    content = read_json(path, largest=schema.largest, if_damaged=schema.do)
    found: Evaluated | Answered
    if isinstance(content, dict) and content.get("schema") == schema.key:
        found = read_record(Answered, path, schema)
    else:
        found = result.read(path)
    if found.digest != digest:
        raise InputError(
            str(path),
            f"is of another bundle ({found.network}, digest {found.digest[:12]}; here"
            f" {digest[:12]})",
            "Evaluate this one",
        )
    return found


def section(found: Evaluated | Answered | None) -> Section | None:
    """Return what an evaluation found; None without one."""
    if found is None:
        return None
    blocks = _answers(found) if isinstance(found, Answered) else _clips(found)
    return Section("evaluation", "On a test set", tuple(blocks))


def _clips(found: Evaluated) -> list[Block]:
    blocks: list[Block] = [Note(f"{evaluation_tables.verdict(found)}.")]
    means = found.means.get(INTEGERS, {})
    cards = [card(_title(name), _quantity(means[name], name)) for name in CARDS if name in means]
    if cards:
        blocks.append(Cards(tuple(cards)))
    gone, notes = evaluation_tables.excluded_table(found), evaluation_tables.note_table(found)
    blocks += [table for table in (gone, notes) if table is not None]
    if found.included:
        blocks += evaluation_tables.mean_tables(found)
    if any(value is not None for value in found.of(NOISY, "si_snr")):
        blocks.append(
            Picture(
                "What each clip gained in SI-SNR over its noisy version; beside it, sorted, what"
                " rounding to integers costs, where a float model was evaluated too.",
                f"Scatter plot of {len(found.included)} clips: improvement over the SI-SNR of the"
                " noisy clip.",
                as_svg(lambda path: draw_clips(path, found)),
            )
        )
    if found.included:
        blocks.append(evaluation_tables.clip_table(found, most=len(found.included)))
    if found.resources is not None:
        blocks += [evaluation_tables.resource_table(found.resources)]
        blocks += [evaluation_tables.board_table(found)]
        blocks += [Note(text) for text in evaluation_tables.SAME_AND_NOT]
    return [*blocks, *(Note(note) for note in found.notes)]


def _title(name: str) -> str:
    """Return what a card is called."""
    title = METRICS[name].title
    return f"DNSMOS {title}" if METRICS[name].family == DNSMOS else title


def _quantity(mean: Mean, name: str) -> Quantity:
    low, high = (mean.value if one is None else one for one in (mean.low, mean.high))
    scope = f"mean of {mean.clips:,} clips; range: {CONFIDENCE:.0%} confidence"
    definition = METRICS[name].definition
    return Quantity(mean.value, low, high, METRICS[name].unit, scope, Origin.MEASURED, definition)


def _answers(found: Answered) -> list[Block]:
    blocks: list[Block] = [Note(f"{answer_tables.verdict(found)}.")]
    blocks += [Note(f"Left out: {reason}.") for reason in found.excluded]
    blocks += answer_tables.answer_tables(found)
    if found.decisions is not None:
        blocks.append(
            Picture(
                "Decisions: rows are true classes, columns what was decided; shares of a row.",
                f"Confusion matrix of {len(found.classes)} classes.",
                as_svg(lambda path: draw_confusion(path, found)),
            )
        )
    return [*blocks, *(Note(note) for note in found.notes)]
