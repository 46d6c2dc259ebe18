"""``denoise``: recordings cleaned by a compiled network, one or a folder of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer import Argument, Option

from s5_to_loihi import audio, bundle
from s5_to_loihi.audio import Audio
from s5_to_loihi.backends.dispatch import Backend
from s5_to_loihi.bundle import Bundle
from s5_to_loihi.commands import choices, console
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.denoising import Denoised, read_pair, unrelated
from s5_to_loihi.denoising import denoise as denoise_samples
from s5_to_loihi.errors import InputError
from s5_to_loihi.files.writing import check_target
from s5_to_loihi.inputs import louder_said, saturated_said
from s5_to_loihi.network.network import Network
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.reports.table import Mark, counted, table
from s5_to_loihi.simulators.interpreter import Mode

PICTURES = (".png", ".svg")


@dataclass(frozen=True)
class Cleaned:
    """A recording that was written.

    Attributes:
        noisy: as it was read.
        result: as it was cleaned.
        clipped_samples: of the wav file.
        si_snr: before and after of each channel, dB; None without a clean recording.
    """

    noisy: Audio
    result: Denoised
    clipped_samples: int
    si_snr: list[list[float]] | None


def denoise(
    recording: Path = Argument(
        ..., metavar="IN", help="The noisy recording (.wav), or a folder of them."
    ),
    output: Path = Argument(
        ..., metavar="OUT", help="The cleaned one to write, or a folder for all."
    ),
    model: Path | None = Option(
        None, "--bundle", help="A compiled denoiser. Default: the one that is shipped."
    ),
    backend: Backend = Option(
        Backend.FAST, "--backend", "-b", help="What to run it on; all give the same integers."
    ),
    mode: choices.ModeOption = Mode.PIPELINED,
    clean: Path | None = Option(None, help="The clean recording, to measure SI-SNR with."),
    picture: Path | None = Option(
        None, help="Draw the spectrograms into this file (.png or .svg)."
    ),
    strict: choices.StrictOption = False,
    as_json: choices.JsonOption = False,
) -> None:
    """Denoise a recording, or all of a folder, with a compiled network.

    Any sample rate is resampled to 16 kHz (and said); channels are cleaned independently. A file
    of a folder that cannot be read is named in the end, and the others are cleaned. Examples:

        s5-to-loihi denoise noisy.wav cleaned.wav

        s5-to-loihi denoise noisy/ cleaned/ --bundle denoiser.bundle
    """
    folder = recording.is_dir()
    if folder:
        files = _files(recording, output, clean or picture)
    else:
        check_target(output, (".wav",))
        check_target(picture, PICTURES)
    opened = compile_export(DENOISER) if model is None else bundle.read(model)
    network = opened.network
    if folder:
        doubts = _folder(opened, files, output, backend, mode, as_json)
        console.doubt(str(output), doubts, strict)
        return
    noisy, reference = _read(recording, clean)
    with console.progress(f"Denoising on {backend.value}") as advance:
        cleaned = _clean(network, noisy, reference, output, backend, mode, advance)
    if picture is not None:
        with console.spinner("Drawing"):
            _draw(picture, cleaned, reference)
    console.doubt(str(output), _doubts(opened, cleaned, recording, clean), strict)
    if as_json:
        console.print_json(_plain(output, backend, cleaned))
        return
    own = ("--bundle", model) if model is not None else ()
    console.summarise(
        Summary(
            f"Wrote {output}: {cleaned.result.audio_seconds:.1f} s,"
            f" {len(cleaned.result.samples)} channel(s)",
            _facts(cleaned, backend, picture),
            notes=noisy.notes,
            next=command("stream", "--live", *own),
        )
    )


def _facts(cleaned: Cleaned, backend: Backend, picture: Path | None) -> list[tuple[str, str]]:
    result = cleaned.result
    facts = [
        (
            "time",
            f"{result.tokens:,} tokens in {result.seconds:.3f} s on {backend.value}: real-time"
            f" factor {result.real_time_factor:.4f}",
        ),
        (
            "saturated",
            f"{result.clipped_inputs:,} inputs, {cleaned.clipped_samples:,} output samples",
        ),
    ]
    for index, (before, after) in enumerate(cleaned.si_snr or ()):
        facts.append(("SI-SNR", f"channel {index}: {before:.2f} dB noisy, {after:.2f} dB denoised"))
    if picture is not None:
        facts.append(("drew", str(picture)))
    return facts


def _read(recording: Path, clean: Path | None) -> tuple[Audio, Audio | None]:
    if clean is not None:
        return read_pair(recording, clean)
    return audio.resample(audio.read_wav(recording)), None


def _clean(
    network: Network,
    noisy: Audio,
    reference: Audio | None,
    output: Path,
    backend: Backend,
    mode: Mode,
    advance: console.Advance = lambda done, total: None,
) -> Cleaned:
    """Clean a recording, write it, and measure it where there is a clean one."""
    result = denoise_samples(network, noisy.samples, backend, mode, advance)
    clipped = audio.write_wav(output, result.samples)
    if reference is None:
        return Cleaned(noisy, result, clipped, None)
    channels = zip(noisy.samples, result.samples, reference.samples, strict=True)
    ratios = [[audio.si_snr(one, target) for one in pair] for *pair, target in channels]
    return Cleaned(noisy, result, clipped, ratios)


def _doubts(
    opened: Bundle, cleaned: Cleaned, recording: Path, clean: Path | None
) -> tuple[str, ...]:
    result = cleaned.result
    values = result.tokens * len(result.samples) * audio.BINS
    before = [ratios[0] for ratios in cleaned.si_snr or ()]
    return (
        *saturated_said(result.clipped_inputs, values, str(recording)),
        *louder_said(opened.source, result.largest, str(recording)),
        *unrelated(before, str(clean)),
    )


def _draw(picture: Path, cleaned: Cleaned, reference: Audio | None) -> None:
    from s5_to_loihi.reports.spectrogram import draw_spectrograms

    panels = [("noisy", cleaned.noisy.samples[0]), ("denoised", cleaned.result.samples[0])]
    if reference is not None:
        panels.append(("clean", reference.samples[0]))
    draw_spectrograms(picture, panels, audio.RATE)


def _plain(output: Path, backend: Backend, cleaned: Cleaned) -> dict[str, Any]:
    return {
        "output": str(output),
        "backend": backend.value,
        "tokens": cleaned.result.tokens,
        "seconds": cleaned.result.seconds,
        "real_time_factor": cleaned.result.real_time_factor,
        "clipped_inputs": cleaned.result.clipped_inputs,
        "clipped_samples": cleaned.clipped_samples,
        "si_snr_db": cleaned.si_snr,
        "notes": cleaned.noisy.notes,
    }


# --- folders -------------------------------------------------------------------------------------


def _files(folder: Path, output: Path, other: Path | None) -> list[Path]:
    """Return the recordings of a folder, and make the one that they go to.

    Raises:
        InputError: there are none, they would be overwritten, or an option is for one recording.
    """
    if other is not None:
        raise InputError(
            str(other),
            "is given with a folder",
            "Measure folders with 's5-to-loihi evaluate'; draw one recording",
        )
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".wav")
    if not files:
        raise InputError(str(folder), "holds no wav files", "Give a folder of recordings")
    if output.exists() and output.samefile(folder):
        raise InputError(str(output), "is where the noisy recordings are", "Give another folder")
    if output.exists() and not output.is_dir():
        raise InputError(str(output), "is no folder", "Give a folder for all recordings")
    try:
        output.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(str(output), f"cannot be made ({error.strerror})", "Make it") from None
    return files


def _folder(
    opened: Bundle, files: list[Path], output: Path, backend: Backend, mode: Mode, as_json: bool
) -> tuple[str, ...]:
    """Clean recordings one after the other, in the memory of one; name those that cannot be.

    Returns:
        What is doubtful about the recordings.
    """
    doubts: list[str] = []
    cleaned: list[dict[str, Any]] = []
    errors: dict[str, str] = {}
    with console.progress(f"Denoising on {backend.value}", "recordings") as advance:
        for done, file in enumerate(files, start=1):
            try:
                noisy, _ = _read(file, None)
                target = output / file.name
                found = _clean(opened.network, noisy, None, target, backend, mode)
                doubts += _doubts(opened, found, file, None)
                row = {"input": str(file), "audio_seconds": found.result.audio_seconds}
                cleaned.append(row | _plain(target, backend, found))
            except InputError as error:
                errors[str(file)] = str(error)
            advance(done, len(files))
    if as_json:
        console.print_json({"recordings": cleaned, "errors": errors})
    else:
        _tell(cleaned, output, backend)
    if errors:
        raise InputError(
            f"{len(errors)} of {len(files)} recordings",
            f"could not be cleaned; {' '.join(errors.values())}",
        )
    return tuple(doubts)


def _tell(cleaned: list[dict[str, Any]], output: Path, backend: Backend) -> None:
    heard, took = (sum(row[name] for row in cleaned) for name in ("audio_seconds", "seconds"))
    speed = f", real-time factor {took / heard:.4f}" if heard else ""
    odd = [
        row for row in cleaned if row["notes"] or row["clipped_inputs"] or row["clipped_samples"]
    ]
    known = table(
        "What to know of some",
        odd,
        {
            "recording": lambda row: Path(row["input"]).name,
            "inputs saturated #": lambda row: counted(row["clipped_inputs"]),
            "samples clipped #": lambda row: counted(row["clipped_samples"]),
            "notes": lambda row: "; ".join(row["notes"]),
        },
    )
    console.summarise(
        Summary(
            f"Wrote {len(cleaned):,} recordings into {output}",
            (("time", f"{heard:,.1f} s of sound in {took:.3f} s on {backend.value}{speed}"),),
            Mark.GOOD if cleaned else Mark.BAD,
        ),
        asked=(known,) if odd else (),
    )
