"""An export of Intel's full size through the compiler: seconds, peak memory, integers compared.

4 sequences of 3751 frames (30 s of noisy speech each), every tensor recorded: as large as the
export that a user brings along. It is computed from the shipped denoiser, so nothing has to be
downloaded; each step then runs in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# The parent imports nothing large: on Linux the peak memory of a child starts from its parent's.

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 3751
CHUNK = 512
#: A quarter of the clip later each, and quieter: four sequences that differ.
GAINS = (1.0, 0.7, 0.5, 0.3)
SHORTENED = {"tokens": 128, "batch": 2}
EXPORT, IO_ONLY, NAME = "export", "io_only", "denoiser"


class Watch:
    """Collects the seconds of the parts of a step, and what it found."""

    def __init__(self):
        self.parts: list[dict] = []

    @contextlib.contextmanager
    def part(self, label: str) -> Iterator[dict]:
        started = time.perf_counter()
        entry: dict = {"label": label}
        yield entry
        self.parts.append(entry | {"seconds": time.perf_counter() - started})


# --- the steps, each in a process of its own -----------------------------------------------------


def write_export(work: Path, frames: int, watch: Watch) -> None:
    """Write the export of all four sequences, and one without the activations."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    import intel_exports

    from s5_to_loihi import intel_export

    with watch.part("compute and write the export") as entry:
        export, network = full_size_model(frames)
        tokens = export.recorded["INPUT"].data
        recorded = evaluate(network, intel_export.read(shipped()).recorded, tokens)
        trees = intel_exports.file_trees(export.params, export.qconfig, recorded)
        intel_exports.write_files(work / EXPORT, trees)
        (work / IO_ONLY).mkdir()
        for name in (intel_exports.MODEL, intel_exports.IO):
            shutil.copy(work / EXPORT / name, work / IO_ONLY)
        entry["tensors"] = len(recorded)


def shipped() -> Path:
    import s5_to_loihi

    return Path(s5_to_loihi.__path__[0]) / "data" / "denoiser_small"


def full_size_model(frames: int):
    """(export with the input only, network) whose exponents are those that the input calls for."""
    from dataclasses import replace

    import numpy as np

    from s5_to_loihi import audio, intel_export
    from s5_to_loihi.denoising import tokens_of
    from s5_to_loihi.intel_export.lower import lower
    from s5_to_loihi.passes.pipeline import run_passes

    export = intel_export.read(shipped())
    samples = audio.read_wav(shipped().parent / "speech" / "noisy.wav").samples[0]
    quarter = len(samples) // len(GAINS)
    sequences = [gain * np.roll(samples, -quarter * index) for index, gain in enumerate(GAINS)]
    network = run_passes(lower(intel_export.to_model(export)[0]))
    tokens, _ = tokens_of(network, np.stack(sequences))
    recorded = {"INPUT": intel_export.Recorded(tokens[:frames], network.input_format)}
    export = replace(export, recorded=recorded, has_activations=False)
    return export, run_passes(lower(intel_export.to_model(export)[0]))


def evaluate(network, names, tokens) -> dict:
    """Record the values that the names stand for, as Intel's model would: name -> recorded."""
    import numpy as np

    from s5_to_loihi.bundle.vectors import TOKEN_VALUE
    from s5_to_loihi.intel_export import Recorded, value_names
    from s5_to_loihi.network.network import Endpoint
    from s5_to_loihi.simulators.interpreter import Interpreter

    value_of = value_names(network, names)
    interpreter = Interpreter(network)
    state = interpreter.initial_state(tokens.shape[1])
    pieces: dict[str, list] = {value: [] for value in value_of.values()}
    for start in range(0, len(tokens), CHUNK):
        chunk = tokens[start : start + CHUNK]
        evaluation = interpreter.evaluate(chunk, state, keep=pieces.keys())
        state = evaluation.state
        for value, array in (evaluation.values | {TOKEN_VALUE: chunk}).items():
            pieces[value].append(array.astype(np.int32))
    arrays = {value: np.concatenate(parts) for value, parts in pieces.items()}
    return {
        name: Recorded(arrays[value], network.message_format(Endpoint(*value.rsplit(".", 1))))
        for name, value in value_of.items()
    }


def compile_and_write(work: Path, frames: int, watch: Watch) -> None:
    """What a user does first: compile, and keep a short prefix of the recordings."""
    from dataclasses import replace

    from s5_to_loihi import bundle
    from s5_to_loihi.compiler import compile_export

    with watch.part("read all files and compile") as entry:
        compiled = compile_export(work / EXPORT, name=NAME)
        entry["network"] = digest(compiled.network)
    assert compiled.vectors
    with watch.part("write the bundle, {batch} x {tokens} tokens".format(**SHORTENED)):
        vectors = compiled.vectors.first(**SHORTENED)
        bundle.write(replace(compiled, vectors=vectors), work / "bundle")


