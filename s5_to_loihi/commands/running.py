"""``run`` and ``demo``: networks at work."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from typer import Argument, Option

from s5_to_loihi import bundle
from s5_to_loihi.commands import choices, console
from s5_to_loihi.inputs import louder_said, saturated_said
from s5_to_loihi.network.network import Network
from s5_to_loihi.reports.network_tables import activity_table
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.simulation import Totals, simulate_file
from s5_to_loihi.simulators.which import Device


def run(
    path: choices.BundleArgument,
    inputs: Path = Argument(
        ...,
        metavar="INPUT",
        help="(tokens, features) or (tokens, sequences, features) values as .npy or .npz, or a"
        " recording (.wav).",
    ),
    output: Path = Option(..., "--output", "-o", help="The .npy to write: integers, int32."),
    raw: choices.RawOption = False,
    layout: choices.LayoutOption = None,
    saturate: bool = Option(
        False, "--saturate", help="Clip values outside the input format, and count."
    ),
    strict: choices.StrictOption = False,
    threads: int | None = Option(
        None, min=1, help="Sequences at the same time. Default: all processors."
    ),
    device: choices.DeviceOption = Device.CPU,
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Run a network on data of any length with the fast simulator, or on a GPU.

    Memory stays bounded: input and output are read and written in chunks. Prints throughput and
    activity; --details has messages, synaptic operations and neuron updates of each group. Example:

        s5-to-loihi run denoiser.bundle frames.npy -o masks.npy
    """
    opened = bundle.read(path)
    network = opened.network
    started = time.perf_counter()
    with console.progress("Simulating", "tokens") as advance:
        totals = simulate_file(
            network,
            inputs,
            output,
            saturate=saturate,
            raw=raw,
            layout=layout,
            threads=threads,
            device=device,
            on_progress=advance,
        )
    seconds = time.perf_counter() - started
    values = totals.tokens * totals.sequences * network.input_size
    doubts = (
        *saturated_said(totals.saturated, values, str(inputs)),
        *louder_said(opened.source, totals.largest, str(inputs)),
    )
    console.doubt(str(output), doubts, strict)
    if as_json:
        console.print_json(_plain(network, totals, output, seconds))
        return
    summary = _summary(network, totals, output, seconds)
    after = command("profile", path, "--input", inputs, *(["--raw"] if raw else []))
    console.summarise(replace(summary, next=after), (activity_table(totals),), details)


def _plain(network: Network, totals: Totals, output: Path, seconds: float) -> dict[str, Any]:
    count = totals.tokens * totals.sequences
    return {
        "output": str(output),
        "format": network.output_format._asdict(),
        "tokens": totals.tokens,
        "sequences": totals.sequences,
        "seconds": seconds,
        "saturated": totals.saturated,
        "notes": totals.notes,
        "activity_per_token": {
            name: {
                "messages": totals.messages[index] / count,
                "synops": totals.synops[index] / count,
                "updates": int(totals.updates[index]),
            }
            for index, name in enumerate(totals.groups)
        },
    }


def _summary(network: Network, totals: Totals, output: Path, seconds: float) -> Summary:
    count = totals.tokens * totals.sequences
    messages, synops = (
        f"{total / count:,.1f}" for total in (totals.messages.sum(), totals.synops.sum())
    )
    return Summary(
        f"Wrote {output}: {totals.sequences} x {totals.tokens:,} tokens,"
        f" integers of {network.output_format}",
        (
            (
                "time",
                f"{seconds:.2f} s, {seconds / count * 1e6:.1f} µs a token, starting included",
            ),
            ("activity", f"{messages} messages and {synops} synaptic operations a token"),
            ("saturated", f"{totals.saturated:,} inputs"),
        ),
        notes=totals.notes,
    )


def demo(
    directory: Path = Argument(
        Path("demo_output"), help="Where to write the bundle, sound and pictures."
    ),
    as_json: choices.JsonOption = False,
) -> None:
    """Compile the shipped denoiser, verify it under Lava, and denoise the shipped recording."""
    # Compiled loops and drawing, which other commands need not wait for.
    from s5_to_loihi.commands.demo_steps import run_demo

    run_demo(directory, as_json)
