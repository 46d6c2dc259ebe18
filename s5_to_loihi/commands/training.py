"""``train`` and ``synthesise``: a model from data, and data from nothing."""

from __future__ import annotations

import shlex
from pathlib import Path

from typer import Argument, Option

from s5_to_loihi.commands import choices, console
from s5_to_loihi.errors import InputError
from s5_to_loihi.evaluation.packages import require
from s5_to_loihi.reports.summary import Summary


def train(
    recipe: Path = Argument(..., metavar="RECIPE.yaml", help="What to train, and on what."),
    output: Path = Option(
        ..., "--output", "-o", metavar="FOLDER", help="New, or of this training: it goes on."
    ),
    as_json: choices.JsonOption = False,
) -> None:
    """Train an S5 model in PyTorch, sparse and as integers, to a verified bundle.

    First in floats, pruned on the way if the recipe says so, then as the network of integers that
    is deployed. Kill it at any time and start it again: it goes on behind the last whole epoch,
    and ends with the same weights. Needs the extra 'train'. Example:

        s5-to-loihi train vowels.yaml -o vowels

    A recipe, with paths relative to it (docs/training.md has all keys):

    \b
    name: vowels
    data: {train: TRAIN.ts, test: TEST.ts}   # or .npz; or folders of noisy/ and clean/
    model: {width: 64, blocks: 2}
    training: {epochs: 40, rate: 0.01}
    sparsity: {sparsity: 0.9}
    integers: {weights: 4, epochs: 5}
    """
    require("train")
    # Heavy imports, which other commands need not wait for.
    from s5_to_loihi.reports.loss_drawing import draw_losses
    from s5_to_loihi.training.loop import history_file, read_history
    from s5_to_loihi.training.recipe import read_recipe
    from s5_to_loihi.training.training import train as train_recipe

    wanted = read_recipe(recipe)
    with console.stages() as begin:
        shown: dict[str, console.Advance] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in shown:
                shown.clear()
                shown[name] = begin({"reading": "Reading sound"}.get(name, f"Epochs, {name}"))
            shown[name](done, total)

        made = train_recipe(wanted, output, advance)
    histories = {
        name: read_history(history_file(output, name))
        for name in ("float", "integers")
        if history_file(output, name).exists()
    }
    picture = output / "loss.png"
    draw_losses(histories, f"{made.score_name}, {made.score_unit}", picture)
    if as_json:
        console.print_json(
            {
                "bundle": str(made.bundle),
                "model": str(output / "model"),
                "score": f"{made.score_name}, {made.score_unit}",
                "scores": made.scores,
                "sparsity": made.sparsity,
                "synapses": made.quantized.network.synapse_count,
            }
        )
        return
    named = {
        "float": "in floats",
        "rounded": "rounded",
        "integers": "as deployed",
    }
    scores = ", ".join(
        f"{value:.2f} {made.score_unit} {named[name]}" for name, value in made.scores.items()
    )
    bundle = shlex.quote(str(made.bundle))
    then = f"s5-to-loihi map {bundle}"
    if made.denoises:
        then = f"s5-to-loihi denoise {bundle} RECORDING.wav -o cleaned.wav"
    console.summarise(
        Summary(
            f"Wrote {made.bundle}: {made.score_name} {made.scores['integers']:.2f}"
            f" {made.score_unit} on the test data",
            (
                (made.score_name, scores),
                ("sparsity", f"{made.sparsity:.1%} of all weights are zero"),
                ("synapses", f"{made.quantized.network.synapse_count:,}"),
                ("model", f"{output / 'model'} (floats), {picture} (loss and score)"),
            ),
            notes=made.quantized.notes,
            next=f"s5-to-loihi verify {bundle}  # then {then}",
        )
    )


def synthesise(
    output: Path = Argument(..., metavar="FOLDER", help="New: noisy/ and clean/ come into it."),
    clips: int = Option(200, metavar="N", min=1, max=1_000_000, help="How many pairs."),
    seconds: float = Option(10.0, min=1.0, max=600.0, help="Of each."),
    seed: int = Option(0, min=0, max=2**31 - 1, help="The same gives the same files."),
    voices: str = Option(
        "auto",
        metavar="WHO",
        help="espeak: the program espeak-ng; tones: shaped like a voice; auto: whichever is there.",
    ),
    as_json: choices.JsonOption = False,
) -> None:
    """Make a training set of synthetic noisy speech, of any size, from nobody's recordings.

    Needs the extra 'train'. Example:

        s5-to-loihi synthesise training_set --clips 400
    """
    require("train")
    from s5_to_loihi.training.generator import Voices, generate

    if voices not in (known := [one.value for one in Voices]):
        raise InputError("--voices", f"is {voices!r:.40}", f"Use one of {', '.join(known)}")
    with console.progress("Making", "clips") as advance:
        spoke = generate(output, clips, seconds, seed, Voices(voices), advance)
    if as_json:
        console.print_json({"folder": str(output), "clips": clips, "voices": spoke.value})
        return
    console.summarise(
        Summary(
            f"Wrote {clips:,} pairs of {seconds:g} s to {output}",
            (("voices", "espeak-ng" if spoke is Voices.ESPEAK else "tones shaped like voices"),),
            next="s5-to-loihi train RECIPE.yaml -o FOLDER  # data: {train: ..., test: ...}",
        )
    )
