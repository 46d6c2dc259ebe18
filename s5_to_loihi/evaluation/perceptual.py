"""How a listener would judge: DNSMOS, PESQ and STOI, by the packages that define them.

None is part of an ordinary installation: ``s5_to_loihi[evaluate]`` brings DNSMOS and STOI,
``s5_to_loihi[pesq]`` PESQ, which is built from C.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from s5_to_loihi.audio import RATE, Samples
from s5_to_loihi.evaluation import packages

# Source: IntelLabs/IntelNeuromorphicDNSChallenge ddf0e5d, dnsmos.py (MIT), after Microsoft's
# DNS-Challenge: windows of 9.01 s every second; what the model says goes through a polynomial.
WINDOW_SECONDS = 9.01
POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def dnsmos(samples: Samples) -> dict[str, float]:
    """Return DNSMOS P.835 of one channel at 16 kHz, as the N-DNS challenge computes it.

    A recording shorter than a window is repeated until it is none. Means are over all windows.

    Args:
        samples: float64 (samples,), full scale 1; at least one.

    Returns:
        ``ovrl``, ``sig`` and ``bak``, each from about 1 to 5.

    Raises:
        InputError: onnxruntime or speechmos is not installed.
    """
    window = int(WINDOW_SECONDS * RATE)
    while len(samples) < window:
        samples = np.append(samples, samples)
    scores = []
    for hop in range(int(len(samples) // RATE - WINDOW_SECONDS) + 1):
        part = samples[hop * RATE : int((hop + WINDOW_SECONDS) * RATE)]
        if len(part) == window:
            raw = _session().run(None, {"input_1": part.astype(np.float32)[None]})[0][0]
            values = zip(POLYNOMIALS.items(), raw, strict=True)
            scores.append({name: np.polyval(terms, value) for (name, terms), value in values})
    return {name: float(np.mean([score[name] for score in scores])) for name in POLYNOMIALS}


def pesq(clean: Samples, estimate: Samples) -> float | None:
    """Return wide-band PESQ (ITU-T P.862.2) of one channel at 16 kHz; None if no speech is found.

    Raises:
        InputError: pesq is not installed.
    """
    packages.require("pesq")
    import pesq as of_itu

    try:
        with np.errstate(invalid="ignore"):  # it divides by the peak, which silence has not
            return float(of_itu.pesq(RATE, clean, estimate, "wb"))
    except of_itu.PesqError:  # no utterance found, or less than a quarter of a second
        return None


def stoi(clean: Samples, estimate: Samples) -> float | None:
    """Return STOI of one channel at 16 kHz; None if too little is loud enough to judge.

    Raises:
        InputError: pystoi is not installed.
    """
    packages.require("stoi")
    import pystoi

    with warnings.catch_warnings():
        # It warns and returns 1e-5 where fewer than 30 frames are above 40 dB below the loudest.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(clean, estimate, RATE))
        except RuntimeWarning:
            return None


@functools.lru_cache(maxsize=1)
def _session() -> Any:
    """Return the model that the wheel speechmos ships; its code needs librosa and is not run."""
    packages.require("dnsmos")
    model = packages.folder("speechmos") / "dnsmos_models" / "sig_bak_ovr.onnx"
    return packages.onnx_session(model)
