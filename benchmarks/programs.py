"""Neuron programs: instructions before and after shortening, by kind, and what lean ones cost.

Instructions are those of all neurons for a token, as profiles count them, without the gate of
fall-through. For each checkpoint the network of the default precision and the lean one are
profiled on the held-out recording, mapped onto few cores, where updates decide, and as `balanced`
does; latency and energy are of the cost model, not of a chip. SI-SNR and SQNR are against the float
model.

    python benchmarks/programs.py [--checkpoint [NAME=]PATH]... [--export [NAME=]PATH]...
        [--costs] [--frames N]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from quantization import DATA, SPEECH, HeldOut, calibration, parts
from rich.console import Console

from s5_to_loihi.checkpoints.loading import load
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.fixed_point import to_integers
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.loihi2.mapper import map_on_cores
from s5_to_loihi.network import programs
from s5_to_loihi.network.network import Network
from s5_to_loihi.network.programs import neuron_programs
from s5_to_loihi.profiling.activity import record
from s5_to_loihi.profiling.profile import map_recording, profile_recording
from s5_to_loihi.quantization.precision import Precision
from s5_to_loihi.quantization.quantizer import quantize_model
from s5_to_loihi.reports.table import of_rows
from s5_to_loihi.reports.terminal import rendered

#: Cores on which updates decide, not the barrier.
FEW_CORES = 8
KINDS = {
    "constants read": ("parameter",),
    "sums and registers read": ("accumulator", "register"),
    "written and sent": ("written",),
    "additions": ("+", "-"),
    "products": ("*", "mulshr"),
    "shifts": ("<<", ">>"),
    "saturations": ("min", "max"),
}
console = Console(width=180)


def counts(network: Network) -> tuple[int, int, Counter[str]]:
    """Return instructions of a token as traced, shortened, and these by kind."""
    traced, kinds = 0, Counter[str]()
    for program in neuron_programs(network):
        for binding in program.bindings:
            size = binding.group.size
            traced += size * binding.traced_instructions
            kinds["written"] += size * (len(program.registers) + len(program.messages))
            for step in program.steps:
                if step.operation != "constant":
                    kinds[step.operation] += size
    return traced, kinds.total(), kinds


def row_of_counts(name: str, network: Network) -> dict[str, str]:
    """Return a row of the first table."""
    traced, shortened, _ = counts(network)
    widest = max(step.bits for one in neuron_programs(network) for step in one.steps)
    return {
        "network": name,
        "as traced": f"{traced:,}",
        "shortened": f"{shortened:,}",
        "change": f"{shortened / traced - 1:+.1%}",
        "widest held": f"{widest} bits",
    }


def row_of_kinds(name: str, network: Network) -> dict[str, str]:
    """Return shares of kinds of instructions, after shortening."""
    _, total, kinds = counts(network)
    shares = {kind: sum(kinds[one] for one in names) for kind, names in KINDS.items()}
    shares["all else"] = total - sum(shares.values())
    return {"network": name} | {kind: f"{count / total:.0%}" for kind, count in shares.items()}


def cost_row(name: str, network: Network, tokens: np.ndarray, scores: dict) -> dict[str, str]:
    """Return a row of the last table: what the model says, and what was lost."""
    integers, _ = to_integers(tokens, network.input_format)
    recording = record(network, integers)
    system = load_system("oheogulch")
    _, instructions, _ = counts(network)
    row = {"network": name, "instructions": f"{instructions:,}"}
    few, _ = map_on_cores(network, recording.rates, system, FEW_CORES, 0)
    balanced, _ = map_recording(network, recording, system)
    for title, mapping in ((f"{FEW_CORES} cores", few), ("balanced", balanced)):
        found = profile_recording(network, recording, mapping, system, samples=10)
        pipelined, through = (found.modes[mode] for mode in ("pipelined", "fall-through"))
        row[f"timestep, {title}"] = f"{pipelined.timestep.value:.2f} µs"
        row[f"latency, {title}"] = f"{through.latency.value:.1f} µs"
    energy = found.modes["pipelined"].energy["neurocore rails"]
    return row | {
        "neurons": f"{energy.neuron.value:.3f} µJ",
        "a token": f"{energy.total.value:.3f} µJ",
        "loss": f"{scores['mean_loss']:+.3f} dB",
        "SQNR": f"{scores['sqnr']:.1f} dB",
    }


def show(title: str, rows: list[dict[str, str]]) -> None:
    """Print a table whose headings are the keys of its rows."""
    cells = [tuple(row.values()) for row in rows]
    console.print(rendered(of_rows(title, tuple(rows[0]), cells)))


def networks(options: argparse.Namespace) -> Iterator[tuple[str, Network]]:
    """Yield the networks of the first table."""
    for checkpoint in options.checkpoint:
        name, path, _ = parts(checkpoint)
        model, tokens = load(path).model, calibration(options.calibration)
        for kind, precision in PRECISIONS.items():
            yield f"{name}, {kind}", quantize_model(model, tokens, precision).network
    for checkpoint in options.export:
        name, path, _ = parts(checkpoint)
        yield f"{name}, Intel's export", compile_export(Path(path)).network


PRECISIONS = {"default": Precision(), "lean": Precision(lean=True)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", action="append", metavar="[NAME=]PATH")
    parser.add_argument("--export", action="append", metavar="[NAME=]PATH")
    parser.add_argument("--calibration", default=str(SPEECH / "calibration.wav"), metavar="WAV")
    parser.add_argument("--noisy", default=str(SPEECH / "noisy.wav"), metavar="WAV")
    parser.add_argument("--clean", default=str(SPEECH / "clean.wav"), metavar="WAV")
    parser.add_argument("--costs", action="store_true", help="also latency, energy and losses")
    parser.add_argument("--frames", type=int, default=500, help="that activity is counted on")
    options = parser.parse_args()
    options.checkpoint = options.checkpoint or [f"shipped={DATA / 'denoiser_small_float'}"]
    options.export = options.export or [f"shipped={DATA / 'denoiser_small'}"]
    found = dict(networks(options))
    for title, row in (("Instructions", row_of_counts), ("Kinds, shortened", row_of_kinds)):
        show(title, [row(name, network) for name, network in found.items()])
    if not options.costs:
        return
    rows = []
    for checkpoint in options.checkpoint:
        name, path, _ = parts(checkpoint)
        held_out = HeldOut([options.noisy], [options.clean], load(path).model)
        tokens = held_out.tokens[: options.frames]
        for kind in PRECISIONS:
            network = found[f"{name}, {kind}"]
            scores = held_out.of_network(network)
            if kind == "default":
                copy = replace(network)
                with patch.object(programs, "_shortened", programs.traced_program):
                    rows.append(cost_row(f"{name}, as traced", copy, tokens, scores))
            rows.append(cost_row(f"{name}, {kind}", network, tokens, scores))
    show("Costs, by the model", rows)


if __name__ == "__main__":
    main()
