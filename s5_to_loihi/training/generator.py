"""A training set of synthetic noisy speech as wav files, in the layout of the N-DNS challenge.

``noisy/noisy_fileid_N.wav`` and ``clean/clean_fileid_N.wav``. Noises are of ``synthetic.py``, and
so are voices, unless espeak-ng is to speak, if it is installed: a program of its own, which is
called and not linked.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import numpy as np
import torch

from s5_to_loihi import audio
from s5_to_loihi.errors import InputError
from s5_to_loihi.training import synthetic

#: Clips that are made together.
TOGETHER = 16
#: What espeak-ng says, in an order that is drawn; and voices, speeds (words a minute), pitches.
WORDS = (
    "one two three four five six seven eight nine zero yes no stop go left right up down water"
    " river mountain window garden yellow green silver morning evening winter summer little large"
    " carry follow listen answer question music paper bridge station letter number people nothing"
    " always never between under over before after again together quickly slowly please thank you"
).split()
VOICES = ("en-us", "en-gb", "en-us+f2", "en-us+f4", "en-gb+m3", "en-us+m5", "en-gb+f3", "en-us+m7")
SPEEDS, PITCHES = (120, 210), (20, 80)
#: Seconds that espeak-ng may take for a clip.
PATIENCE = 60


class Voices(str, Enum):
    """Who speaks."""

    AUTO = "auto"  #: espeak-ng if it is installed
    ESPEAK = "espeak"
    TONES = "tones"


def generate(
    folder: Path,
    clips: int,
    seconds: float,
    seed: int,
    voices: Voices = Voices.AUTO,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Voices:
    """Write pairs of wav files; the same seed gives the same files.

    Args:
        folder: new or empty.
        clips: how many.
        seconds: of each.
        seed: of all random numbers.
        voices: who speaks.
        on_progress: called with clips done and in all.

    Returns:
        Who spoke.

    Raises:
        InputError: the folder holds something or cannot be written, or espeak-ng is asked for and
            not installed.
    """
    program = shutil.which("espeak-ng")
    if voices is Voices.ESPEAK and program is None:
        raise InputError("voices", "espeak-ng is not installed", "Install it, or use tones")
    if voices is Voices.AUTO:
        voices = Voices.TONES if program is None else Voices.ESPEAK
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(str(folder), "exists and is not empty", "Choose another folder")
    try:
        for name in ("noisy", "clean"):
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be made ({error.strerror})", "Choose another place"
        ) from None
    samples = round(seconds * audio.RATE)
    for first in range(0, clips, TOGETHER):
        count = min(TOGETHER, clips - first)
        random = torch.Generator().manual_seed(seed * 1_000_003 + first)
        if voices is Voices.ESPEAK:
            assert program is not None
            speech = _spoken(program, count, samples, np.random.default_rng([seed, first]))
        else:
            speech = synthetic.voices(count, samples, random)
        made = synthetic.mix(speech, synthetic.noises(count, samples, random), random)
        for index in range(count):
            number = first + index
            for name, sound in (("noisy", made.noisy), ("clean", made.clean)):
                file = folder / name / f"{name}_fileid_{number}.wav"
                audio.write_wav(file, sound[index].double().numpy()[None])
            on_progress(number + 1, clips)
    return voices


def _spoken(program: str, count: int, samples: int, random: np.random.Generator) -> torch.Tensor:
    """Return clips (count, samples) that espeak-ng speaks."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "spoken.wav")
        for _ in range(count):
            parts, length = [], 0
            while length < samples:
                words = " ".join(random.choice(WORDS, 12))
                command = [
                    *(program, "-w", file, "-v", str(random.choice(VOICES))),
                    *("-s", str(random.integers(*SPEEDS)), "-p", str(random.integers(*PITCHES))),
                    words,
                ]
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=PATIENCE, check=False
                )
                if done.returncode:
                    raise InputError("espeak-ng", f"failed: {done.stderr.strip()[:200]}")
                spoken = audio.resample(audio.read_wav(file)).samples[0]
                pause = np.zeros(int(random.integers(2000, 10000)))
                parts += [spoken, pause]
                length += len(spoken) + len(pause)
            found.append(np.concatenate(parts)[:samples])
    return torch.tensor(np.stack(found), dtype=torch.float32)