def verify_all(work: Path, frames: int, watch: Watch) -> None:
    """Compare the interpreter with every recorded integer."""
    from s5_to_loihi.compiler import compile_export
    from s5_to_loihi.verification import verify_interpreter

    with watch.part("read all files and compile"):
        compiled = compile_export(work / EXPORT, name=NAME)
    assert compiled.vectors
    with watch.part(f"verify {len(GAINS)} x {frames} tokens") as entry:
        result = verify_interpreter(compiled.network, compiled.vectors)
        entry["compared"] = sum(tensor.compared for tensor in result.tensors)
        entry["differing"] = sum(tensor.differing for tensor in result.tensors)
        entry["names"] = sum(len(tensor.recorded_as) for tensor in result.tensors)


def compile_from_io(work: Path, frames: int, watch: Watch) -> None:
    """Find the exponents again from the recorded input."""
    from s5_to_loihi.compiler import compile_export

    with watch.part("compile from fxpmodel_io.pkl alone") as entry:
        entry["network"] = digest(compile_export(work / IO_ONLY, name=NAME).network)


def digest(network) -> str:
    """Tell networks apart: their text and all their formats."""
    from s5_to_loihi.network.text import to_text

    formats = [sorted(group.formats.items()) for group in network.groups]
    return hashlib.sha256(f"{to_text(network)}{formats}".encode()).hexdigest()


STEPS: dict[str, Callable[[Path, int, Watch], None]] = {
    "write": write_export,
    "compile": compile_and_write,
    "verify": verify_all,
    "io": compile_from_io,
}


def run_step(step: str, work: Path, frames: int) -> None:
    """Run one step in this process and print what it took as JSON."""
    watch = Watch()
    STEPS[step](work, frames, watch)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"parts": watch.parts, "peak": peak}))


# --- the parent ----------------------------------------------------------------------------------


def main() -> int:
    """Measure every step and print the table; 1 if an integer differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write to DIR and leave it there")
    parser.add_argument("--frames", type=int, default=FRAMES, help="frames a sequence")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 0 < options.frames <= FRAMES:
        parser.error(f"--frames is {options.frames} (allowed 1..{FRAMES})")
    if options.step:
        run_step(options.step, options.keep, options.frames)
        return 0
    if options.keep:
        if options.keep.exists() and any(options.keep.iterdir()):
            parser.error(f"--keep: {options.keep} is not empty")
        options.keep.mkdir(parents=True, exist_ok=True)
        return measure(options.keep, options.frames)
    with tempfile.TemporaryDirectory(prefix="full_export_") as work:
        return measure(Path(work), options.frames)


def measure(work: Path, frames: int) -> int:
    """Run the steps one after the other, print them, and judge what they found."""
    print(f"{'':36}{'seconds':>9}{'peak MiB':>10}{'integers compared':>19}", flush=True)
    found: dict[str, list[dict]] = {}
    for step in STEPS:
        result = child(step, work, frames)
        found[step] = result["parts"]
        for part in result["parts"]:
            print(
                f"{part['label']:36}{part['seconds']:9.1f}{result['peak']:10.0f}"
                f"{part.get('compared', ''):>19}",
                flush=True,
            )
    for path in sorted(file for file in work.rglob("*") if file.is_file()):
        if IO_ONLY not in path.parts:
            print(f"{path.relative_to(work)!s:36}{path.stat().st_size / 1e6:9.1f} MB")
    return judge(found)


def child(step: str, work: Path, frames: int) -> dict:
    """Run one step in a fresh process."""
    command = [sys.executable, __file__, "--step", step, "--keep", str(work)]
    command += ["--frames", str(frames)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"The step '{step}' failed.")
    return json.loads(done.stdout)


def judge(found: dict[str, list[dict]]) -> int:
    """Say whether all integers and both networks are equal; the exit status."""
    verified = found["verify"][-1]
    same = found["compile"][0]["network"] == found["io"][0]["network"]
    print(
        f"{verified['names']} of {found['write'][0]['tensors']} recorded tensors,"
        f" {verified['differing']} differing integers;"
        f" exponents recomputed from the input are {'' if same else 'NOT '}those recorded"
    )
    return int(not same or verified["differing"] > 0)


if __name__ == "__main__":
    sys.exit(main())
