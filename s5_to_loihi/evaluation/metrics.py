"""The metrics of a clip, by name: what they are in, what is better, and what computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Metric:
    """A number that a clip gets.

    Attributes:
        title: for tables.
        unit: of it; empty for a score.
        digits: after the point, in tables.
        family: what is computed, and asked for, together.
        definition: where it is from, in a line.
    """

    title: str
    unit: str
    digits: int
    family: str
    definition: str


#: Computed always: a few milliseconds a clip.
SIGNAL = "signal"
DNSMOS, PESQ, STOI = "dnsmos", "pesq", "stoi"
#: Computed when asked for: seconds a clip, and packages of their own.
PERCEPTUAL = (DNSMOS, PESQ, STOI)
#: Families that compare with a clean recording.
INTRUSIVE = (SIGNAL, PESQ, STOI)

_DNSMOS = "DNSMOS P.835 as the N-DNS challenge computes it; 1 to 5"
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "si_snr": Metric("SI-SNR", "dB", 2, SIGNAL, "snr.py of the N-DNS challenge"),
        "si_snri": Metric("SI-SNRi", "dB", 2, SIGNAL, "SI-SNR less that of the noisy recording"),
        "si_snri_encdec": Metric(
            "SI-SNRi enc+dec", "dB", 2, SIGNAL, "SI-SNR less that after STFT and inverse alone"
        ),
        "dnsmos_ovrl": Metric("OVRL", "", 2, DNSMOS, _DNSMOS),
        "dnsmos_sig": Metric("SIG", "", 2, DNSMOS, _DNSMOS),
        "dnsmos_bak": Metric("BAK", "", 2, DNSMOS, _DNSMOS),
        "pesq": Metric("PESQ", "", 2, PESQ, "ITU-T P.862.2, wide band; 1 to 4.6"),
        "stoi": Metric("STOI", "", 3, STOI, "Taal et al. 2011; 0 to 1"),
    }
)


def of_family(family: str) -> tuple[str, ...]:
    """Return the names of a family's metrics."""
    return tuple(name for name, metric in METRICS.items() if metric.family == family)
