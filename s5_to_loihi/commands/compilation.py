"""``compile`` and ``quantize``: from a checkpoint to a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import bundle, verification
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.checkpoints.options import LoadOptions
from s5_to_loihi.commands import choices, console
from s5_to_loihi.commands.checking import require_equal, result_json
from s5_to_loihi.compiler import compile_export, compile_netx
from s5_to_loihi.errors import InputError
from s5_to_loihi.intel_export import MODEL_FILE, ExportOptions
from s5_to_loihi.network.network import Network, Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.netx import is_netx
from s5_to_loihi.netx.options import read_netx_options
from s5_to_loihi.reports.network_tables import network_table, size_in_words
from s5_to_loihi.reports.run_tables import run_table
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.reports.table import Mark
from s5_to_loihi.simulation import read_data


def compile_command(
    export: Path = Argument(
        ...,
        metavar="CHECKPOINT",
        help="Directory of Intel's fixed-point export (five .pkl files); a network of lava-dl's"
        " netx (.net); or, with --calibration, a float checkpoint.",
    ),
    output: Path = Option(..., "--output", "-o", help="The bundle to write."),
    calibration: Path | None = Option(
        None,
        help="Data for a float checkpoint, which is quantized on the way with the defaults of"
        " 's5-to-loihi quantize'; for a .net file integers to compute the vectors for.",
    ),
    glu: choices.GluOption = None,
    conjugate_symmetry: choices.SymmetryOption = None,
    readout: choices.ReadoutOption = Readout.EACH_TOKEN,
    sequence_length: choices.LengthOption = None,
    layout: choices.LayoutOption = None,
    strict: choices.StrictOption = False,
    vector_tokens: int = Option(
        128, "--tokens", metavar="N", min=1, help="Recorded tokens to keep, from the first."
    ),
    vector_sequences: int = Option(
        2, "--sequences", metavar="N", min=1, help="Recorded sequences to keep."
    ),
    netx_arguments: list[str] | None = Option(
        None,
        "--netx",
        metavar="NAME=VALUE",
        help="For a .net file, an argument of netx.hdf5.Network (skip_layers, num_layers,"
        " input_message_bits, input_shape, reset_interval, reset_offset, spike_exp), or of ours"
        " (corrected=1: no drift; drop_unknown=1: leave unknown layers out, as netx does). May be"
        " repeated.",
    ),
    print_between_passes: bool = Option(
        False, "--passes", help="Print the network's text form after every pass."
    ),
    details: choices.DetailsOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Turn an export of IntelLabs/SparseRNNs, a .net file, or a float checkpoint into a bundle.

    Reads the pickles without running code, freezes the exponents that depend on the data, lowers
    the model to neuron groups and synapses, and compares the interpreter with EVERY recorded
    integer before anything is written. Example:

        s5-to-loihi compile exports/denoiser -o denoiser.bundle
    """

    observe = _print_network if print_between_passes else _print_nothing
    if is_netx(export) or netx_arguments:
        with console.spinner("Compiling the network"):
            compiled = compile_netx(
                export,
                read_netx_options(netx_arguments or ()),
                console.network_name(output),
                None if calibration is None else read_data(calibration, layout).values,
                observe,
            )
        _finish_netx(compiled, output, details, as_json)
        return
    if (export / MODEL_FILE).exists() or (calibration is None and not export.exists()):
        options = ExportOptions(glu, conjugate_symmetry, readout, sequence_length)
        with console.spinner("Reading the export"):
            compiled = compile_export(export, options, console.network_name(output), observe)
        _finish_export(compiled, output, (vector_tokens, vector_sequences), details, as_json)
        return
    if calibration is None:
        raise InputError(
            str(export),
            f"is no fixed-point export: it has no {MODEL_FILE}",
            "A float checkpoint needs --calibration DATA; see 's5-to-loihi quantize --help'",
        )
    # What is not given is left to the file; of the readout, each_token means that.
    said = None if readout is Readout.EACH_TOKEN else readout
    # Compiled loops, which an export need not wait for.
    from s5_to_loihi.commands import quantization
    from s5_to_loihi.compiler import quantize

    with console.progress("Quantizing (compiles at first)", "groups") as advance:
        made = quantize(
            export,
            read_data(calibration, layout, sequence_length),
            options=LoadOptions(glu=glu, conjugate_symmetric=conjugate_symmetry, readout=said),
            sequence_length=sequence_length,
            files={"calibration": calibration},
            layout=layout,
            where=(str(calibration), "held-out data"),
            name=console.network_name(output),
            on_progress=advance,
            observe=observe,
        )
    quantization.finish(made, output, details, as_json, strict)


def _print_network(step: str, network: Network) -> None:
    console.stderr.print(f"--- after {step}", highlight=False)
    console.stderr.print(to_text(network), highlight=False, soft_wrap=True)


def _print_nothing(step: str, network: Network) -> None:
    pass


def _finish_netx(compiled: Bundle, output: Path, details: bool, as_json: bool) -> None:
    bundle.write(compiled, output)
    if as_json:
        console.print_json(
            {
                "bundle": str(output),
                "network": to_text(compiled.network).splitlines(),
                "notes": compiled.notes,
            }
        )
        return
    summary = Summary(
        f"Wrote {output}: {len(compiled.network.groups)} layers in netx's integers",
        [("network", size_in_words(compiled.network))],
        notes=compiled.notes,
        next=command("verify", output),
    )
    console.summarise(summary, (network_table(compiled.network),), details)


def _finish_export(
    compiled: Bundle, output: Path, kept: tuple[int, int], details: bool, as_json: bool
) -> None:
    """Compare with all recorded integers, write the bundle if they are equal, and say so."""
    vectors = compiled.vectors
    assert vectors is not None, "an export has its recorded integers"
    with console.spinner("Comparing with the recorded integers"):
        result = verification.verify_interpreter(compiled.network, vectors)
    if result.equal:
        bundle.write(dataclasses.replace(compiled, vectors=vectors.first(*kept)), output)
    if as_json:
        console.print_json(
            {
                "bundle": str(output) if result.equal else None,
                "network": to_text(compiled.network).splitlines(),
                "notes": compiled.notes,
                "verification": [result_json(result)],
            }
        )
    else:
        tables = (network_table(compiled.network), run_table([result]))
        console.summarise(_summary(compiled, result, output), tables, details)
    require_equal([result])


def _summary(compiled: Bundle, result: verification.RunResult, output: Path) -> Summary:
    compared = sum(tensor.compared for tensor in result.tensors)
    differing = sum(tensor.differing for tensor in result.tensors)
    facts = [
        ("network", size_in_words(compiled.network)),
        (
            "compared",
            f"{len(result.tensors)} tensors over {result.sequences} x {result.tokens} tokens",
        ),
    ]
    if not result.equal:
        verdict = f"{differing:,} of {compared:,} recorded integers differ: nothing was written"
        return Summary(verdict, facts, Mark.BAD, notes=compiled.notes)
    return Summary(
        f"Wrote {output}: {compared:,} recorded integers, all equal",
        facts,
        notes=compiled.notes,
        next=command("verify", output),
    )
