"""A small mapped bundle with a name that would do harm if it were not escaped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from s5_to_loihi import bundle
from s5_to_loihi.bundle.core_mapping import Objective
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.loihi2.mapper import map_network
from s5_to_loihi.loihi2.rates import assumed_rates

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>"


def mapped_denoiser(directory: Path) -> Path:
    """Write a bundle of the shipped export with 40 recorded tokens; returns its path."""
    compiled = compile_export(DENOISER, name=HOSTILE)
    rates = assumed_rates(compiled.network, 0.5)
    mapping, _ = map_network(compiled.network, rates, objective=Objective.CORES)
    path = directory / "denoiser.bundle"
    bundle.write(
        dataclasses.replace(
            compiled, vectors=compiled.vectors.first(40, 1), notes=(HOSTILE,), mapping=mapping
        ),
        path,
    )
    return path
