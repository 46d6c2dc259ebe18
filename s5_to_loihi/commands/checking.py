"""``verify`` and ``inspect``: what a bundle holds, and whether its integers are right."""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.text import Text

from s5_to_loihi import bundle, inspection, verification
from s5_to_loihi.backends.dispatch import ONE_MODE, WITHOUT_BOARD, Backend
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.bundle.vectors import TOKEN_VALUE
from s5_to_loihi.commands.console import (
    BackendsOption,
    GluOption,
    JsonOption,
    LengthOption,
    ReadoutOption,
    SymmetryOption,
    TimeoutOption,
    announce_compilation,
    console,
    print_json,
    print_notes,
    progress,
    spinner,
    stderr,
)
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.errors import InputError, LavaError, VerificationError
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.intel_export import ExportOptions
from s5_to_loihi.lava_runtime import shim as lava_shim
from s5_to_loihi.network.network import Readout
from s5_to_loihi.network.text import to_text
from s5_to_loihi.reports import tables
from s5_to_loihi.simulators.interpreter import Mode

#: Tokens of the first sequence that Lava runs with one process a group by default: enough to fill
#: the pipeline and see states evolve, few enough for seconds.
FINE_GRAINED_TOKENS = 24


class ModeChoice(str, Enum):
    """Execution modes, or both."""

    PIPELINED = "pipelined"
    FALL_THROUGH = "fall-through"
    BOTH = "both"

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes meant."""
        return tuple(Mode) if self is ModeChoice.BOTH else (Mode(self.value),)


def verify(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to verify.")],
    backend: BackendsOption = None,
    mode: Annotated[ModeChoice, typer.Option(help="How tokens follow one another.")] = (
        ModeChoice.BOTH
    ),
    tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Tokens to run. Default: all, and for 'lava' (slow: one process a group and"
            f" synapses) the first {FINE_GRAINED_TOKENS} of the first sequence.",
        ),
    ] = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the recorded vectors and compare every integer.

    Prints for each tensor '=' or how many integers differ and by how much, and for the first
    difference the group, token, neuron and both integers. Ends with exit code 3 if any differs.
    """
    opened = bundle.read(path, lenient=True)
    if opened.vectors is None:
        raise InputError(str(path), "holds no vectors to verify with", "Compile it again")
    backends = backend or _available_backends()
    announce_compilation(opened.network, backends)
    results = []

    def show() -> None:
        _print_changed(opened)
        console.print(tables.tensor_table(results))
        console.print(tables.run_table(results))

    for chosen in backends:
        for one_mode in (Mode.PIPELINED,) if chosen in ONE_MODE else mode.modes:
            vectors = _vectors_for(opened, chosen, tokens)
            with progress(f"{chosen.value}, {one_mode.value}") as advance:
                try:
                    result = verification.verify_run(
                        opened.network, vectors, chosen, one_mode, timeout, advance
                    )
                except LavaError:
                    if results and not as_json:
                        show()
                    raise
                results.append(result)
    if as_json:
        print_json(
            {
                "bundle": str(path),
                "changed": opened.changed,
                "verification": [result_json(result) for result in results],
            }
        )
    else:
        show()
    require_equal(results, opened.changed)


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="EXPORT|BUNDLE", help="An export directory or a bundle.")
    ],
    drawing: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw the network into this file (.svg, .png or .pdf)."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the network's text form.")] = False,
    glu: GluOption = None,
    conjugate_symmetry: SymmetryOption = None,
    readout: ReadoutOption = Readout.EACH_TOKEN,
    sequence_length: LengthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is inside: tensors, densities, ranges used, saturated, zero and dead neurons.

    The options on what an export does not say (--glu ...) are used for exports only.
    """
    check_target(drawing, (".svg", ".png", ".pdf"))
    if (path / bundle.MANIFEST).exists():
        opened = bundle.read(path)
    else:
        options = ExportOptions(glu, conjugate_symmetry, readout, sequence_length)
        with spinner("Reading the export"):
            opened = compile_export(path, options)
    network = opened.network
    weights, ports = inspection.weights(network), inspection.ports(network)
    constants = inspection.constants(network)
    values, tokens, sequences = (), 0, 0
    if opened.vectors is not None:
        shown = opened.vectors.first(verification.CHUNK)
        tokens, sequences = shown.tokens.shape[:2]
        values = inspection.values(network, shown.tokens)
    if drawing is not None:
        from s5_to_loihi.reports.drawing import draw_network

        draw_network(network, drawing)
    if as_json:
        print_json(
            {
                "network": to_text(network).splitlines(),
                "notes": opened.notes,
                "weights": weights,
                "constants": constants,
                "ports": ports,
                "values": values,
            }
        )
        return
    print_notes(opened)
    if text:
        console.print(to_text(network), highlight=False, soft_wrap=True)
    console.print(tables.network_table(network))
    console.print(tables.weight_table(weights))
    console.print(tables.constant_table(constants))
    console.print(tables.port_table(ports))
    if values:
        console.print(tables.value_table(values, tokens, sequences))
    if drawing is not None:
        console.print(f"Wrote {drawing}", highlight=False, soft_wrap=True)


def _available_backends() -> list[Backend]:
    if lava_shim.is_installed():
        return list(WITHOUT_BOARD)
    backends = [Backend.FAST, Backend.INTERPRETER]
    stderr.print(
        "Lava is not installed: verifying the simulators in this process only. To install it: "
        + "; ".join(lava_shim.pip_commands(sys.version_info[:2])),
        highlight=False,
    )
    return backends


def _vectors_for(opened: Bundle, backend: Backend, tokens: int | None):
    if backend is Backend.LAVA:
        return opened.vectors.first(tokens or FINE_GRAINED_TOKENS, 1)
    return opened.vectors.first(tokens) if tokens else opened.vectors


def _print_changed(opened: Bundle) -> None:
    for name in opened.changed:
        console.print(Text.assemble(("Changed since it was written:", "bold red"), " ", name))


def result_json(result: verification.RunResult) -> dict:
    """Return a run's comparison as JSON can say it."""
    return {**dataclasses.asdict(result), "equal": result.equal}


def require_equal(results: list[verification.RunResult], changed: tuple[str, ...] = ()) -> None:
    """Raise the error with exit code 3 if any integer differs, naming the first."""
    found = verification.first_difference(results)
    if found is None and not changed:
        return
    if found is None:
        raise VerificationError(
            changed[0],
            f"was changed after the bundle was written ({len(changed)} tensors were), though no"
            " recorded integer differs",
            "Compile it again",
        )
    result, tensor = found
    first = tensor.first
    raise VerificationError(
        f"{result.backend.value}, {result.mode.value}",
        f"the first difference is in group {tensor.group}, {tensor.value}, at token {first.token}"
        f" of sequence {first.sequence}, neuron {first.neuron}: got {first.got}, expected"
        f" {first.expected}",
        (
            f"Look at the synapses and constants of {tensor.group}"
            if tensor.value != TOKEN_VALUE
            else "The recorded tokens themselves differ from their recording"
        )
        + (f"; changed since the bundle was written: {', '.join(changed)}" if changed else ""),
    )
