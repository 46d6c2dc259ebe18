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

from metric_cuts import CUTS, estimates


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
    versions = {
        name: importlib.metadata.version(name)
        for name in ("torch", "onnxruntime", "speechmos", "pesq", "pystoi", "numpy", "scipy")
    }
    content = {"versions": versions, "metrics": recorded}
    target.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
