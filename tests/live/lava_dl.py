"""lava-dl itself, run on files: what its layers send in every timestep, and its last states.

For a Python of its own that has lava-dl (docs/netx.md); no part of the test suite.

    python tests/live/lava_dl.py                    compares all that there is, integer by integer
    python tests/live/lava_dl.py record FOLDER      writes the recordings of tests/data/netx
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import netx_files

STATES = ("u", "v", "sigma", "act", "residue")


def netx() -> ModuleType:
    """Import netx. What only object detection needs, and fails on its own, is stood in for."""
    for name in ("torchvision", "torchvision.ops", "torchvision.transforms"):
        sys.modules.setdefault(name, MagicMock())
    sys.modules.setdefault("torchvision.transforms.functional", MagicMock())
    from s5_to_loihi.lava_runtime import shim

    shim.install()
    from lava.lib.dl import netx as module

    return module


def record(
    file: Path, tokens: np.ndarray, arguments: Mapping[str, Any], bias: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Run a file; return ``layerN`` (T, ...) and ``layerN_u`` and so on after the last timestep."""
    module = netx()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    network = module.hdf5.Network(str(file), **arguments)
    source = io.source.RingBuffer(data=np.moveaxis(tokens, 0, -1).astype(np.int32))
    first = network.layers[0]
    has_inputs = type(first).__name__ == "Input"
    if bias is not None:
        first.neuron.bias_mant.init = bias.astype(np.int32)
    source.s_out.connect(first.neuron.a_in if has_inputs else network.inp)
    sinks = []
    for layer in network.layers:
        sink = io.sink.RingBuffer(shape=layer.out.shape, buffer=len(tokens))
        layer.out.connect(sink.a_in)
        sinks.append(sink)
    found = {}
    try:
        source.run(RunSteps(num_steps=len(tokens)), Loihi2SimCfg(select_tag="fixed_pt"))
        for index, (layer, sink) in enumerate(zip(network.layers, sinks, strict=True)):
            found[f"layer{index}"] = np.moveaxis(sink.data.get(), -1, 0).astype(np.int64)
            for name in STATES:
                if hasattr(layer.neuron, name):
                    state = np.asarray(getattr(layer.neuron, name).get())
                    found[f"layer{index}_{name}"] = np.broadcast_to(state, layer.out.shape).astype(
                        np.int64
                    )
    finally:
        source.stop()
    return found


def narrow(array: np.ndarray) -> np.ndarray:
    for kind in (np.int8, np.int16, np.int32):
        if array.min() >= np.iinfo(kind).min and array.max() <= np.iinfo(kind).max:
            return array.astype(kind)
    return array


def write_recordings(folder: Path) -> None:
    """Record every case; written where the test suite reads it."""
    for name, make in netx_files.CASES.items():
        case = make()
        with tempfile.TemporaryDirectory() as place:
            file = netx_files.write(Path(place) / "case.net", case.layers)
            found = record(file, case.tokens, case.arguments, case.bias)
        np.savez_compressed(folder / f"{name}.npz", **{k: narrow(a) for k, a in found.items()})
        print(f"recorded {name}")


# --- comparing -----------------------------------------------------------------------------------


def differing(
    file: Path,
    tokens: np.ndarray,
    arguments: Mapping[str, Any],
    found: Mapping[str, np.ndarray],
    bias: np.ndarray | None = None,
) -> tuple[int, int]:
    """Return how many integers of all layers and last states differ, and how many there are."""
    from s5_to_loihi import netx as ours
    from s5_to_loihi.netx.lower import lower
    from s5_to_loihi.passes.pipeline import run_passes
    from s5_to_loihi.simulators.interpreter import Interpreter

    options = ours.NetxOptions(**arguments, input_bias=bias)
    read = ours.read(file, options)
    network = run_passes(lower(read, options, file.stem)[0])
    interpreter, timesteps = Interpreter(network), len(tokens)
    flat = tokens.reshape(timesteps, 1, -1).astype(np.int64)
    values = interpreter.evaluate(flat, keep=None).values
    early = interpreter.evaluate_early(keep=None).values
    groups = [group for group in network.groups if group.kind.name != "relay"]
    first = next(layer for layer in read.layers if layer.number >= options.skip_layers)
    has_inputs = first.type is ours.LayerType.INPUT and first.neuron is not None
    wrong = total = 0
    for index, group in enumerate(groups):
        ahead = index + (not has_inputs)
        value = f"{group.name}.{group.kind.messages[0]}"
        before = early[value][:, 0] if group.early else np.zeros((ahead, group.size), np.int64)
        got = np.concatenate([before, values[value][:, 0]])[:timesteps]
        pairs = [(got, found[f"layer{index}"].reshape(timesteps, -1))]
        pairs += [
            (
                values[f"{group.name}.{name}"][timesteps - 1 - ahead, 0],
                found[f"layer{index}_{name}"].ravel(),
            )
            for name in set(STATES) & set(group.kind.values)
            if f"layer{index}_{name}" in found
        ]
        wrong += sum(int((one != other).sum()) for one, other in pairs)
        total += sum(one.size for one, _ in pairs)
    return wrong, total


