# %% [markdown]
# # S5 inside a Lava network of your own
#
# A compiled S5 is a Lava Process with an input and an output port, so it can stand between
# Processes of yours; and it can stand between layers of lava-dl in one `.net` file. It takes
# about a minute. It needs lava-nc (`make demo` installs it) and h5py (`pip install
# 's5_to_loihi[netx]'`); neither lava-dl nor a board.

# %%
# Before any import of Lava, which it repairs on Python 3.11 to 3.13.
from s5_to_loihi.process_models.process import S5Block, S5Network  # isort: skip

import itertools
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

import s5_to_loihi as s5
from s5_to_loihi import audio
from s5_to_loihi.demo import CALIBRATION, CHECKPOINT
from s5_to_loihi.network.network import Network
from s5_to_loihi.netx.writing import write_layers, write_mixed

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A network of integers
#
# As in the [first tutorial](checkpoint_to_price.py).

# %%
typical = audio.resample(audio.read_wav(CALIBRATION))
frames = audio.features(audio.analyse(typical.samples[0]))[:1500]
denoiser = s5.quantize(CHECKPOINT, frames).bundle.network

# %% [markdown]
# ## Between Processes of your own
#
# `S5Network` takes a token of integers each timestep; what a token gives leaves `network.latency`
# timesteps later. `as_tokens` makes integers of values. Here the neighbours are Lava's stock
# buffers.


# %%
def run_in_a_row(processes: list, values: np.ndarray) -> np.ndarray:
    """Send (timesteps, features) through Processes and return what the last one sends."""
    source = Source(data=values.T.astype(np.int32))
    sink = Sink(shape=processes[-1].out.shape, buffer=len(values))
    source.s_out.connect(processes[0].inp)
    for one, other in itertools.pairwise(processes):
        one.out.connect(other.inp)
    processes[-1].out.connect(sink.a_in)
    try:
        sink.run(condition=RunSteps(len(values)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        return sink.data.get().T.astype(np.int64)
    finally:
        sink.stop()


tokens, _ = s5.as_tokens(denoiser, frames[:60])
received = run_in_a_row([S5Network(network=denoiser)], tokens[:, 0])
expected = s5.Interpreter(denoiser).evaluate(tokens).outputs[:, 0]
late = denoiser.latency
print("equal to the interpreter:", np.array_equal(received[late:], expected[: len(tokens) - late]))
assert np.array_equal(received[late:], expected[: len(tokens) - late])

# %% [markdown]
# `Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True)` runs a Process for every group
# and synapse instead, as on the chip, with the same integers. The masks over time:

# %%
plt.figure(figsize=(7, 3))
plt.imshow(received[late:].T, origin="lower", aspect="auto")
plt.title("The mask that the network puts out, as integers")
plt.xlabel("timestep")
plt.ylabel("frequency bin")
plt.colorbar()
plt.tight_layout()
plt.savefig(folder / "masks.png")

# %% [markdown]
# ## Between layers of lava-dl
#
# A `.net` file holds layers of lava-dl. Usually SLAYER exports it; here we write a sigma-delta
# input of 257 values, and behind the S5 a layer that adds its masks up in eight bands.

# %%
sigma_delta = {"neuron/type": "SDNN", "neuron/activation": "relu", "neuron/vThMant": 1}
bands = np.zeros((8, 257), dtype=np.float32)
for band in range(8):
    bands[band, band * 32 : (band + 1) * 32] = 2.0
write_layers([{"type": "input", "shape": np.array([257]), **sigma_delta}], folder / "front.net")
layer = {"type": "dense", "shape": np.array([8]), "weight": bands, "inFeatures": 257}
write_layers(
    [
        {"type": "input", "shape": np.array([257]), **sigma_delta},
        {**layer, "outFeatures": 8, **sigma_delta, "neuron/sigma_output": True},
    ],
    folder / "back.net",
)

# %% [markdown]
# `write_mixed` (in a shell: `s5-to-loihi join`) puts them behind one another in one file, and
# `compile_netx` makes one network of it.

# %%
write_mixed([folder / "front.net", denoiser, folder / "back.net"], folder / "mixed.net")
mixed = s5.compile_netx(folder / "mixed.net", tokens=frames[:60, None])
assert mixed.vectors is not None
for backend in (s5.Backend.INTERPRETER, s5.Backend.FAST):
    result = s5.verify_run(mixed.network, mixed.vectors, backend, s5.Mode.PIPELINED)
    print(f"{backend.value}: equal: {result.equal}")
    assert result.equal
print(
    len(mixed.network.groups),
    "groups;",
    mixed.network.input_size,
    "in,",
    mixed.network.output_size,
    "out",
)

# %% [markdown]
# ## The same between Processes
#
# What netx layers exchange are differences. `S5Block` adds them up, computes, and sends how its
# outputs change; `start` says how many timesteps pass before its first token. The front of the
# file as a Process of its own, then the block:

# %%
front: Network = s5.compile_netx(folder / "front.net").network
block = S5Block(network=denoiser, threshold=1, start=front.latency)
values = mixed.vectors.tokens[:, 0]
changes = run_in_a_row([S5Network(network=front, name="front"), block], values)
print(f"{np.count_nonzero(changes):,} differences in {len(changes)} timesteps")
assert changes.any()
