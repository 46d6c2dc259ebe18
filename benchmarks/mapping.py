"""How good mappings are: against exact optima, bounds, other ways to map, and at scale.

All numbers are of the model in docs/mapping.md; only seconds and MiB are measured here. Exact
optima need ortools (pip install 's5_to_loihi[mapping]'); without it that part is left out. "Busy"
is the timestep without the barrier, which hides the rest on small networks. The halving mapper is
what is publicly known of Intel's compiler: a layer is halved until all limits hold, each piece has
a core, cores are numbered through; it knows no activity.

    python benchmarks/mapping.py [--quick] [--plot FILE.png] [--largest MILLIONS]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from synthetic_networks import synthetic_rates, synthetic_s5  # noqa: E402

from s5_to_loihi import intel_export  # noqa: E402
from s5_to_loihi.bundle.core_mapping import Objective  # noqa: E402
from s5_to_loihi.compiler import compile_export  # noqa: E402
from s5_to_loihi.demo import DENOISER  # noqa: E402
from s5_to_loihi.intel_export.lower import lower  # noqa: E402
from s5_to_loihi.loihi2.bounds import fewest_cores, requirements, shortest_times  # noqa: E402
from s5_to_loihi.loihi2.evaluation import MappingEvaluation, evaluate_mapping  # noqa: E402
from s5_to_loihi.loihi2.facts import System, load_system  # noqa: E402
from s5_to_loihi.loihi2.halving import halved  # noqa: E402
from s5_to_loihi.loihi2.mapper import map_network  # noqa: E402
from s5_to_loihi.loihi2.memory import limits_of, rows_of  # noqa: E402
from s5_to_loihi.loihi2.partition import fewest, line_up, partition  # noqa: E402
from s5_to_loihi.loihi2.placement import linear  # noqa: E402
from s5_to_loihi.loihi2.rates import assumed_rates, measured_rates  # noqa: E402
from s5_to_loihi.loihi2.resources import Resource, Term  # noqa: E402
from s5_to_loihi.loihi2.timing import timing  # noqa: E402
from s5_to_loihi.loihi2.workload import Workload, workload  # noqa: E402
from s5_to_loihi.network.network import frozen_weights  # noqa: E402
from s5_to_loihi.passes.pipeline import run_passes  # noqa: E402

BOARD = load_system("oheogulch")
#: Synthetic networks of the scaling part: H, P, blocks at 10 % density, millions of synapses.
SIZES = {1: (1024, 512, 3), 3: (1280, 640, 6), 10: (2048, 1024, 8), 30: (2816, 1408, 12)}
SIZES |= {100: (4096, 2048, 20)}
console = Console(width=None if sys.stdout.isatty() else 180)


def table(title: str, *headings: str) -> Table:
    made = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="right" if index else "left", no_wrap=True)
    return made


# --- subjects ------------------------------------------------------------------------------------


def subjects():
    """Yield (name, network, rates)."""
    shipped = compile_export(DENOISER)
    assert shipped.vectors
    yield (
        "shipped denoiser, H 48",
        shipped.network,
        measured_rates(shipped.network, shipped.vectors.tokens),
    )
    export = importlib.import_module("golden").export("denoiser_intel_size")
    model, _ = intel_export.to_model(export, intel_export.ExportOptions())
    network = run_passes(lower(model))
    tokens = intel_export.to_vectors(export, network)[0].tokens
    yield "Intel's size, H 192, P 128", network, measured_rates(network, tokens)
    wide = synthetic_s5(384, 256, 3, 0.1)
    yield "synthetic, H 384, P 256", wide, synthetic_rates(wide)


# --- against exact optima ------------------------------------------------------------------------


def all_eight_bit(network):
    """The network with every weight but ones as -100: its bits are then the same on any core."""
    edges = []
    for synapses in network.synapses:
        weights = synapses.weights.copy()
        if not (weights.data == 1).all():
            weights.data = np.full_like(weights.data, -100)
        edges.append(replace(synapses, weights=frozen_weights(weights)))
    return replace(network, synapses=tuple(edges))


def exact(work: Workload, cores: int, minimise_cores: bool, seconds: float):
    """Return (optimum, proven) by CP-SAT: cores, or nanoseconds of the busiest core."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    arrays, limits, constants = work.arrays, limits_of(work.chip), timing(work.chip)
    scale = 1000
    neurons, axons = work.neurons, len(arrays.edge_of_axon)
    on = [[model.new_bool_var("") for _ in range(cores)] for _ in range(neurons)]
    used = [model.new_bool_var("") for _ in range(cores)]
    longest = model.new_int_var(0, 10**12, "")
    for neuron in range(neurons):
        model.add_exactly_one(on[neuron])
        for core in range(cores):
            model.add_implication(on[neuron][core], used[core])
    targets: list[list[int]] = [[] for _ in range(axons)]
    for neuron in range(neurons):
        first, last = arrays.firsts[arrays.segments[[neuron, neuron + 1]]]
        for axon in arrays.axons[first:last]:
            targets[axon].append(neuron)
    message_of, stored = arrays.message_of_axon, rows_of(work.chip)
    arrives = {}
    words = {}
    for axon in range(axons):
        bits = int(arrays.edge_bits[arrays.edge_of_axon[axon]]) + stored.index_bits
        for core in range(cores):
            if not targets[axon]:
                continue
            there = arrives[axon, core] = model.new_bool_var("")
            ends = [on[neuron][core] for neuron in targets[axon]]
            model.add_max_equality(there, ends)
            row = words[axon, core] = model.new_int_var(0, 64, "")
            model.add(stored.word_bits * row >= stored.header_bits * there + bits * sum(ends))
    lists: dict[int, list] = {}
    leaving: dict[int, list] = {}
    destinations: dict[int, set[int]] = {}
    for axon, _ in arrives:
        destinations.setdefault(int(message_of[axon]), set()).add(axon)
    for message, its_axons in destinations.items():
        sender = int(work.sender[message])
        if sender < 0:
            continue
        copies = sum(arrives[axon, core] for axon in its_axons for core in range(cores))
        most = len(its_axons) * cores
        listed = model.new_int_var(0, most, "")
        several = model.new_bool_var("")
        model.add(copies <= 1 + most * several)
        model.add(2 * listed >= copies - most * (1 - several))
        model.add(listed >= several)
        rate = round(arrays.rates[message] * scale)
        for core in range(cores):
            own = model.new_int_var(0, most, "")
            model.add(own >= listed - most * (1 - on[sender][core]))
            lists.setdefault(core, []).append(own)
            out = model.new_int_var(0, most, "")
            model.add(out >= copies - most * (1 - on[sender][core]))
            leaving.setdefault(core, []).append(rate * out)
    update = constants.updates(1, work.instructions)
    groups = range(len(work.words_of_group))
    for core in range(cores):
        present = []
        for group in groups:
            there = model.new_bool_var("")
            own = range(work.first_neuron[group], work.first_neuron[group + 1])
            for neuron in own:
                model.add_implication(on[neuron][core], there)
            present.append(there)
        axon_in = [arrives[key] for key in arrives if key[1] == core]
        rows = [words[key] for key in words if key[1] == core]
        neuron_words = [
            int(work.words_of_group[work.group_of[n]]) * on[n][core] for n in range(neurons)
        ]
        axon_map = [int(work.messages_of[n]) * on[n][core] for n in range(neurons)]
        columns = (axon_in, present, neuron_words, rows, axon_map, lists.get(core, []))
        for column, limit in zip(columns, limits[: Resource.TOTAL], strict=True):
            model.add(sum(column) <= int(limit))
        everything = [part for i, column in enumerate(columns) if i != 1 for part in column]
        model.add(sum(everything) <= int(limits[Resource.TOTAL]))
        rate_of = {axon: round(arrays.rates[message_of[axon]] * scale) for axon, _ in arrives}
        spent = (
            [round(scale * update[work.group_of[n]]) * on[n][core] for n in range(neurons)],
            [
                round(constants.synop * rate_of[axon]) * on[n][core]
                for axon in rate_of
                for n in targets[axon]
            ],
            [
                round(constants.word * rate_of[axon]) * words[axon, c]
                for axon, c in words
                if c == core
            ],
        )
        for terms in spent:
            model.add(sum(terms) <= longest)
        arriving = sum(rate_of[axon] * arrives[axon, c] for axon, c in arrives if c == core)
        for traffic in (arriving, sum(leaving.get(core, []))):
            model.add(round(constants.message * 1000) * traffic <= 1000 * longest)
    for one, other in zip(used[1:], used, strict=False):
        model.add_implication(one, other)
    model.minimize(sum(used) if minimise_cores else longest)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 2
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    value = solver.objective_value if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else np.nan
    return (value if minimise_cores else value / scale), status == cp_model.OPTIMAL


