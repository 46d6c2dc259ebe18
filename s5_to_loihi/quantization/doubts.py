"""What speaks against a quantization although it was made: said in one line each, with a reason."""

from __future__ import annotations

import numpy as np

from s5_to_loihi.inputs import MOST_SATURATED
from s5_to_loihi.quantization.report import QuantizationReport, TensorReport

#: Outputs with less than this ratio to the float model's, in dB, are another model's.
LEAST_RATIO = 20.0
#: A value this many times the magnitude that 999 of 1,000 stay below is suspected where something
#: is wrong, and ten times that in any case. Spectra of speech reach 10 to 20 times.
SUSPECTED, OUTLYING = 30.0, 300.0
ORDINARY = 0.999


def doubts(
    report: QuantizationReport,
    calibration: np.ndarray,
    held_out: np.ndarray,
    where: tuple[str, str] = ("calibration data", "held-out data"),
) -> tuple[str, ...]:
    """Return what is doubtful about a quantization.

    Args:
        report: of it.
        calibration, held_out: (T, N, F) what it was calibrated and measured with.
        where: what to call the two.
    """
    low = report.signal_to_noise is not None and report.signal_to_noise < LEAST_RATIO
    limit = SUSPECTED if low else OUTLYING
    pairs = zip((calibration, held_out), where, strict=True)
    outliers = [said for data, name in pairs if (said := outlier(data, name, limit))]
    found: list[str] = []
    if low:
        reason = outliers[0] if outliers else _other_reason(report, calibration, held_out, where)
        found.append(
            f"output SQNR is {report.signal_to_noise:.1f} dB (below {LEAST_RATIO:.0f}): the"
            f" integers do not compute what the float model does; likely since {reason}"
        )
    else:
        found += outliers
    return (*found, *_saturated(report))


def low_ratio_said(ratio: float | None, where: str) -> tuple[str, ...]:
    """Say that outputs on some data are not the float model's; nothing if they are, or unknown."""
    if ratio is None or ratio >= LEAST_RATIO:
        return ()
    return (
        f"output SQNR on {where} is {ratio:.1f} dB (below {LEAST_RATIO:.0f}): the integers do not"
        " compute what the float model does there; is it the model that the network was made from,"
        " and are the data like those of the calibration",
    )


def outlier(data: np.ndarray, where: str, limit: float = OUTLYING) -> str:
    """Say which value is far beyond all others, and in which token and feature; else nothing.

    Args:
        data: (T, N, F).
        where: what to call them.
        limit: times the magnitude that 999 of 1,000 values that are not zero stay below.
    """
    magnitudes = np.abs(data)
    largest = float(magnitudes.max(initial=0))
    ordinary = float(np.quantile(magnitudes[magnitudes > 0], ORDINARY)) if largest else 0.0
    if largest <= limit * ordinary:
        return ""
    place = np.unravel_index(int(magnitudes.argmax()), data.shape)
    token, sequence, feature = (int(index) for index in place)
    beyond = int(np.count_nonzero(magnitudes > limit * ordinary))
    return (
        f"{where} reach {data[place]:.4g} (token {token:,} of sequence {sequence:,}, feature"
        f" {feature:,}), {beyond:,} values lie far beyond the {ordinary:.4g} that 99.9 % of them"
        " stay below: remove or limit them"
    )


def _other_reason(
    report: QuantizationReport,
    calibration: np.ndarray,
    held_out: np.ndarray,
    where: tuple[str, str],
) -> str:
    louder = float(np.abs(held_out).max()) / max(float(np.abs(calibration).max()), 1e-300)
    if louder > 2:
        return f"{where[1]} are up to {louder:.1f} times as large as {where[0]}"
    worst = next(
        (one for one in report.tensors if one.signal_to_noise < LEAST_RATIO),
        min(report.tensors, key=lambda one: one.signal_to_noise),
    )
    return (
        f"{worst.name} is the first value to be off ({worst.signal_to_noise:.1f} dB, --details):"
        " give more bits, or data as the model was trained with, axes in their order"
    )


def _saturated(report: QuantizationReport) -> list[str]:
    """Say which value is at its limits most often, and how many others are too often."""
    many = [one for one in report.tensors if one.saturated > MOST_SATURATED * one.of]
    if not many:
        return []

    def share(one: TensorReport) -> float:
        return one.saturated / one.of

    worst = max(many, key=share)
    more = f" and of {len(many) - 1} other values" if len(many) > 1 else ""
    return [
        f"{share(worst):.1%} of the integers of {worst.name}{more} are at their limit (more than"
        f" {MOST_SATURATED:.0%}): calibrate with data as large as those to come, or give more bits"
    ]
