"""Tables of a quantization: integers beside floats, weights, and which ranges are proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s5_to_loihi.reports.table import Cell, Content, Mark, Table, counted, table

if TYPE_CHECKING:
    from s5_to_loihi.quantization.proofs import RangeProof
    from s5_to_loihi.quantization.report import QuantizationReport


def decibels(ratio: float | None) -> str:
    """Return a ratio in dB for people."""
    if ratio is None:
        return "-"
    return "exact" if ratio == float("inf") else f"{ratio:.1f}"


def quantization_table(report: QuantizationReport) -> Table:
    """One row a value that the float model has too."""
    return table(
        f"Integers beside the float model, {report.held_out_tokens:,} held-out tokens\n(SQNR:"
        " signal to quantization noise; at limit: saturated;\ndead: zero here, not in the float"
        " model)",
        report.tensors,
        {
            "value": lambda row: row.name,
            "bits #": lambda row: row.bits,
            "exponents #": lambda row: "..".join(map(str, dict.fromkeys(row.exponents))),
            "SQNR dB #": lambda row: decibels(row.signal_to_noise),
            "at limit #": lambda row: counted(row.saturated),
            "dead neurons #": lambda row: counted(row.dead),
            "constant neurons #": lambda row: row.constant,
        },
    )


def matrix_table(report: QuantizationReport) -> Table:
    """One row a weight matrix."""
    return table(
        "Weights (zeroed: rounded to zero)",
        report.matrices,
        {
            "matrix": lambda row: row.name,
            "bits #": lambda row: row.bits,
            "not zero in floats #": lambda row: row.parameters,
            "zeroed #": lambda row: counted(row.zeroed),
        },
    )


def range_table(report: QuantizationReport) -> Table:
    """One row a register: whether any input can overflow it, and what the data did."""
    proven, measured = Cell("proven", Mark.GOOD), Cell("measured", Mark.NOTICE)
    return table(
        "Ranges (proven: no input can leave the register; measured: it saturates, and the data\n"
        "came this near to its limit)",
        report.proofs,
        {
            "register": lambda row: row.where,
            "role": lambda row: row.role,
            "bits #": lambda row: row.bits,
            "worst case needs #": lambda row: row.needed,
            "": lambda row: proven if row.proven else measured,
            "headroom bits #": lambda row: "" if row.headroom is None else f"{row.headroom:.1f}",
            "saturated #": _saturated,
        },
    )


def _saturated(row: RangeProof) -> Cell | Content:
    if row.proven:
        return ""
    if not row.saturated:
        return Cell("0", Mark.QUIET)
    return Cell(f"{row.saturated:,} of {row.of:,}", Mark.NOTICE)


def quantization_facts(report: QuantizationReport) -> list[tuple[str, str]]:
    """Return what a summary says of a quantization besides its output."""
    proven = sum(proof.proven for proof in report.proofs)
    saturated = sum(proof.saturated for proof in report.proofs)
    zeroed = sum(matrix.zeroed for matrix in report.matrices)
    parameters = sum(matrix.parameters for matrix in report.matrices)
    written = sorted({matrix.bits for matrix in report.matrices}, key=str)
    bits = " and ".join(one if isinstance(one, str) else f"{one} bits" for one in written)
    facts = [
        (
            "output",
            f"SQNR {decibels(report.calibration_signal_to_noise)} dB on"
            f" {report.calibration_tokens:,} tokens of calibration",
        ),
        (
            "weights",
            f"{bits}, {zeroed:,} of {parameters:,} rounded to zero",
        ),
        (
            "ranges",
            f"{proven} of {len(report.proofs)} proven for every input; of the others"
            f" {saturated:,} held-out integers saturated, and {report.clipped_inputs:,} inputs",
        ),
    ]
    judged = [row for row in report.tensors if row.signal_to_noise is not None]
    if judged:
        worst = min(judged, key=lambda row: row.signal_to_noise or 0.0)
        facts.append(("worst value", f"{worst.name}, {decibels(worst.signal_to_noise)} dB"))
    return facts