def exact_part(quick: bool) -> None:
    if importlib.util.find_spec("ortools") is None:
        console.print("\nExact optima are left out: ortools is not installed", highlight=False)
        return
    rows = table(
        "Against exact optima (CP-SAT; >= where it was not proven in time)",
        "network",
        "cores, ours",
        "optimum",
        "on cores",
        "busy ns, ours",
        "optimum",
        "ratio",
    )
    worst, cores_equal, cases = 1.0, True, 0
    # Synapses that decide: updates alone are easy.
    chip = replace(BOARD.chip, synop_time=replace(BOARD.chip.synop_time, value=20.0))
    constants = timing(chip)
    for seed in range(3 if quick else 9):
        sizes = ((3, 2, 3), (4, 2, 3), (4, 3, 4))[seed % 3]
        network = synthetic_s5(sizes[0], sizes[1], 1, 0.8, sizes[2], seed)
        network = all_eight_bit(network)
        rates = synthetic_rates(network, seed)
        work = workload(network, rates, chip)
        number = 3 + seed % 2
        need = requirements(work)
        lines = line_up(need, 0)
        bound = max(shortest_times(need, number, constants).values())
        busy = min(
            max(times.max() for times in loads.core_times(constants).values())
            for line in lines
            for loads in [partition(work, line, number, bound)]
            if loads
        )
        fastest, fastest_proven = exact(work, number, False, 60)
        total = replace(chip.total, value=(40, 55, 70)[seed % 3])
        narrow = replace(work, chip=replace(chip, total=total))
        ours = fewest(need._replace(work=narrow), lines, 0).cores
        best, proven = exact(narrow, ours, True, 60)
        worst = max(worst, busy / fastest) if fastest_proven else worst
        cores_equal &= not proven or ours == best
        cases += proven + fastest_proven
        rows.add_row(
            f"{work.neurons} neurons, {network.synapse_count} synapses",
            f"{ours}",
            f"{'' if proven else '>= '}{best:.0f}",
            f"{number}",
            f"{busy:.1f}",
            f"{'' if fastest_proven else '>= '}{fastest:.1f}",
            f"{busy / fastest:.3f}",
        )
    console.print(rows)
    console.print(
        f"Of {cases} proven optima: cores {'all equal' if cores_equal else 'DIFFER'}, busy at worst"
        f" {worst:.3f} times the optimum (target 1.05)",
        highlight=False,
    )


