"""Tables of an evaluation on data with answers: decisions, predictions, what an answer costs."""

from __future__ import annotations

from collections.abc import Sequence

from s5_to_loihi.evaluation.classification import Answered, Decisions, Share
from s5_to_loihi.evaluation.statistics import CONFIDENCE
from s5_to_loihi.reports.table import Cell, Content, Mark, Table, of_rows

#: Classes that a confusion matrix has room for on a terminal.
MOST_CLASSES = 12
#: Pairs of classes that are listed.
MISTAKES = 5


def verdict(answered: Answered) -> str:
    """Return the result of labels or targets in a sentence."""
    span = f"{answered.shortest:,}"
    span += f" to {answered.longest:,}" if answered.longest != answered.shortest else ""
    of = f"{answered.network} on {answered.sequences:,} sequences of {span} tokens: "
    decisions, predictions = answered.decisions, answered.predictions
    if decisions is not None:
        text = f"{of}accuracy {_share(decisions.accuracy)}"
        if decisions.agreement is not None:
            text += f"; {decisions.agreement.value:.2%} decided as by the float model"
        return text
    assert predictions is not None
    text = f"{of}mean squared error {predictions.mean_squared_error:.4g}"
    if answered.signal_to_noise is not None:
        text += f"; SQNR {answered.signal_to_noise:.1f} dB against the float model"
    return text


def facts(answered: Answered) -> list[tuple[str, str]]:
    """Return what a summary says besides the verdict."""
    rows = _answer_rows(answered)
    found = [(name, f"{value} ({of})") for name, value, of in rows if name != "accuracy"]
    for mode, one in answered.costs.items():
        found.append(
            (
                mode,
                f"{Cell(one['latency']).words('', True)}, {Cell(one['energy']).words('', True)}"
                f" an answer on Loihi 2, modelled",
            )
        )
    return found


def _share(share: Share) -> str:
    return f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%})"


def answer_tables(answered: Answered) -> tuple[Table, ...]:
    """Return what was decided or predicted, and what an answer costs."""
    decisions = answered.decisions
    title = f"Answers ({CONFIDENCE:.0%} confidence)"
    tables = [of_rows(title, ("what", "value #", "range, or of what"), _answer_rows(answered))]
    if decisions is not None:
        tables += _decision_tables(decisions, answered.classes)
    costs = [
        (mode, one["latency"], one["energy"], one["latency"].scope)
        for mode, one in answered.costs.items()
    ]
    headings = ("mode", "latency #", "energy, rails #", "of")
    tables.append(of_rows("What an answer costs on Loihi 2, modelled", headings, costs))
    return tuple(tables)


def _answer_rows(answered: Answered) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    decisions, predictions = answered.decisions, answered.predictions
    if decisions is not None:
        shares = [("accuracy", decisions.accuracy)]
        if decisions.top_k < len(answered.classes):
            shares.append((f"top {decisions.top_k}", decisions.top))
        if decisions.float_accuracy is not None and decisions.agreement is not None:
            shares += [
                ("accuracy, float model", decisions.float_accuracy),
                ("same decision as float", decisions.agreement),
            ]
        rows += [
            (
                name,
                f"{one.value:.2%}",
                f"{one.low:.2%} to {one.high:.2%}, {one.count:,} of {one.of:,}",
            )
            for name, one in shares
        ]
    if predictions is not None:
        rows.append(("mean squared error", f"{predictions.mean_squared_error:.4g}", "integers"))
        of_floats = predictions.float_mean_squared_error
        if of_floats is not None:
            rows.append(("the float model's", f"{of_floats:.4g}", "mean squared error"))
    if answered.signal_to_noise is not None:
        rows.append(
            ("SQNR, dB", f"{answered.signal_to_noise:.1f}", "outputs against the float model")
        )
    if answered.saturated:
        share = answered.saturated / answered.values
        rows.append(("inputs clipped", f"{answered.saturated:,}", f"{share:.2%} of all values"))
    return rows


def _decision_tables(decisions: Decisions, classes: Sequence[str]) -> list[Table]:
    tables = [_confusion(decisions, classes)] if len(classes) <= MOST_CLASSES else []
    mistaken = sorted(
        (
            (cell, place, column)
            for place, row in enumerate(decisions.confusion)
            for column, cell in enumerate(row)
            if place != column and cell
        ),
        reverse=True,
    )[:MISTAKES]
    if mistaken and len(classes) > 2:
        tables.append(
            of_rows(
                "Most often mistaken",
                ("true", "decided", "times #"),
                ((classes[place], classes[column], cell) for cell, place, column in mistaken),
            )
        )
    if decisions.differing:
        tables.append(
            of_rows(
                "First sequences where integers and float model decide differently",
                ("sequence #", "true", "integers", "float model"),
                (
                    (sequence, *(classes[place] for place in places))
                    for sequence, *places in decisions.differing
                ),
            )
        )
    return tables


def _confusion(decisions: Decisions, classes: Sequence[str]) -> Table:
    """One row a true class, one column a decision."""
    rows: list[list[Cell | Content]] = []
    for place, (name, row) in enumerate(zip(classes, decisions.confusion, strict=True)):
        cells = [Cell(f"{cell:,}" if cell else "") for cell in row]
        cells[place] = Cell(cells[place].content, Mark.GOOD)
        right = f"{row[place] / sum(row):.1%}" if sum(row) else "-"
        rows.append([name, *cells, right])
    headings = ("true", *(f"{name} #" for name in classes), "right #")
    return of_rows("Confusion: rows are true, columns decided", headings, rows)
