"""``run`` and ``demo``: networks at work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from s5_to_loihi import bundle
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.commands.console import (
    BundleArgument,
    JsonOption,
    announce_compilation,
    print_json,
    progress,
    say,
    say_whole,
    show,
)
from s5_to_loihi.reports.network_tables import activity_table
from s5_to_loihi.simulation import simulate_file


def run(
    path: BundleArgument,
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="(tokens, features) or (tokens, batch, features) as .npy or .npz, integers or"
            " floats; or a recording (.wav).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .npy to write: integers, int32.")
    ],
    saturate: Annotated[
        bool, typer.Option("--saturate", help="Clip values outside the input format, and count.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Sequences at the same time. Default: all processors.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a network on data of any length with the fast simulator.

    Memory stays bounded: input and output are read and written in chunks. Prints throughput and
    activity: messages, synaptic operations and neuron updates of each group. Example:

        s5-to-loihi run denoiser.bundle frames.npy -o masks.npy
    """
    network = bundle.read(path).network
    announce_compilation(network, [Backend.FAST])
    started = time.perf_counter()
    with progress("Simulating", "tokens") as advance:
        totals = simulate_file(
            network, inputs, output, saturate=saturate, threads=threads, on_progress=advance
        )
    seconds = time.perf_counter() - started
    count = totals.tokens * totals.sequences
    if as_json:
        print_json(
            {
                "output": str(output),
                "format": network.output_format._asdict(),
                "tokens": totals.tokens,
                "sequences": totals.sequences,
                "seconds": seconds,
                "saturated": totals.saturated,
                "activity_per_token": {
                    name: {
                        "messages": totals.messages[index] / count,
                        "synops": totals.synops[index] / count,
                        "updates": int(totals.updates[index]),
                    }
                    for index, name in enumerate(totals.groups)
                },
            }
        )
        return
    show(activity_table(totals))
    say(
        f"{totals.sequences} x {totals.tokens:,} tokens in {seconds:.2f} s"
        f" ({seconds / count * 1e6:.1f} µs a token, starting included),"
        f" {totals.saturated:,} inputs saturated"
    )
    say_whole(f"Wrote {output}: integers of {network.output_format}")


def demo(
    directory: Annotated[
        Path, typer.Argument(help="Where to write the bundle, sound and pictures.")
    ] = Path("demo_output"),
) -> None:
    """Compile the shipped denoiser, prove it under Lava, and denoise the shipped recording."""
    # Compiled loops and drawing, which other commands need not wait for.
    from s5_to_loihi.commands.demo_steps import run_demo

    run_demo(directory)