# --- against bounds and other ways ---------------------------------------------------------------


def heaviest_link(evaluation: MappingEvaluation) -> float:
    times = evaluation.times()
    return max(times[Term.MESH_LINK], times[Term.CORE_LINK])


def slow_synops(system: System) -> System:
    """The system with slow synapses and fast updates, within the ranges of the facts."""
    chip = system.chip
    ends = {"synop_time": "high", "update_time": "low", "instruction_time": "low"}
    facts = {name: getattr(chip, name) for name in ends}
    facts = {n: replace(fact, value=getattr(fact, ends[n])) for n, fact in facts.items()}
    return replace(system, chip=replace(chip, **facts))


def ratio_to_bound(evaluation: MappingEvaluation) -> tuple[float, float]:
    bounds = evaluation.shortest_times()
    busy = max(value for term, value in bounds.items() if term != Term.BARRIER)
    return evaluation.timestep() / max(bounds.values()), evaluation.busy() / busy


def quality_part(all_subjects) -> None:
    rows = table(
        "Against bounds (targets: timestep at most 1.15 times, cores at most 1.1 times)",
        "network",
        "objective",
        "cores",
        "bound",
        "ratio",
        "timestep us",
        "ratio to bound",
        "busy us",
        "ratio to bound",
    )
    for name, network, rates in all_subjects:
        for objective, most in (
            (Objective.CORES, None),
            (Objective.BALANCED, None),
            *((Objective.LATENCY, cores) for cores in (15, 30, 60, 120)),
        ):
            _, evaluation = map_network(network, rates, BOARD, objective, most)
            bound, _ = evaluation.fewest_cores
            timestep, busy = ratio_to_bound(evaluation)
            rows.add_row(
                name,
                objective.value + (f", {most} cores" if most else ""),
                f"{evaluation.loads.cores}",
                f"{bound}",
                f"{evaluation.loads.cores / bound:.2f}" if most is None else "",
                f"{evaluation.timestep() / 1000:.2f}",
                f"{timestep:.3f}",
                f"{evaluation.busy() / 1000:.3f}",
                f"{busy:.3f}",
            )
    console.print(rows)