def compare(name: str, file: Path, tokens, arguments, bias=None) -> bool:
    """Run a file under lava-dl and here, and say what came out."""
    found = record(file, tokens, arguments, bias)
    wrong, total = differing(file, tokens, arguments, found, bias)
    print(f"{name}: {wrong} of {total:,} integers differ", flush=True)
    return wrong == 0


def shipped() -> Path:
    """Return lava-dl's own test networks and ground truths, which lie in its wheel."""
    import tests

    folders = [Path(folder) / "lava/lib/dl/netx" for folder in tests.__path__]
    return next(folder for folder in folders if (folder / "tiny.net").exists())


def against_lava_dl() -> list[bool]:
    """Compare our own cases, and lava-dl's own networks on made-up input."""
    results = []
    for name, make in netx_files.CASES.items():
        case = make()
        with tempfile.TemporaryDirectory() as place:
            file = netx_files.write(Path(place) / f"{name}.net", case.layers)
            results.append(compare(name, file, case.tokens, case.arguments, case.bias))
    rng, folder = np.random.default_rng(0), shipped()
    bias = rng.integers(0, 9, (16, 16, 3))
    for name, tokens, arguments, of_inputs in (
        ("mnist.net", rng.integers(-20, 120, (40, 784)), {"reset_interval": 16}, None),
        ("tiny.net", rng.integers(-20, 100, (40, 16, 16, 3)), {"reset_interval": 17}, bias),
        ("gts/pilotnet_sdnn/network.net", rng.integers(-60, 60, (12, 100, 33, 3)), {}, None),
        ("gts/ntidigits/ntidigits.net", rng.integers(0, 2, (30, 64)), {"num_layers": 5}, None),
    ):
        results.append(compare(name, folder / name, tokens, arguments, of_inputs))
    return results


def against_its_ground_truths() -> list[bool]:
    """Compare with what lava-dl's own tests compare with; nothing of lava-dl runs."""
    from s5_to_loihi.compiler import compile_netx
    from s5_to_loihi.netx import NetxOptions
    from s5_to_loihi.simulators.interpreter import Interpreter

    folder, results = shipped() / "gts", []

    def timeline(network, tokens, count):
        """Outputs from the first timestep on, as a sink of netx's has them."""
        interpreter = Interpreter(network)
        output = str(network.output)
        early = interpreter.evaluate_early(keep=[output]).values.get(output)
        rows = interpreter.evaluate(tokens, keep=[output]).values[output]
        ahead = np.zeros((network.latency - 1, 1, network.output_size)) if early is None else early
        return np.concatenate([ahead, rows])[:count, 0]

    place = folder / "pilotnet_sdnn"
    network = compile_netx(place / "network.net").network
    tokens = np.moveaxis(np.load(place / "input.npy"), -1, 0).astype(np.int64)
    truth = np.moveaxis(np.load(place / "output.npy"), -1, 0)
    # Its source sends its data again and again.
    tokens = np.resize(tokens, (len(truth), *tokens.shape[1:])).reshape(len(truth), 1, -1)
    got = timeline(network, tokens, len(truth)).reshape(truth.shape)
    print(f"ground truth pilotnet_sdnn: {int((got != truth).sum())} of {truth.size} differ")
    results.append(np.array_equal(got, truth))

    place = folder / "ntidigits"
    network = compile_netx(place / "ntidigits.net", NetxOptions(num_layers=5)).network
    tokens = np.load(place / "input.npy").T[:, None].astype(np.int64)
    truth = np.load(place / "output.npy").T
    got = timeline(network, tokens, len(tokens))
    # As its own test compares: one neuron's last, one's second timestep.
    wrong = np.abs(got[-1] - truth[1]).sum()
    print(f"ground truth ntidigits: its test's error is {int(wrong)}")
    results.append(wrong == 0)

    network = compile_netx(
        shipped() / "tiny.net",
        NetxOptions(
            reset_interval=17,
            input_bias=np.load(folder / "tinynet/input_bias.npy").ravel(),
        ),
    ).network  # fmt: skip
    truth = np.load(folder / "tinynet/output.npy")[0].transpose(3, 2, 1, 0)[1:]
    got = timeline(network, np.zeros((20, 1, 768), np.int64), 20).reshape(20, 1, 1, 36)
    wrong = int(np.abs(got[2:17] - truth).sum())
    print(f"ground truth tinynet: {wrong} of {truth.size} differ")
    results.append(wrong == 0)
    return results


