"""A compiled network between Lava processes of your own.

    python examples/lava_network.py [--fine-grained]

Compiles the shipped denoiser, connects its ports to Lava's stock RingBuffers, runs a few tokens
and compares what comes out with the interpreter.
"""

import argparse

import numpy as np

from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.process_models.process import S5Network
from s5_to_loihi.simulators.interpreter import Interpreter

from lava.magma.core.run_conditions import RunSteps  # isort: skip
from lava.magma.core.run_configs import Loihi2SimCfg  # isort: skip
from lava.proc.io.sink import RingBuffer as Sink  # isort: skip
from lava.proc.io.source import RingBuffer as Source  # isort: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fine-grained", action="store_true", help="a Lava process a group")
    arguments = parser.parse_args()

    compiled = compile_export(DENOISER)
    network = compiled.network
    assert compiled.vectors
    tokens = compiled.vectors.tokens[:10, 0]  # (tokens, features)
    timesteps = len(tokens) + network.latency

    # A RingBuffer repeats its data: pad it with zeros to the length of the run.
    padded = np.zeros((network.input_size, timesteps), dtype=np.int32)
    padded[:, : len(tokens)] = tokens.T
    source = Source(data=padded)
    s5 = S5Network(network=network)
    sink = Sink(shape=(network.output_size,), buffer=timesteps)
    source.s_out.connect(s5.inp)
    s5.out.connect(sink.a_in)

    configuration = Loihi2SimCfg(
        select_tag="fixed_pt", select_sub_proc_model=arguments.fine_grained
    )
    try:
        sink.run(condition=RunSteps(num_steps=timesteps), run_cfg=configuration)
        received = sink.data.get().astype(np.int64)
    finally:
        sink.stop()

    outputs = received[:, network.latency :].T
    expected = Interpreter(network).evaluate(tokens[:, None]).outputs[:, 0]
    print(f"{len(outputs)} outputs after {network.latency} timesteps")
    print(f"equal to the interpreter: {np.array_equal(outputs, expected)}")


# Lava starts processes: without this guard they would start the script again.
if __name__ == "__main__":
    main()