def other_ways_part(all_subjects) -> None:
    rows = table(
        "Against other ways (ratios: theirs / ours; above 1 ours is better; link: the heaviest of"
        " any kind)",
        "network",
        "way",
        "cores",
        "busy us",
        "link ns",
        "ours: cores",
        "timestep ratio",
        "busy ratio",
        "link ratio",
        "mesh link ratio",
    )

    def add(name, way, other: MappingEvaluation, ours: MappingEvaluation) -> None:
        rows.add_row(
            name,
            way,
            f"{other.loads.cores}",
            f"{other.busy() / 1000:.3f}",
            f"{heaviest_link(other):.0f}",
            f"{ours.loads.cores}",
            f"{other.timestep() / ours.timestep():.2f}",
            f"{other.busy() / ours.busy():.2f}",
            f"{heaviest_link(other) / heaviest_link(ours):.2f}",
            f"{other.times()[Term.MESH_LINK] / ours.times()[Term.MESH_LINK]:.2f}",
        )

    for name, network, rates in all_subjects:
        work = workload(network, rates, BOARD.chip)
        baseline = halved(work, BOARD)
        _, same = map_network(network, rates, BOARD, Objective.LATENCY, baseline.loads.cores)
        _, full = map_network(network, rates, BOARD, Objective.LATENCY)
        add(name, "halving, linear", baseline, same)
        add(name, "the same; ours on the board", baseline, full)
        core_of = full.loads.core_of
        stage = np.bincount(core_of, np.arange(work.neurons)) / np.bincount(core_of)
        rank = np.argsort(np.argsort(stage, kind="stable"))
        in_order = evaluate_mapping(work, linear(full.loads.cores, BOARD)[rank[core_of]], BOARD)
        add(name, "our partition, placed linearly", in_order, full)
        for system, constants in ((BOARD, ""), (slow_synops(BOARD), ", slow synops")):
            for most in (baseline.loads.cores, 120):
                _, aware = map_network(network, rates, system, Objective.LATENCY, most)
                mapping, _ = map_network(
                    network, assumed_rates(network), system, Objective.LATENCY, aware.loads.cores
                )
                blind = evaluate_mapping(work, mapping.core_of(network), system)
                add(name, f"ours without activity{constants}", blind, aware)
    console.print(rows)


# --- scale ---------------------------------------------------------------------------------------


def scale_one(millions: int) -> None:
    """Map one synthetic network and print what it took as JSON; a process of its own."""
    width, states, blocks = SIZES[millions]
    network = synthetic_s5(width, states, blocks, 0.1)
    rates = synthetic_rates(network)
    # Compiled before, on a small network: kernels are kept on disk.
    tiny = synthetic_s5(16, 8, 1, 0.3)
    map_network(tiny, assumed_rates(tiny), BOARD, Objective.LATENCY, 8)
    started = time.perf_counter()
    mapping, evaluation = map_network(network, rates)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "synapses": network.synapse_count,
                "seconds": seconds,
                "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "system": mapping.system,
                "chips": evaluation.chips,
                "cores": evaluation.loads.cores,
                "bound": fewest_cores(evaluation.need)[0],
                "timestep": evaluation.timestep(),
                "fits": bool((evaluation.words <= limits_of(evaluation.system.chip)).all()),
            }
        )
    )


def scale_part(largest: int, plot: Path | None) -> None:
    rows = table(
        "Scale: synthetic S5, 10 % dense, objective latency, smallest system (targets: 100 million"
        " in 60 s and 8 GiB)",
        "synapses",
        "system",
        "chips",
        "cores",
        "timestep us",
        "seconds",
        "ns a synapse",
        "peak MiB",
    )
    points = []
    for millions in (size for size in SIZES if size <= largest):
        call = [sys.executable, __file__, "--one", str(millions)]
        point = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
        points.append(point)
        rows.add_row(
            f"{point['synapses']:,}",
            point["system"],
            f"{point['chips']}",
            f"{point['cores']:,}",
            f"{point['timestep'] / 1000:.1f}",
            f"{point['seconds']:.1f}",
            f"{point['seconds'] / point['synapses'] * 1e9:.0f}",
            f"{point['mebibytes']:.0f}",
        )
    console.print(rows)
    if len(points) > 1:
        sizes, seconds = (
            np.log([point[key] for point in points]) for key in ("synapses", "seconds")
        )
        slope = np.polyfit(sizes, seconds, 1)[0]
        console.print(f"Seconds grow as synapses to the power of {slope:.2f}", highlight=False)
    if plot is not None:
        draw_scaling(points, plot)


def draw_scaling(points, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    synapses = [point["synapses"] for point in points]
    axes.loglog(synapses, [point["seconds"] for point in points], "o-", label="seconds")
    linear_growth = points[-1]["seconds"] / synapses[-1]
    axes.loglog(synapses, [linear_growth * n for n in synapses], "k--", lw=0.8, label="linear")
    axes.loglog(synapses, [p["mebibytes"] / 1024 for p in points], "s-", label="peak GiB")
    axes.set_xlabel("synapses")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    console.print(f"Wrote {path}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer cases, up to 3 million")
    parser.add_argument("--plot", type=Path, help="draw the scaling into this file")
    parser.add_argument("--largest", type=int, default=100, help="million synapses (default 100)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        scale_one(options.one)
        return
    exact_part(options.quick)
    all_subjects = list(subjects())
    quality_part(all_subjects)
    other_ways_part(all_subjects)
    scale_part(3 if options.quick else options.largest, options.plot)


if __name__ == "__main__":
    main()
