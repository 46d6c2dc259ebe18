# %% [markdown]
# # From a checkpoint to a verified network and its price
#
# You have a trained, sparse S5 model in floats. At the end you know what its integers lose, that
# they are computed alike everywhere, how many cores of a Loihi 2 they take, and what a token
# costs. It takes about a minute; no board is needed, and everything about time and energy comes
# from a model of the chip.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import s5_to_loihi as s5
from s5_to_loihi import audio
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The model and typical input
#
# The package ships a speech denoiser: 257 magnitudes of a spectrum in, 257 values of a mask out,
# three blocks of width 48, 90 % of its weights zero. `load` reads any supported checkpoint and
# says what it had to guess.

# %%
loaded = s5.load(CHECKPOINT)
print(loaded.model.name, "with", len(loaded.model.blocks), "blocks")
for note in loaded.notes:
    print("note:", note)

# %% [markdown]
# Calibration data are typical input: here frames of noisy speech, (tokens, features).

# %%
recording = audio.resample(audio.read_wav(CALIBRATION))
frames = audio.features(audio.analyse(recording.samples[0]))[:1500]
print(frames.shape)

# %% [markdown]
# ## Integers
#
# `quantize` chooses a format for every tensor, rounds, and measures on the part of the data that
# it held out. The signal-to-quantization-noise ratio (SQNR) compares the network's outputs with
# those of the float model.

# %%
made = s5.quantize(CHECKPOINT, frames)
network = made.bundle.network
print(f"SQNR {made.report.signal_to_noise:.1f} dB on {made.report.held_out_tokens} held-out tokens")
print(
    len(network.groups), "groups,", network.synapse_count, "synapses,", network.latency, "timesteps"
)

# %% [markdown]
# ## The same integers everywhere
#
# The bundle carries recorded tokens and the integers that they lead to. Two simulators run them
# here; `s5-to-loihi verify` also runs Lava, if it is installed.

# %%
vectors = made.bundle.vectors
assert vectors is not None
for backend in (s5.Backend.INTERPRETER, s5.Backend.FAST):
    result = s5.verify_run(network, vectors, backend, s5.Mode.PIPELINED)
    compared = sum(tensor.compared for tensor in result.tensors)
    print(f"{backend.value}: {compared:,} integers, equal: {result.equal}")
    assert result.equal

# %% [markdown]
# ## Fewer bits
#
# What would 4-bit weights lose? Every width is one argument away.

# %%
widths = (4, 6, 8)
ratios = []
for width in widths:
    trial = s5.quantize(CHECKPOINT, frames, precision=s5.Precision(weights=width))
    ratios.append(trial.report.signal_to_noise or 0.0)
    print(f"{width} bits: {ratios[-1]:.1f} dB, {trial.bundle.network.synapse_count} synapses")

plt.figure(figsize=(6, 3))
plt.bar([f"{width} bits" for width in widths], ratios)
plt.ylabel("SQNR, dB")
plt.title("Wider weights come closer to the float model")
plt.tight_layout()
plt.savefig(folder / "bits.png")

# %% [markdown]
# ## Cores and costs
#
# `map_network` decides which neuron lies on which core; `profile` counts what happens for each
# token and says what it costs, in both modes, with the range that the constants leave open.

# %%
mapping, evaluation = s5.map_network(made.bundle)
cores = np.unique(np.concatenate(list(mapping.cores.values())))
print(f"{len(cores)} cores of {mapping.system}")

profile = s5.profile(made.bundle)
for name, mode in profile.modes.items():
    latency, energy = mode.latency, mode.energy["neurocore rails"].total
    print(f"{name}: {latency.value:.1f} µs ({latency.low:.1f} to {latency.high:.1f}),", end=" ")
    print(f"{energy.value:.2f} µJ ({energy.low:.2f} to {energy.high:.2f}) a token, modelled")

# %% [markdown]
# Where the energy of a token goes:

# %%
parts = ("synaptic", "neuron", "communication", "static")
figure, axes = plt.subplots(1, 2, figsize=(7, 3))
for axis, (name, mode) in zip(axes, profile.modes.items(), strict=True):
    split = mode.energy["neurocore rails"]
    axis.barh(parts, [getattr(split, part).value for part in parts])
    axis.set(title=name, xlabel="µJ a token, modelled")
plt.tight_layout()
plt.savefig(folder / "energy.png")

# %% [markdown]
# ## Keep it
#
# A bundle is a directory; the commands take it from here: `s5-to-loihi verify`, `map`, `profile`,
# `report`.

# %%
s5.write(made.bundle, folder / "denoiser.bundle")
again = s5.read(folder / "denoiser.bundle")
print("written to", folder, "and read again:", again.network.name)
