"""A report as files: the page, and the same numbers as JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path

from s5_to_loihi.evaluation.classification import Answered
from s5_to_loihi.evaluation.result import Evaluated
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.profiling.findings import Findings
from s5_to_loihi.reports.html.content import dictionary_of, page_of
from s5_to_loihi.reports.html.page import rendered


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
