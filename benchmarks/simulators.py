"""Every simulator on the same networks and tokens: microseconds a token, and where they go.

Networks: the shipped denoiser, and Intel's published size (257 in and out, H 192, P 128, 3 blocks,
90 % sparse): the export that --export names, else the one recorded in tests/golden. The recorded
tokens are repeated to 30 s of sound. All ways run in turn, in rounds of changing order, each timed
run after one that is not timed; ratios are of the fastest runs, medians stand beside them. What is
compiled is compiled before, and its time printed apart. Outputs of integers must equal the
interpreter's; floats are compared with the integers that they stand for. With JAX installed
(pip install jax) a jitted float32 model runs too (dense matrices, lax.scan); with a checkout of
IntelLabs/SparseRNNs (--sparse-rnns PATH; pip install jax flax jaxtyping) Intel's fixed-point
model. --plot DIR measures cost against density, width and input activity on random networks.

    python benchmarks/simulators.py [--export DIR] [--sparse-rnns PATH] [--plot DIR] [--quick]
        [--processor-time]

The last table holds every way against the fast simulator's, in one run, with the floor beside: the
multiply-accumulates of a token at this processor's peak. Costs are written to a JSON file, and
compared with those of the last run. Parts: simulator_ways.py, simulator_jax.py, simulator_intel.py,
simulator_floor.py, simulator_curves.py, simulator_tables.py. simulator_gpu.py measures a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numba
from rich.console import Console
from simulator_curves import QUICK_PLACES, Places, curves
from simulator_floor import peak
from simulator_intel import intel_ways
from simulator_jax import float_ways
from simulator_tables import (
    Measured,
    measured,
    print_changes,
    print_comparison,
    print_parts,
    print_targets,
    print_work,
    write,
)
from simulator_ways import (
    CLOCK,
    QUICK,
    Lengths,
    Way,
    fast_ways,
    golden_export,
    interpreter_ways,
    lava_ways,
    measure_in_turn,
    prepare,
    repeated,
)

from s5_to_loihi import intel_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.intel_export import IntelExport

#: Where what was measured is kept for the next time.
LAST = Path(__file__).with_name("simulators.json")


def compare(
    export: IntelExport, options, rates: dict[str, float], console: Console
) -> tuple[Measured, list[Way]]:
    """Measure all ways on one export and print where the time goes."""
    lengths = QUICK if options.quick else Lengths()
    model, _ = intel_export.to_model(export)
    recorded = export.recorded["INPUT"].data
    states, width = model.blocks[0].ssm.b_re.data.shape
    console.rule(f"{export.name}: H {width}, P {states}, {len(model.blocks)} blocks")
    with console.status("compiling kernels"):
        subject = prepare(export, model, repeated(recorded, lengths.tokens))
    console.print(f"Kernels compiled, or loaded from the cache, in {subject.seconds:.1f} s.")
    ways = fast_ways(subject, lengths) + interpreter_ways(subject, lengths)
    if not options.processor_time:  # its processes are not ours
        ways += lava_ways(subject, lengths, console)
    ways += float_ways(subject, lengths, console)
    if options.sparse_rnns:
        ways += intel_ways(subject, options.sparse_rnns, lengths, console)
    measure_in_turn(ways, console)
    print_work(subject, ways, rates, console)
    print_parts(subject, ways, lengths.rounds, console)
    return measured(subject, ways, rates), ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, metavar="DIR", help="Intel's fixed-point export")
    parser.add_argument(
        "--sparse-rnns", type=Path, metavar="PATH", help="a checkout of IntelLabs/SparseRNNs"
    )
    parser.add_argument("--plot", type=Path, metavar="DIR", help="measure curves, draw them here")
    parser.add_argument(
        "--processor-time", action="store_true",
        help="for a busy machine: time that processors spent, of all threads; leaves Lava out",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer tokens, rounds and points")
    parser.add_argument(
        "--json", type=Path, default=LAST, metavar="FILE",
        help="what was measured the last time, to be compared with and replaced",
    )  # fmt: skip
    options = parser.parse_args()
    if options.processor_time:
        CLOCK[:] = [time.process_time]
    console = Console(width=110)
    console.print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; numba"
        f" {numba.__version__}, {numba.get_num_threads()} threads for numba and JAX"
    )
    rates = peak(QUICK.rounds if options.quick else Lengths.rounds)
    small, _ = compare(intel_export.read(DENOISER), options, rates, console)
    export = intel_export.read(options.export) if options.export else golden_export()
    large, ways = compare(export, options, rates, console)
    console.rule("The comparison")
    print_comparison([small, large], console)
    print_targets(ways, console)
    if options.json.is_file():
        print_changes([small, large], json.loads(options.json.read_text()), console)
    write(options.json, [small, large])
    console.print(f"Written: {options.json}", soft_wrap=True)
    if options.plot:
        console.rule("Cost against density, width and input activity")
        curves(options.plot, QUICK_PLACES if options.quick else Places(), console)
    console.print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
