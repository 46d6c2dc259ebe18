"""What our quantizer loses: weights and activations of all widths, Intel's export beside them.

Losses are of SI-SNR in dB on noisy recordings that were not calibrated with, against the float
model; SQNR is the signal-to-quantization-noise ratio of the network's outputs, against the float
model too. "Weights rounded plainly" is what most would try first: each row of a matrix gets the
finest power-of-two step that holds its largest weight, weights are rounded to nearest, and all else
stays float. Inputs have 16 bits where activations have fewer, as by default.

With --against-plain there is another table: at some bits, and from several calibration sets, ours
beside the same network (16-bit weights) of the plainly rounded model. Nobody's choice of data or
model should make ours the worse one.

    python benchmarks/quantization.py [--checkpoint [NAME=]PATH[:EXPORT]]... [--plot FILE.png]
        [--against-plain]
        [--calibration SOUND.wav] [--noisy SOUND.wav --clean SOUND.wav]... [--json FILE.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The parent imports nothing large: on Linux the peak memory of a child starts from its parent's.

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "s5_to_loihi" / "data"
SPEECH = DATA / "speech"
SHIPPED = f"shipped={DATA / 'denoiser_small_float'}:{DATA / 'denoiser_small'}"
#: Frames to calibrate with.
FRAMES = 3000
WEIGHT_BITS = (16, 12, 8, 7, 6, 5, 4, 3)
ACTIVATION_BITS = (24, 20, 12, 10, 8)
INPUT_BITS = (18, 20)
EIGENVALUE_BITS = (8, 12, 16, 20, 24)
#: What is compared with plain rounding: of which frames, with which weights.
CALIBRATION_SETS = {
    "all frames": slice(None),
    "one clip": slice(750, 1500),
    "700 frames": slice(0, 700),
}
PLAIN_BITS = (8, 6, 4)
#: The row of W16A24 that counts: eigenvalues of 16 bits, as by default.
FINE = "W16A24 E16"
#: What W8A16 and W16A24 should reach: mean and worst loss and SQNR in dB.
MEAN_LOSS, WORST_LOSS, LEAST_SQNR, LEAST_FINE_SQNR = 0.01, 0.05, 33.0, 40.0
HEADINGS = "float     ours  mean loss  worst loss   SQNR   synapses          zeroed"


def settings() -> list[tuple[str, str, dict]]:
    """Return (part of the table, name of the row, arguments of ``Precision``)."""
    rows: list[tuple[str, str, dict]] = [
        ("weights", f"W{bits}A16", {"weights": bits}) for bits in WEIGHT_BITS
    ]
    rows += [("activations", f"W8A{bits}", {"activations": bits}) for bits in ACTIVATION_BITS]
    rows += [("inputs", f"W8A16 I{bits}", {"inputs": bits}) for bits in INPUT_BITS]
    rows += [
        (
            "eigenvalues",
            f"W16A24 E{bits}",
            {"weights": 16, "activations": 24, "eigenvalues": bits},
        )
        for bits in EIGENVALUE_BITS
    ]
    return rows


# --- a model's rows, in a process of its own -----------------------------------------------------


def measure_accuracy(options: argparse.Namespace, checkpoint: str) -> Iterator[dict]:
    """Yield what is to be printed, row by row."""
    from s5_to_loihi.checkpoints.loading import load
    from s5_to_loihi.compiler import compile_export
    from s5_to_loihi.errors import CapacityError
    from s5_to_loihi.quantization.precision import Precision
    from s5_to_loihi.quantization.quantizer import quantize_model

    _, path, export = parts(checkpoint)
    loaded = load(path)
    held_out = HeldOut(options.noisy, options.clean, loaded.model)
    yield held_out.summary() | {"notes": [n for n in loaded.notes if "guessed" in n]}
    tokens = calibration(options.calibration)
    chosen = [row for row in settings() if not options.rows or row[1] in options.rows]
    for part, name, arguments in chosen:
        row = {"part": part, "row": name, **arguments}
        try:
            quantized = quantize_model(loaded.model, tokens, Precision(**arguments))
        except CapacityError as error:
            yield row | {"refused": str(error)}
            continue
        yield {
            **row,
            **held_out.of_network(quantized.network),
            "synapses": quantized.network.synapse_count,
            "parameters": sum(matrix.parameters for matrix in quantized.matrices),
            "zeroed": sum(matrix.zeroed for matrix in quantized.matrices),
            "notes": list(quantized.notes),
        }
    if export:
        network = compile_export(Path(export)).network
        synapses = {"synapses": network.synapse_count}
        yield {"part": "export", "row": "Intel"} | held_out.of_network(network) | synapses
    for bits in (arguments["weights"] for part, _, arguments in chosen if part == "weights"):
        found = held_out.of_model(plainly_rounded(loaded.model, bits))
        yield {"part": "plain", "row": f"W{bits}", "weights": bits} | found


def parts(checkpoint: str) -> tuple[str, str, str]:
    """Split ``[NAME=]PATH[:EXPORT]``; the name is by default that of the path."""
    name, _, rest = checkpoint.rpartition("=")
    path, _, export = rest.partition(":")
    return name or Path(path).name, path, export


def frames(path: str):
    """Return a recording's first channel and its tokens (T, 257), floats."""
    from s5_to_loihi import audio

    samples = audio.resample(audio.read_wav(path)).samples[0]
    return samples, audio.features(audio.analyse(samples))


