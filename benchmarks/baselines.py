"""Measure the dense float model of a bundle's sizes: on this processor, or on a GPU.

    python benchmarks/baselines.py denoiser.bundle --json gpu.json
    s5-to-loihi report denoiser.bundle -o report.html --baselines gpu.json

NumPy runs always, JAX and PyTorch if they are installed, on the GPU that they find (one process
for each, so that neither holds memory of the other). Energy needs counters: nvidia-ml-py for a GPU,
readable RAPL for a processor. A result without them says so.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from s5_to_loihi import bundle
from s5_to_loihi.profiling.baselines import (
    LIBRARIES,
    Baseline,
    Baselines,
    measure,
    write_baselines,
)
from s5_to_loihi.profiling.dense_float import sizes_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path, help="where to write what `report` reads")
    parser.add_argument("--library", action="append", choices=LIBRARIES, help="may be repeated")
    parser.add_argument("--batch", type=int, default=64, help="sequences at once")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of five repeats")
    options = parser.parse_args()
    sizes = sizes_of(bundle.read(options.bundle).network)
    # JAX would take three quarters of the GPU's memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    rows: list[Baseline] = []
    spawn = multiprocessing.get_context("spawn")
    for library in options.library or LIBRARIES:
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
            run = pool.submit(measure, sizes, (library,), options.batch, options.seconds)
            rows += run.result().measured
    table = Table(title=f"The dense float model: {sizes}, {sizes.weights:,} weights", box=None)
    for heading in ("device", "software", "mode", "us a token", "uJ a token"):
        table.add_column(heading, justify="right" if "a token" in heading else "left")
    for row in rows:
        cells = [
            "-" if one is None else f"{one.value:,.3g} ({one.low:,.3g} to {one.high:,.3g})"
            for one in (row.time, row.energy)
        ]
        table.add_row(row.device, row.software, row.mode, *cells)
    console = Console(width=160)
    console.print(table)
    for note in dict.fromkeys(f"{row.device}: {row.energy_note}" for row in rows):
        console.print(note, highlight=False)
    if options.json is not None:
        write_baselines(Baselines(tuple(rows)), options.json)
        console.print(f"Wrote {options.json}", highlight=False)


if __name__ == "__main__":
    main()
