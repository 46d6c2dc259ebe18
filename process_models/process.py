"""Lava Processes: the network as a whole, its neuron groups, and what feeds and reads it.

``S5Network`` is what users connect: ``inp`` takes one token of integers a timestep, ``out`` gives
one output. ``Loihi2SimCfg(select_tag="fixed_pt")`` runs it as one fused process (fast);
``Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True)`` as one process for each group
and each synapses, as on the chip. Both give the same integers in the same timesteps.
"""

from s5_to_loihi.lava_runtime import shim as lava_shim

lava_shim.install()

from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
from lava.magma.core.process.ports.ports import InPort, OutPort  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.process.variable import Var  # noqa: E402

from s5_to_loihi.errors import InputError  # noqa: E402
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan  # noqa: E402
from s5_to_loihi.lava_runtime.times import Times  # noqa: E402
from s5_to_loihi.network.block import SPIKE_EXP, as_block  # noqa: E402
from s5_to_loihi.network.gating import MARKER  # noqa: E402
from s5_to_loihi.network.network import Network, NeuronGroup, Synapses  # noqa: E402
from s5_to_loihi.network.neurons import NeuronKind, known_kinds  # noqa: E402
from s5_to_loihi.network.programs import NeuronProgram  # noqa: E402
from s5_to_loihi.network.widths import MESSAGE_BITS  # noqa: E402
from s5_to_loihi.passes.pipeline import run_passes  # noqa: E402
from s5_to_loihi.simulators.interpreter import Mode  # noqa: E402
from s5_to_loihi.simulators.sums import State  # noqa: E402

#: The state of a network that begins at zero.
NOTHING: State = {}
#: Processes of Lava's whose messages are differences.
DIFFERENCES = ("Delta", "SigmaDelta")


TOKENS_WANTED = (
    "Convert values first: tokens, _ = s5_to_loihi.as_tokens(network, values), which are int32"
)


