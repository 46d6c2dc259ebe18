"""Lava Processes: the network as a whole, its neuron groups, and what feeds and reads it.

``S5Network`` is what users connect: ``inp`` takes one token of integers a timestep, ``out`` gives
one output. ``Loihi2SimCfg(select_tag="fixed_pt")`` runs it as one fused process (fast);
``Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True)`` as one process for each group
and each synapses, as on the chip. Both give the same integers in the same timesteps.
"""

from s5_to_loihi.lava_runtime import shim as lava_shim

lava_shim.install()

import numpy as np  # noqa: E402
from lava.magma.core.process.ports.ports import InPort, OutPort  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.process.variable import Var  # noqa: E402

from s5_to_loihi.errors import InputError  # noqa: E402
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan  # noqa: E402
from s5_to_loihi.network.network import Network, NeuronGroup  # noqa: E402
from s5_to_loihi.network.neurons import NeuronKind, known_kinds  # noqa: E402
from s5_to_loihi.network.programs import NeuronProgram  # noqa: E402
from s5_to_loihi.simulators.interpreter import Mode  # noqa: E402

TOKENS_WANTED = (
    "Convert values first: tokens, _ = s5_to_loihi.as_tokens(network, values), which are int32"
)


class TokenPort(InPort):
    """Takes tokens, integers of the input format, from whatever is connected.

    A source of floats is refused when it is connected: with the tag ``fixed_pt`` Lava would cut
    them to integers without a word, which are other tokens.
    """

    def _add_inputs(self, inputs):
        for port in inputs:
            data = getattr(getattr(port, "process", None), "data", None)
            sent = getattr(data, "init", None)
            if isinstance(sent, np.ndarray) and sent.dtype.kind == "f":
                raise InputError(
                    f"input of {self.process.name}", f"gets {sent.dtype}", TOKENS_WANTED
                )
        super()._add_inputs(inputs)


class S5Network(AbstractProcess):
    """A compiled network.

    The output of the token that arrives in timestep t leaves in timestep ``t + network.latency``.
    In the mode ``fall-through`` tokens are taken every ``network.latency`` timesteps from the
    first on; what arrives in between is ignored. The fused process runs the fast simulator, whose
    kernels are compiled the first time that a network runs, for some seconds.

    Ports:
        inp: (input features,) integers of ``network.input_format``, which
            ``s5_to_loihi.as_tokens`` makes of values; a source of floats is refused (InputError).
        out: (output features,) integers of ``network.output_format``; zero while there is none.
    """

    def __init__(
        self,
        *,
        network: Network,
        mode: Mode = Mode.PIPELINED,
        job: str | None = None,
        plan: ChipPlan | None = None,
        name: str = "network",
    ):
        """Create the Process.

        Args:
            network: verified, with aligned delays.
            mode: how tokens follow one another.
            job: a folder in which values are recorded and exceptions reported, if given.
            plan: of a run in the chip's own time, one process a group; such a run is pipelined
                and nothing of it is recorded.
            name: of the Process.
        """
        super().__init__(network=network, mode=Mode(mode), job=job, plan=plan, name=name)
        self.inp = TokenPort(shape=(network.input_size,))
        self.out = OutPort(shape=(network.output_size,))


class NeuronProcess(AbstractProcess):
    """A neuron group: one input port a dendritic accumulator, one output port a message.

    Subclasses name the kind. Ports, messages and state registers are attributes with the names
    that the kind gives them; registers are Vars of shape (neurons,).
    """

    kind: NeuronKind

    def __init__(
        self,
        *,
        group: NeuronGroup,
        period: int = 1,
        job: str | None = None,
        plan: ChipPlan | None = None,
        program: NeuronProgram | None = None,
    ):
        """Create the Process.

        Args:
            group: of this class's kind, with its phase set.
            period: timesteps from one update to the next; the first is in the group's phase.
            job, plan: see ``S5Network``.
            program: of the group, where there is a plan.
        """
        super().__init__(
            group=group, period=period, job=job, plan=plan, program=program, name=group.name
        )
        shape = (group.size,)
        for port in self.kind.ports:
            setattr(self, port, InPort(shape=shape))
        for register in self.kind.state:
            setattr(self, register, Var(shape=shape, init=0))
        for message in self.kind.messages:
            setattr(self, message, OutPort(shape=shape))


def _neuron_process(kind: NeuronKind) -> type[NeuronProcess]:
    """Return the Process of a kind, a class of its own: Lava finds models by it."""
    name = "".join(map(str.capitalize, kind.name.split("_")))
    body = {"kind": kind, "__module__": __name__, "__doc__": f"Neurons: {kind.title}."}
    return type(f"{name}Neurons", (NeuronProcess,), body)


#: The Process of each kind, by the kind's name.
NEURON_PROCESSES = {name: _neuron_process(kind) for name, kind in known_kinds().items()}
# Lava and pickle look for classes by their names in this module.
globals().update({process.__name__: process for process in NEURON_PROCESSES.values()})


class DelayLine(AbstractProcess):
    """Holds what it receives for ``latency`` timesteps: the delay of synapses on the CPU.

    Lava's own DelaySparse takes milliseconds a timestep, this takes microseconds.
    """

    title = "delay"

    def __init__(
        self, *, size: int, latency: int = 0, job: str | None = None, name: str | None = None
    ):
        """Create the Process for vectors of ``size`` values."""
        super().__init__(size=size, latency=latency, job=job, name=name or self.title)
        self.inp = InPort(shape=(size,))
        self.out = OutPort(shape=(size,))


class ChipInput(DelayLine):
    """Hands tokens from the host to the chip; on a board an adapter on an embedded processor.

    On the CPU it waits for ``latency`` timesteps, so that a board run can be rehearsed.
    """

    title = "chip input"


class ChipOutput(DelayLine):
    """Hands outputs from the chip to the host, in 24 bits without their sign.

    On the CPU it waits for ``latency`` timesteps, so that a board run can be rehearsed.
    """

    title = "chip output"


class TokenStream(AbstractProcess):
    """Sends tokens to a network and writes its outputs into a file: both in one process, for speed.

    Ports:
        out: one token every ``period`` timesteps from the first on, zeros in between and after.
        inp: outputs; every ``period``-th from timestep ``latency`` on is written.
    """

    def __init__(
        self,
        *,
        tokens: np.ndarray,
        file: str,
        output_size: int,
        latency: int,
        period: int = 1,
        job: str | None = None,
        name: str = "token stream",
    ):
        """Create the Process.

        Args:
            tokens: (tokens, features) integers of the input format.
            file: an int32 .npy file of shape (tokens, output_size) that exists already.
            output_size: features of an output.
            latency: timesteps from a token to its output.
            period: timesteps from one token to the next.
            job: a folder in which progress and exceptions are reported, if given.
            name: of the Process.

        Raises:
            InputError: the tokens are floats.
        """
        super().__init__(
            tokens=tokens, file=file, latency=latency, period=period, job=job, name=name
        )
        # After it, since Lava's own destructor needs what it sets.
        if tokens.dtype.kind not in "iu":
            raise InputError(name, f"got {tokens.dtype}", TOKENS_WANTED)
        self.out = OutPort(shape=tokens.shape[1:])
        self.inp = InPort(shape=(output_size,))
