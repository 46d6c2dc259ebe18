"""A report as files: the page, and the same numbers as JSON beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from s5_to_loihi.evaluation.classification import Answered
from s5_to_loihi.evaluation.result import Evaluated
from s5_to_loihi.files.writing import check_target, replacing
from s5_to_loihi.loihi2.facts import System
from s5_to_loihi.profiling.findings import Findings, Sources, gather
from s5_to_loihi.reports.html.content import dictionary_of, page_of
from s5_to_loihi.reports.html.page import rendered


def report(
    bundle: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    inputs: str | os.PathLike[str] | None = None,
    clean: str | os.PathLike[str] | None = None,
    system: System | None = None,
    dense: str | os.PathLike[str] | None = None,
    measured: str | os.PathLike[str] | None = None,
    baselines: Sequence[str | os.PathLike[str]] = (),
    measure: bool = True,
    seed: int = 0,
) -> tuple[Path, Path]:
    """Write what a network costs as one page, and the same numbers as JSON beside it.

    Args:
        bundle: the network's directory.
        output: the .html to write.
        inputs, clean, system, dense, measured, baselines, measure, seed: see ``Sources``.

    Returns:
        The paths of page and JSON.

    Raises:
        S5ToLoihiError: something cannot be read or written, does not suit the network, or does
            not fit.

    Examples:
        >>> page, numbers = s5.report("denoiser.bundle", "report.html", measure=False)
        >>> page.name, numbers.name
        ('report.html', 'report.json')
    """
    target = Path(output)
    check_target(target, (".html",))
    sources = Sources(
        bundle=Path(bundle),
        inputs=Path(inputs) if inputs is not None else None,
        clean=Path(clean) if clean is not None else None,
        system=system,
        dense=Path(dense) if dense is not None else None,
        measured=Path(measured) if measured is not None else None,
        baselines=tuple(map(Path, baselines)),
        measure=measure,
        seed=seed,
    )
    return write(gather(sources), f"s5_to_loihi.report({str(bundle)!r}, {str(output)!r})", target)


def write(
    findings: Findings, command: str, path: Path, evaluated: Evaluated | Answered | None = None
) -> tuple[Path, Path]:
    """Write a report, each file whole or not at all.

    Args:
        findings: what it says.
        command: that made it.
        path: of the page; the JSON has its name with the suffix .json.
        evaluated: what an evaluation found, if there was one.

    Returns:
        The paths of page and JSON.

    Raises:
        InputError: a file cannot be written.
    """
    data = json.dumps(dictionary_of(findings, command, evaluated), indent=1, allow_nan=False) + "\n"
    beside = path.with_suffix(".json")
    for file, content in ((path, rendered(page_of(findings, command, evaluated))), (beside, data)):
        with replacing(file) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return path, beside
