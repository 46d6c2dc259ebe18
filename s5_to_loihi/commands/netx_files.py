"""``join`` and ``export``: files of lava-dl's netx are written."""

from __future__ import annotations

from pathlib import Path

from typer import Argument, Option

from s5_to_loihi import bundle
from s5_to_loihi.commands import choices, console
from s5_to_loihi.netx import is_netx
from s5_to_loihi.netx.options import read_netx_options
from s5_to_loihi.netx.writing import export as export_network
from s5_to_loihi.netx.writing import write_mixed


def join(
    parts: list[Path] = Argument(
        ..., metavar="PART...", help="netx files (.net) and bundles, in their order."
    ),
    output: Path = Option(..., "--output", "-o", help="The netx file to write."),
    threshold: int = Option(
        1,
        min=0,
        max=1 << 20,
        help="Least change that an S5 layer sends, in units of 2^-6, as netx's vThMant.",
    ),
) -> None:
    """Write netx files and bundles, one behind the other, as one netx file.

    Bundles become S5 layers between layers that send differences. Stock netx fails on such a file
    instead of leaving them out. Example:

        s5-to-loihi join encoder.net denoiser.bundle decoder.net -o mixed.net
    """
    opened = [part if is_netx(part) else bundle.read(part).network for part in parts]
    write_mixed(opened, output, threshold)
    console.say_wrote(output)


def export(
    path: choices.BundleArgument,
    like: Path = Option(..., help="The netx file that the bundle was compiled from."),
    output: Path = Option(..., "--output", "-o", help="The netx file to write."),
    netx_arguments: list[str] | None = Option(
        None, "--netx", metavar="NAME=VALUE", help="As it was compiled with."
    ),
) -> None:
    """Write a network that came from a netx file as such a file again, with what was changed.

    Weights, biases and thresholds are those of the bundle, the rest is that of the file. Example:

        s5-to-loihi export pruned.bundle --like baseline.net -o pruned.net
    """
    options = read_netx_options(netx_arguments or ())
    export_network(bundle.read(path).network, like, output, options)
    console.say_wrote(output)
