"""Cuts of the shipped recording that metrics are recorded and compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

SPEECH = Path(__file__).parents[2] / "s5_to_loihi" / "data" / "speech"
#: Name -> first second and length. DNSMOS takes two windows of the long one, repeats the short one.
CUTS = {"long": (3, 11), "short": (7, 3)}


def estimates(cut: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a cut of the clean recording, and estimates of it by name, float64 each."""
    start, seconds = CUTS[cut]
    clean, noisy = (
        wavfile.read(SPEECH / f"{name}.wav")[1][start * 16000 : (start + seconds) * 16000] / 32768
        for name in ("clean", "noisy")
    )
    made = {"noisy": noisy, "halved": 0.3 * clean + 0.3 * noisy}
    if cut == "short":
        made["unlike"] = np.sin(np.arange(clean.size) * 0.3) * 0.1 + 1e-4 * clean + 0.05
    return clean, made
