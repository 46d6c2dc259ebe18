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


def quantization_summary(report: QuantizationReport) -> str:
    """Return the report in two lines."""
    proven = sum(proof.proven for proof in report.proofs)
    saturated = sum(proof.saturated for proof in report.proofs)
    zeroed = sum(matrix.zeroed for matrix in report.matrices)
    parameters = sum(matrix.parameters for matrix in report.matrices)
    return (
        f"Output SQNR {decibels(report.signal_to_noise)} dB on {report.held_out_tokens:,} held-out"
        f" tokens, {decibels(report.calibration_signal_to_noise)} dB on"
        f" {report.calibration_tokens:,} of calibration; {zeroed:,} of {parameters:,} weights"
        f" rounded to zero\n{proven} of {len(report.proofs)} ranges proven for every input, the"
        f" others saturate: {saturated:,} held-out integers did, and {report.clipped_inputs:,}"
        " inputs"
    )