def calibration(path: str):
    """Return the first frames of a recording, (T, 1, 257)."""
    return frames(path)[1][:FRAMES, None]


class HeldOut:
    """Recordings that were not calibrated with, and what the float model makes of them."""

    def __init__(self, noisy: list[str], clean: list[str], model):
        """Read pairs of recordings and evaluate the float model on them."""
        import numpy as np

        from s5_to_loihi.float_model import evaluate

        self.noisy = [frames(path) for path in noisy]
        self.clean = [frames(path)[0] for path in clean]
        longest = max(len(tokens) for _, tokens in self.noisy)
        # What follows the end of a recording does not change what comes before.
        padded = [np.pad(t, ((0, longest - len(t)), (0, 0))) for _, t in self.noisy]
        self.tokens = np.stack(padded, axis=1)
        self.wanted = evaluate(model, self.tokens)
        self.float_ratios = self.ratios(self.wanted)

    def summary(self) -> dict:
        """Return the SI-SNR of the recordings themselves and of the float model's results."""
        from s5_to_loihi import audio

        untouched = [
            audio.si_snr(samples, clean)
            for (samples, _), clean in zip(self.noisy, self.clean, strict=True)
        ]
        return {"noisy_db": untouched, "float_db": self.float_ratios}

    def ratios(self, masks) -> list[float]:
        """Return the SI-SNR in dB of each recording after masks (T, recordings, 257)."""
        from s5_to_loihi import audio

        return [
            audio.si_snr(
                audio.synthesise(
                    audio.apply_mask(audio.analyse(samples), masks[: len(tokens), index]),
                    len(samples),
                ),
                clean,
            )
            for index, ((samples, tokens), clean) in enumerate(
                zip(self.noisy, self.clean, strict=True)
            )
        ]

    def of_network(self, network) -> dict:
        """Return what a network of integers reaches."""
        from s5_to_loihi.fixed_point import to_floats, to_integers
        from s5_to_loihi.simulators.interpreter import Interpreter

        integers, clipped = to_integers(self.tokens, network.input_format)
        outputs = Interpreter(network).evaluate(integers).outputs
        return self._compared(to_floats(outputs, network.output_format)) | {"clipped": clipped}

    def of_model(self, model) -> dict:
        """Return what a float model reaches."""
        from s5_to_loihi.float_model import evaluate

        return self._compared(evaluate(model, self.tokens))

    def _compared(self, masks) -> dict:
        import numpy as np

        from s5_to_loihi.quantization.report import signal_to_noise

        ratios = self.ratios(masks)
        losses = [before - after for before, after in zip(self.float_ratios, ratios, strict=True)]
        kept = [slice(0, len(tokens)) for _, tokens in self.noisy]
        wanted, got = (
            np.concatenate([values[part, index] for index, part in enumerate(kept)])
            for values in (self.wanted, masks)
        )
        return {
            "float": float(np.mean(self.float_ratios)),
            "ours": float(np.mean(ratios)),
            "losses": losses,
            "mean_loss": float(np.mean(losses)),
            "worst_loss": max(losses),
            "sqnr": signal_to_noise(wanted, got),
        }


