# %% [markdown]
# # Train a sparse classifier and bring it to the chip
#
# From an array of labelled sequences to a verified network of integers, with the trainer of this
# package: floats first, pruned on the way, then some epochs as the integers that are deployed. It
# needs PyTorch (`pip install 's5_to_loihi[train]'`), no GPU, and about a minute.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import s5_to_loihi as s5
from s5_to_loihi.evaluation.packages import require

require("train")
from s5_to_loihi.training.recipe import read_recipe  # noqa: E402
from s5_to_loihi.training.training import train  # noqa: E402

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Data
#
# Three classes of noisy oscillations that differ in frequency. An `.npz` with `inputs`, (tokens,
# sequences, features), and `labels`, (sequences,), is all that the trainer wants.


# %%
def oscillations(sequences: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, sequences)
    time = np.arange(32)[:, None]
    phase = random.uniform(0, 2 * np.pi, (sequences, 4))
    frequency = np.array([0.15, 0.3, 0.6])[labels]
    inputs = np.sin(frequency[None, :, None] * time[..., None] + phase)
    return inputs + random.normal(0, 0.5, inputs.shape), labels


inputs, labels = oscillations(240, 1)
np.savez(folder / "train.npz", inputs=inputs, labels=labels)
test_inputs, test_labels = oscillations(120, 2)
np.savez(folder / "test.npz", inputs=test_inputs, labels=test_labels)

plt.figure(figsize=(6, 3))
for label in range(3):
    plt.plot(inputs[:, labels == label][:, 0, 0], label=f"class {label}")
plt.title("A feature of one sequence of each class")
plt.xlabel("token")
plt.ylabel("input")
plt.legend()
plt.tight_layout()
plt.savefig(folder / "data.png")

# %% [markdown]
# ## A recipe
#
# One YAML file says everything; `docs/training.md` has all keys. 80 % of the weights are pruned
# while training goes on, and integers are trained for two epochs at the end.

# %%
(folder / "recipe.yaml").write_text(
    """
name: oscillations
data: {train: train.npz, test: test.npz}
readout: mean
model: {width: 16, blocks: 1, steps: [0.01, 1.0]}
training: {epochs: 12, rate: 0.02}
sparsity: {sparsity: 0.8}
integers: {weights: 8, epochs: 2}
machine: {accelerator: cpu}
"""
)
trained = train(read_recipe(folder / "recipe.yaml"), folder / "out")
for name, score in trained.scores.items():
    print(f"{name}: {score:.3g} {trained.score_unit} ({trained.score_name})")
print(f"{trained.sparsity:.0%} of the weights are zero")

# %% [markdown]
# In a shell: `s5-to-loihi train recipe.yaml -o out`. Kill it and start it again, and it goes on
# where it was.
#
# ## To the chip
#
# What the training gives is a bundle like any other.

# %%
bundle = s5.read(trained.bundle)
assert bundle.vectors is not None
assert s5.verify_interpreter(bundle.network, bundle.vectors).equal
outputs = s5.simulate(bundle, test_inputs).outputs  # (tokens, sequences, classes)
right = (outputs[-1].argmax(axis=-1) == test_labels).mean()
print(f"{right:.0%} of {len(test_labels)} test sequences right, in integers")
assert right > 0.5

profile = s5.profile(bundle)
latency = profile.modes["fall-through"].latency
print(f"{latency.value:.1f} µs a token falling through, modelled")
print(f"({latency.low:.1f} to {latency.high:.1f})")