def mixed() -> list[bool]:
    """Compare one network of ours with stock netx and our blocks in one run of Lava."""
    import random_networks
    from netx_files import dense, even, inputs, sdnn

    from s5_to_loihi.compiler import compile_netx
    from s5_to_loihi.netx import NetxOptions
    from s5_to_loihi.netx.lava_parts import lava_parts
    from s5_to_loihi.netx.writing import write_mixed
    from s5_to_loihi.simulators.interpreter import Interpreter

    netx()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    rng, results = np.random.default_rng(20), []
    s5 = random_networks.sample(
        random_networks.Case(features_in=5, features_out=4, blocks=1, seed=3)
    ).network
    bias = {"bias": 2 * rng.integers(-20, 60, 9).astype(np.float32)}
    front = (inputs(6, sdnn(1)), dense(even(rng, 9, 6), sdnn(1), **bias),
             dense(even(rng, 5, 9), sdnn(2), delay=np.arange(5).astype(np.float32)))  # fmt: skip
    back = (inputs(4, sdnn(1)), dense(even(rng, 7, 4), sdnn(1)),
            dense(even(rng, 3, 7), sdnn(1, sigma_output=True)))  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        first = netx_files.write(folder / "front.net", front)
        last = netx_files.write(folder / "back.net", back)
        for name, pieces in (
            ("netx - S5 - netx", (first, s5, last)), ("S5 - netx", (s5, last)),
            ("netx - S5", (first, s5)),
        ):  # fmt: skip
            file = folder / "mixed.net"
            write_mixed(pieces, file, 1)
            starts_with_inputs = pieces[0] is first
            size, steps = (6 if starts_with_inputs else 5), 60
            step = 40 if starts_with_inputs else 900
            tokens = netx_files.walk(rng, steps, size, step)
            bits = 0 if starts_with_inputs else 24
            network = compile_netx(file, NetxOptions(input_message_bits=24)).network
            expected = Interpreter(network).evaluate(tokens[:, None].astype(np.int64)).outputs[:, 0]
            for fine in (False, True):
                parts = lava_parts(file, input_message_bits=bits)
                source = io.source.RingBuffer(data=tokens.T.astype(np.int32))
                sink = io.sink.RingBuffer(shape=parts[-1].out.shape, buffer=steps)
                end = parts[0].in_layer.neuron.a_in if starts_with_inputs else parts[0].inp
                source.s_out.connect(end)
                parts[-1].out.connect(sink.a_in)
                configuration = Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=fine)
                try:
                    source.run(RunSteps(num_steps=steps), configuration)
                    got = sink.data.get().T.astype(np.int64)
                finally:
                    source.stop()
                # netx's input layer sees a token at once, an input of ours a timestep later.
                late = network.latency - starts_with_inputs
                wrong = int((got[late:] != expected[: steps - late]).sum())
                how = "a process a group" if fine else "fused"
                print(
                    f"{name}, {how}: {wrong} of {expected[late:].size} integers differ", flush=True
                )
                results.append(wrong == 0)
    return results


def main(arguments: list[str]) -> int:
    """Record, or compare everything; 0 if all integers are equal."""
    if arguments[:1] == ["record"]:
        write_recordings(Path(arguments[1]))
        return 0
    results = [*against_its_ground_truths(), *mixed(), *against_lava_dl()]
    print(f"{sum(results)} of {len(results)} comparisons equal in every integer")
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