class WholePort(InPort):
    """Takes integers from whatever is connected.

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


class TokenPort(WholePort):
    """Takes tokens: it refuses to be connected to what sends differences."""

    def _add_inputs(self, inputs):
        for port in inputs:
            sender = getattr(port, "process", None)
            layers = getattr(sender, "layers", None)
            last = layers[-1] if isinstance(layers, list) and layers else sender
            neuron = getattr(last, "neuron", None) or last
            if type(neuron).__name__ in DIFFERENCES:
                raise InputError(
                    f"port inp of {getattr(self.process, 'name', 'a network')}",
                    f"takes tokens, {type(neuron).__name__} sends differences",
                    "Use S5Block, which adds them up, or end with a sum (sigma_output)",
                )
        super()._add_inputs(inputs)


class S5Network(AbstractProcess):
    """A compiled network.

    The output of the token that arrives in timestep t leaves in timestep ``t + network.latency``.
    Differences, as netx's sigma-delta layers send them, are no tokens: connecting one raises an
    error; ``S5Block`` takes them.
    In the mode ``fall-through`` tokens are taken every ``network.latency`` timesteps from the
    first on; what arrives in between is ignored. The fused process runs the fast simulator, whose
    kernels are compiled the first time that a network runs, for some seconds.

    Ports:
        inp: (input features,) integers of ``network.input_format``, which
            ``s5_to_loihi.as_tokens`` makes of values; a source of floats is refused (InputError).
        out: (output features,) integers of ``network.output_format``; zero while there is none.
    """

    _in_port: type[InPort] = TokenPort
    #: Lava looks for it when a Process goes, even one that was refused before it was made.
    _runtime = None
    #: Called with the Processes of the groups by name, when Lava has asked for them.
    when_built: Callable[[dict], None] | None = None

    def __init__(
        self,
        *,
        network: Network,
        mode: Mode = Mode.PIPELINED,
        job: str | None = None,
        plan: ChipPlan | None = None,
        start: int = 0,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        name: str = "network",
    ):
        """Create the Process.

        Args:
            network: verified, with aligned delays.
            mode: how tokens follow one another.
            start: how many timesteps pass before the first token arrives. What arrives earlier is
                no token, and nothing is sent for it; differences are added up even so.
            reset_interval: timesteps from one sequence to the next, on the CPU: the registers go
                back to where they began before the token that arrives then. What stands for what
                others have sent or been told does not. None: one sequence.
            reset_offset: a token that arrives in this timestep, counted from 0, begins a sequence,
                and every ``reset_interval`` timesteps before and after.
            job: a folder in which values are recorded and exceptions reported, if given.
            plan: of a run in the chip's own time, one process a group; nothing of it is recorded,
                and the mode is the plan's. In fall-through ``inp`` has one more feature, the
                token's marker (``network/gating.py``).
            name: of the Process.

        Raises:
            InputError: a start or a reset that is no timestep.
        """
        times = Times(start, reset_interval, reset_offset)
        super().__init__(
            network=network, mode=Mode(mode), job=job, plan=plan, times=times, name=name
        )
        size = network.input_size if plan is None else plan.input_size(network)
        leaving = network.output if plan is None else plan.leaving(network)
        self.inp = self._in_port(shape=(size,))
        self.out = OutPort(shape=(network.message_size(leaving),))


class S5Block(S5Network):
    """A compiled network between layers of netx: differences in, differences out.

    It has the ports and attributes of netx's blocks. What arrives is added up to tokens; how the
    outputs change is sent without drift. Latency is two timesteps more than the network's.

    Attributes:
        shape: of what leaves.
        input_message_bits, output_message_bits: as netx's blocks have them.
        latency: timesteps from a message to the one that it becomes.

    Ports:
        inp: (input features,) differences in 2**-12 (for the usual spike exponent of 6).
        out: (output features,) likewise.
    """

    _in_port = WholePort

    def __init__(
        self,
        *,
        network: Network,
        threshold: int,
        spike_exp: int = SPIKE_EXP,
        input_message_bits: int = MESSAGE_BITS,
        start: int = 0,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        job: str | None = None,
        name: str = "block",
    ):
        """Create the Process.

        Args:
            network: verified, one output a token.
            threshold: least change that is sent, in units of 2**-6, as netx's vThMant.
            spike_exp: of the layers around: messages have ``6 + spike_exp`` fractional bits.
            input_message_bits: of the layer before; 0 would be bits, which are no differences.
            start: how many timesteps pass before the first token arrives: one for each layer before
                that has synapses.
            reset_interval: as of netx's Network.
            reset_offset: as netx counts it: its own ``reset_offset``, and one for each layer with
                neurons before this block.
            job, name: see ``S5Network``.

        Raises:
            InputError: messages of the layer before are bits, or a time is no timestep.
        """
        if input_message_bits == 0:
            raise InputError(
                name, "adds up differences; the layer before sends bits", "Put sigma-delta before"
            )
        wrapped = run_passes(as_block(network, threshold, spike_exp))
        super().__init__(
            network=wrapped, job=job, start=start, reset_interval=reset_interval,
            reset_offset=reset_offset, name=name,
        )  # fmt: skip
        self.shape = (wrapped.output_size,)
        self.input_message_bits = input_message_bits
        self.output_message_bits = MESSAGE_BITS
        self.latency = wrapped.latency


class NeuronProcess(AbstractProcess):
    """A neuron group: one input port a dendritic accumulator, one output port a message.

    Subclasses name the kind. One more port takes the markers of tokens, in fall-through on the
    chip. Ports, messages and state registers are attributes with the names
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
        times: Times = Times(),
        back: tuple[Synapses, ...] = (),
        begun: State = NOTHING,
    ):
        """Create the Process.

        Args:
            group: of this class's kind, with its phase set.
            period: timesteps from one update to the next; the first is in the group's phase.
            job, plan: see ``S5Network``.
            program: of the group, where there is a plan.
            times: when tokens and sequences begin.
            back: synapses from the group to itself, which are a part of it.
            begun: the network's state before the first token; where it is not given, zero.
        """
        super().__init__(
            group=group,
            period=period,
            job=job,
            plan=plan,
            program=program,
            times=times,
            back=back,
            begun=begun,
            name=group.name,
        )
        shape = (group.size,)
        registers = dict(zip(self.kind.state, begun.get(group.name, ()), strict=False))
        for port in self.kind.ports:
            setattr(self, port, InPort(shape=shape))
        setattr(self, MARKER, InPort(shape=shape))
        for register in self.kind.state:
            init = registers[register][0] if register in registers else 0
            setattr(self, register, Var(shape=shape, init=init))
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


class WrappingSynapses(AbstractProcess):
    """Synapses whose sums wrap to 32 bits, and whose products may.

    What arrives leaves a timestep later, multiplied. Lava's Sparse would lose a sum's highest bit.
    """

    def __init__(self, *, synapses: Synapses, job: str | None = None):
        """Create the Process."""
        super().__init__(synapses=synapses, job=job, name=synapses.name)
        targets, sources = synapses.weights.shape
        self.s_in = InPort(shape=(sources,))
        self.a_out = OutPort(shape=(targets,))


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