def plainly_rounded(model, bits: int):
    """Return a float model whose matrices are rounded to ``bits`` bits and multiplied back."""
    from dataclasses import replace

    import numpy as np

    from s5_to_loihi.fixed_point import limits
    from s5_to_loihi.quantization.formats import covering_exponent

    def rounded(matrix):
        # The real and the imaginary part of an entry share the step of their row.
        parts = np.ascontiguousarray(matrix).view(np.float64)
        peaks = np.abs(parts).max(axis=1)
        exponents = np.array([covering_exponent(float(peak), bits) for peak in peaks])[:, None]
        integers = np.clip(np.rint(np.ldexp(parts, exponents)), *limits(bits))
        return np.ldexp(integers, -exponents).view(matrix.dtype)

    def affine(found):
        return found and replace(found, weight=rounded(found.weight))

    blocks = [
        replace(
            block,
            ssm=replace(block.ssm, b=rounded(block.ssm.b), c=rounded(block.ssm.c)),
            value=affine(block.value),
            gate=affine(block.gate),
        )
        for block in model.blocks
    ]
    return replace(
        model,
        encoder=affine(model.encoder),
        blocks=tuple(blocks),
        decoder=affine(model.decoder),
    )


def measure_plain(options: argparse.Namespace, checkpoint: str) -> Iterator[dict]:
    """Yield, for each calibration set and number of bits, ours beside plain rounding."""
    from s5_to_loihi.checkpoints.loading import load
    from s5_to_loihi.quantization.precision import Precision
    from s5_to_loihi.quantization.quantizer import quantize_model

    model = load(parts(checkpoint)[1]).model
    held_out = HeldOut(options.noisy, options.clean, model)
    tokens = calibration(options.calibration)
    for name, part in CALIBRATION_SETS.items():
        for bits in PLAIN_BITS:
            ours = quantize_model(model, tokens[part], Precision(bits)).network
            rounded = quantize_model(
                plainly_rounded(model, bits), tokens[part], Precision(16)
            ).network
            yield {
                "row": f"W{bits}A16, {name}",
                "ours": held_out.of_network(ours),
                "plain": held_out.of_network(rounded),
            }


def measure_cost(options: argparse.Namespace, checkpoint: str) -> Iterator[dict]:
    """Yield the seconds and the peak MiB that it takes to quantize one model at W8A16."""
    from s5_to_loihi.checkpoints.loading import load
    from s5_to_loihi.quantization.quantizer import quantize_model

    model = load(parts(checkpoint)[1]).model
    tokens = calibration(options.calibration)
    before = peak_mebibytes()
    started, worked = time.perf_counter(), time.process_time()
    quantize_model(model, tokens)
    yield {
        "frames": len(tokens),
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - worked,
        "before": before,
        "peak": peak_mebibytes(),
    }


