# %% [markdown]
# # Denoise and stream speech, and evaluate a test set
#
# A compiled denoiser cleans a recording as a whole, then hop by hop as sound would come from a
# microphone, and is scored on a small test set. It takes about a minute and needs no board and no
# Lava.

# %%
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import s5_to_loihi as s5
from s5_to_loihi import audio
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT, CLEAN, NOISY

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A denoiser of integers
#
# As in the [first tutorial](checkpoint_to_price.py), from the checkpoint that ships.

# %%
typical = audio.resample(audio.read_wav(CALIBRATION))
frames = audio.features(audio.analyse(typical.samples[0]))[:1500]
made = s5.quantize(CHECKPOINT, frames)
bundle = folder / "denoiser.bundle"
s5.write(made.bundle, bundle)

# %% [markdown]
# ## A recording as a whole
#
# Samples are (channels, samples) floats at 16 kHz. SI-SNR says, in dB, how close a recording is
# to the clean one; more is better.

# %%
noisy = audio.resample(audio.read_wav(NOISY)).samples[:, : 8 * audio.RATE]
clean = audio.resample(audio.read_wav(CLEAN)).samples[:, : 8 * audio.RATE]
cleaned = s5.denoise(made.bundle.network, noisy, s5.Backend.FAST)
before, after = audio.si_snr(noisy[0], clean[0]), audio.si_snr(cleaned.samples[0], clean[0])
print(f"SI-SNR {before:.2f} dB noisy, {after:.2f} dB cleaned")
assert after > before

# %%
figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True)
for axis, samples, title in zip(axes, (noisy, cleaned.samples), ("noisy", "cleaned"), strict=True):
    magnitudes = np.abs(audio.analyse(samples[0])).T
    axis.imshow(np.log10(magnitudes + 1e-4), origin="lower", aspect="auto")
    axis.set(ylabel="frequency bin", title=f"{title}: magnitudes, logarithmic")
axes[1].set_xlabel("token (8 ms each)")
figure.tight_layout()
figure.savefig(folder / "spectrograms.png")

# %% [markdown]
# ## Sound while it comes
#
# A `DenoiserStream` takes hops of 128 samples and gives out as many, a fixed delay later. Nothing
# else differs: the samples are the same.

# %%
stream = s5.DenoiserStream(bundle, grid=128)
hops = [stream.process(noisy[0, start : start + 128]) for start in range(0, 8 * audio.RATE, 128)]
streamed = np.concatenate([*hops, stream.finish()])[stream.delay :]
print(f"delay {stream.delay / audio.RATE * 1e3:.0f} ms")
difference = np.abs(streamed - cleaned.samples[0]).max()
print(f"largest difference to the whole recording: {difference:.1e}")
assert difference < 1e-9

# %% [markdown]
# In a shell it is `s5-to-loihi stream --bundle denoiser.bundle < noisy.wav > cleaned.wav`, or
# `--live` with a microphone.
#
# ## A test set
#
# `evaluate` takes folders of noisy and clean recordings with equal names. Here four cuts of the
# shipped clip stand in for a test set.

# %%
for name, sound in (("noisy", NOISY), ("clean", CLEAN)):
    samples = audio.resample(audio.read_wav(sound)).samples
    (folder / name).mkdir()
    for cut in range(4):
        part = samples[:, cut * 4 * audio.RATE : (cut + 1) * 4 * audio.RATE]
        audio.write_wav(folder / name / f"cut{cut}.wav", part)

subprocess.run(
    [
        *(sys.executable, "-m", "s5_to_loihi", "evaluate", str(bundle)),
        *("--noisy", str(folder / "noisy"), "--clean", str(folder / "clean")),
        *("--float", str(CHECKPOINT), "-o", str(folder / "results")),
    ],
    check=True,
)

# %% [markdown]
# What it found lies in the folder: `results.json`, a row a clip in `clips.csv`, and a picture.

# %%
with open(folder / "results" / "clips.csv", newline="") as file:
    rows = list(csv.reader(file))
print(len(rows) - 1, "rows with the columns", ", ".join(rows[0][:6]), "...")
