"""How a listener would judge: DNSMOS, PESQ and STOI, by the packages that define them.

None is part of an ordinary installation: ``s5_to_loihi[evaluate]`` brings DNSMOS and STOI,
``s5_to_loihi[pesq]`` PESQ, which is built from C.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s5_to_loihi.audio import RATE, Samples
from s5_to_loihi.errors import InputError

#: Family of metrics -> packages that it needs, and the extra of this package that brings them.
NEEDED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "dnsmos": (("onnxruntime", "speechmos"), "evaluate"),
    "pesq": (("pesq",), "pesq"),
    "stoi": (("pystoi",), "evaluate"),
}

# Source: IntelLabs/IntelNeuromorphicDNSChallenge ddf0e5d, dnsmos.py (MIT), after Microsoft's
# DNS-Challenge: windows of 9.01 s every second; what the model says goes through a polynomial.
WINDOW_SECONDS = 9.01
POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def missing(family: str) -> str | None:
    """Return what to install for a family of metrics, or None if all of it is there."""
    packages, extra = NEEDED[family]
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)}: pip install 's5_to_loihi[{extra}]'" if absent else None


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
    require("dnsmos")
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
    require("pesq")
    import pesq as package

    try:
        return float(package.pesq(RATE, clean, estimate, "wb"))
    except package.PesqError:  # no utterance found, or less than a quarter of a second
        return None


def stoi(clean: Samples, estimate: Samples) -> float | None:
    """Return STOI of one channel at 16 kHz; None if too little is loud enough to judge.

    Raises:
        InputError: pystoi is not installed.
    """
    require("stoi")
    import pystoi

    with warnings.catch_warnings():
        # It warns and returns 1e-5 where fewer than 30 frames are above 40 dB below the loudest.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(clean, estimate, RATE))
        except RuntimeWarning:
            return None


def require(family: str) -> None:
    """Refuse a family of metrics whose packages are not installed.

    Raises:
        InputError: with what to install.
    """
    absent = missing(family)
    if absent:
        packages, _, command = absent.partition(": ")
        raise InputError(family.upper(), f"needs {packages}, not installed", f"Do: {command}")


@functools.lru_cache(maxsize=1)
def _session() -> Any:
    """Return the model that the wheel speechmos ships; its code needs librosa and is not run."""
    specification = importlib.util.find_spec("speechmos")
    assert specification is not None
    assert specification.submodule_search_locations is not None
    folder = Path(next(iter(specification.submodule_search_locations)))
    return session(folder / "dnsmos_models" / "sig_bak_ovr.onnx")


def session(model: Path) -> Any:
    """Open an ONNX model on one thread of the processor: clips are what runs in parallel."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