def peak_mebibytes() -> float:
    """Return the peak memory of this process so far."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


STEPS = {"accuracy": measure_accuracy, "cost": measure_cost, "plain": measure_plain}


# --- the parent ----------------------------------------------------------------------------------


def main() -> None:
    """Measure each checkpoint, print its table, and write JSON and picture if asked for."""
    options = arguments()
    if options.step:
        for line in STEPS[options.step](options, options.checkpoint[0]):
            print(json.dumps(line), flush=True)
        return
    models: dict[str, Any] = {}
    if options.against_plain:
        for checkpoint in options.checkpoint:
            models[parts(checkpoint)[0]] = against_plain(options, checkpoint)
    for checkpoint in options.checkpoint if not options.against_plain else ():
        name = parts(checkpoint)[0]
        models[name] = measured(options, checkpoint)
        print_verdict(models[name])
    if options.json:
        options.json.write_text(json.dumps(models, indent=1) + "\n")
        print(f"\nWrote {options.json}")
    if options.plot and not options.against_plain:
        draw(models, options.plot)
        print(f"\nWrote {options.plot}")


def arguments() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="[NAME=]PATH[:EXPORT]",
        help="a float checkpoint, and Intel's fixed-point export of it (default: those that ship)",
    )
    parser.add_argument("--calibration", default=str(SPEECH / "calibration.wav"), metavar="WAV")
    parser.add_argument("--noisy", action="append", metavar="WAV", help="held out; repeatable")
    parser.add_argument("--clean", action="append", metavar="WAV", help="in the same order")
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), help='only these, "W8A16,W4A16" for example'
    )
    parser.add_argument(
        "--against-plain", action="store_true", help="compare with plain rounding instead"
    )
    parser.add_argument("--json", type=Path, help="write all numbers into this file")
    parser.add_argument("--plot", type=Path, help="draw them into this file")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if bool(options.noisy) != bool(options.clean):
        parser.error("give --noisy and --clean, or neither")
    options.checkpoint = options.checkpoint or [SHIPPED]
    options.noisy = options.noisy or [str(SPEECH / "noisy.wav")]
    options.clean = options.clean or [str(SPEECH / "clean.wav")]
    if len(options.noisy) != len(options.clean):
        parser.error(f"{len(options.noisy)} noisy and {len(options.clean)} clean recordings")
    names = [parts(checkpoint)[0] for checkpoint in options.checkpoint]
    if len(set(names)) < len(names):
        parser.error("two checkpoints have the same name: give NAME=PATH")
    return options


def lines(options: argparse.Namespace, checkpoint: str, step: str) -> Iterator[dict]:
    """Run one step in a fresh process and yield its lines as they come."""
    command = [sys.executable, __file__, "--step", step, "--checkpoint", checkpoint]
    command += ["--calibration", options.calibration]
    if options.rows:
        command += ["--rows", ",".join(options.rows)]
    for flag, paths in (("--noisy", options.noisy), ("--clean", options.clean)):
        for path in paths:
            command += [flag, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"The step '{step}' of {checkpoint} failed.")


def measured(options: argparse.Namespace, checkpoint: str) -> dict:
    """Measure one checkpoint, printing its rows as they come; return all of them."""
    name = parts(checkpoint)[0]
    found = lines(options, checkpoint, "accuracy")
    summary = next(found)
    noisy, plain = (sum(summary[key]) / len(summary[key]) for key in ("noisy_db", "float_db"))
    print(f"\n{name}: {len(summary['noisy_db'])} held-out recordings,", end=" ")
    print(f"SI-SNR noisy {noisy:.2f} dB, float {plain:.3f} dB")
    for note in summary["notes"]:
        print(f"  {note}")
    titles = {
        "weights": "",
        "activations": "activations; inputs of as many bits, 16 at least",
        "inputs": "inputs",
        "eigenvalues": "eigenvalues; W16A24",
        "export": "Intel's fixed-point export",
        "plain": "weights rounded plainly, float otherwise",
    }
    print(f"{'':12}{HEADINGS}", flush=True)
    rows, part = [], "weights"
    for row in found:
        if row["part"] != part:
            part = row["part"]
            print(f"  {titles[part]}")
        rows.append(row)
        print_row(row)
    limited = {note: None for row in rows for note in row.get("notes", ()) if "instead" in note}
    for note in limited:
        print(f"  {note}")
    (cost,) = lines(options, checkpoint, "cost")
    print(
        f"W8A16 from {cost['frames']} frames: {cost['seconds']:.1f} s"
        f" ({cost['processor_seconds']:.1f} s of processors), peak {cost['peak']:.0f} MiB"
        f" ({cost['before']:.0f} before)",
        flush=True,
    )
    return {"summary": summary, "rows": rows, "cost": cost}


def against_plain(options: argparse.Namespace, checkpoint: str) -> list[dict]:
    """Compare one checkpoint with plain rounding, printing rows as they come; return them."""
    print(f"\n{parts(checkpoint)[0]}: mean loss / worst loss / SQNR, dB")
    print(f"{'':22}{'ours':>24}{'plain':>24}  SQNR gained", flush=True)
    rows = []
    for row in lines(options, checkpoint, "plain"):
        rows.append(row)
        ours, plain = (
            f"{one['mean_loss']:+.3f} / {one['worst_loss']:+.3f} / {one['sqnr']:.1f}"
            for one in (row["ours"], row["plain"])
        )
        gained = row["ours"]["sqnr"] - row["plain"]["sqnr"]
        print(f"{row['row']:22}{ours:>24}{plain:>24}{gained:+13.1f}", flush=True)
    return rows


def print_row(row: dict) -> None:
    """Print what one row of the table says."""
    if "refused" in row:
        print(f"{row['row']:11}refused: {row['refused']}", flush=True)
        return
    text = f"{row['row']:11}{row['float']:7.3f}{row['ours']:9.3f}{row['mean_loss']:11.4f}"
    text += f"{row['worst_loss']:12.4f}{row['sqnr']:7.1f}"
    if "synapses" in row:
        text += f"{row['synapses']:11,}"
    if "zeroed" in row:
        text += f"{row['zeroed']:9,} of {row['parameters']:,}"
    print(text, flush=True)


def print_verdict(model: dict) -> None:
    """Say which targets are met."""
    rows = {row["row"]: row for row in model["rows"] if "refused" not in row}
    if not {"W8A16", FINE} <= rows.keys():
        print(f"  targets: not judged without rows W8A16 and {FINE}")
        return
    usual, fine = rows["W8A16"], rows[FINE]
    for text, value, limit, met in (
        ("mean loss", usual["mean_loss"], MEAN_LOSS, usual["mean_loss"] <= MEAN_LOSS),
        ("worst loss", usual["worst_loss"], WORST_LOSS, usual["worst_loss"] <= WORST_LOSS),
        ("SQNR", usual["sqnr"], LEAST_SQNR, usual["sqnr"] >= LEAST_SQNR),
        ("SQNR at W16A24", fine["sqnr"], LEAST_FINE_SQNR, fine["sqnr"] >= LEAST_FINE_SQNR),
    ):
        print(f"  {text}: {value:.4g} dB, target {limit:g} dB: {'met' if met else 'MISSED'}")


def draw(models: dict, path: Path) -> None:
    """Draw losses over the bits of weights, and SQNR over those of activations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    loss, noise = figure.subplots(1, 2)
    for index, (name, model) in enumerate(models.items()):
        colour = f"C{index}"
        for part, style in (("weights", "o-"), ("plain", "x--")):
            rows = [row for row in model["rows"] if row["part"] == part and "losses" in row]
            loss.plot(
                [row["weights"] for row in rows],
                [row["mean_loss"] for row in rows],
                style,
                color=colour,
                label=name if part == "weights" else None,
            )
        for row in model["rows"]:
            if row["part"] == "export":
                loss.plot([8], [row["mean_loss"]], "*", color=colour, markersize=12)
        rows = [row for row in model["rows"] if row["part"] == "activations"]
        rows += [row for row in model["rows"] if row["row"] == "W8A16"]
        rows = [row for row in rows if "refused" not in row]
        rows.sort(key=lambda row: row.get("activations", 16))
        noise.plot(
            [row.get("activations", 16) for row in rows],
            [row["sqnr"] for row in rows],
            "o-",
            color=colour,
            label=name,
        )
    loss.plot([], [], "kx--", label="weights rounded plainly, float otherwise")
    loss.plot([], [], "k*", markersize=12, label="Intel's fixed-point export")
    # Straight up to a hundredth of a dB, logarithmic beyond.
    loss.set_yscale("symlog", linthresh=0.01)
    loss.set_xlabel("bits of weights (activations: 16)")
    loss.set_ylabel("SI-SNR lost against the float model, dB")
    noise.set_xlabel("bits of activations (weights: 8)")
    noise.set_ylabel("SQNR of the outputs, dB")
    for axes in (loss, noise):
        axes.grid(alpha=0.3)
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
