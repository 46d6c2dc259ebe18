"""``profile``: what a network costs on the chip, and measured beside predicted."""

from __future__ import annotations

from pathlib import Path

from typer import Option

from s5_to_loihi import bundle
from s5_to_loihi.backends.measured import read_measured
from s5_to_loihi.bundle.core_mapping import LARGEST_SEED
from s5_to_loihi.commands import choices, console
from s5_to_loihi.inputs import largest_of, louder_said, saturated_said
from s5_to_loihi.loihi2.facts import load_system
from s5_to_loihi.simulation import Typical, read_typical


def profile(
    path: choices.BundleArgument,
    inputs: Path | None = Option(
        None,
        "--input",
        metavar="INPUT",
        help="What to count activity with: values (.npy, .npz) or a recording (.wav). Default:"
        " the tokens recorded in the bundle.",
    ),
    raw: choices.RawOption = False,
    layout: choices.LayoutOption = None,
    strict: choices.StrictOption = False,
    system: choices.SystemOption = None,
    hop: float = Option(8.0, metavar="MS", min=1e-3, help="Milliseconds a token in real time."),
    measured: choices.MeasuredOption = None,
    seed: int = Option(
        0, min=0, max=LARGEST_SEED, help="Of the drawn constants, and of a mapping made here."
    ),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Estimate latency and energy of a network on Loihi 2, with ranges.

    Counts the activity of real input, and applies a cost model whose constants come with a range
    and a source. Everything is modelled; nothing was measured on a chip, unless a measurement is
    given. A bundle without a mapping is mapped first; the mapping is not written. Ends with exit
    code 2 if the network does not fit. Example:

        s5-to-loihi profile denoiser.bundle --input noisy.wav --hop 8
    """
    # Compiled loops, which other commands need not wait for.
    from s5_to_loihi.profiling.activity import record
    from s5_to_loihi.profiling.comparison import compare
    from s5_to_loihi.profiling.profile import (
        fitting,
        map_recording,
        profile_recording,
        recorded_tokens,
    )
    from s5_to_loihi.profiling.profile_values import as_dictionary
    from s5_to_loihi.reports import profile_tables as tables
    from s5_to_loihi.reports.summary import Summary, command

    run = None if measured is None else read_measured(measured)
    chosen = None if system is None else load_system(system)
    opened = bundle.read(path)
    network = opened.network
    placed = fitting(opened.mapping, chosen)
    if inputs is None:
        typical = Typical(recorded_tokens(opened), 0, ())
    else:
        typical = read_typical(network, inputs, raw, layout)
    saturated = typical.saturated
    doubts = (
        *saturated_said(saturated, typical.tokens.size, str(inputs)),
        *louder_said(opened.source, largest_of(network, typical.tokens), str(inputs)),
    )
    console.doubt(str(path), doubts, strict)
    with console.progress("Counting activity", "tokens") as advance:
        recording = record(network, typical.tokens, advance)
    made_here = placed is None
    if placed is None:
        with console.progress("Mapping (compiles at first)", "tries") as advance:
            placed = map_recording(network, recording, chosen, seed, advance)
    with console.spinner("Estimating"):
        result = profile_recording(
            network, recording, *placed, seed=seed, hop=hop * 1e3, made_here=made_here, curve=True
        )
    compared = () if run is None else compare(result, run, bundle.digest(path), str(measured))
    if as_json:
        more = {"compared": compared, "saturated": saturated, "notes": typical.notes}
        console.print_json(as_dictionary(result) | more)
        return
    notes = [*typical.notes]
    if saturated:
        notes.append(f"{saturated:,} input values were saturated")
    after = command("report", path, "-o", "report.html")
    console.summarise(
        Summary(tables.verdict(result), tables.facts(result), notes=notes, next=after),
        tables.all_tables(result),
        details,
        () if run is None else (tables.comparison_table(compared),),
    )
