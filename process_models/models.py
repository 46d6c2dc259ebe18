"""Process models for the CPU, exact in every integer (tag ``fixed_pt``).

The arithmetic is that of the neuron kinds and of the interpreter; here are only ports and time.
"""

from s5_to_loihi.lava_runtime import shim as lava_shim

lava_shim.install()

import functools  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections import deque  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.model.py.model import PyLoihiProcessModel  # noqa: E402
from lava.magma.core.model.py.ports import PyInPort, PyOutPort  # noqa: E402
from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.model.sub.model import AbstractSubProcessModel  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.graded.process import GradedReluVec, GradedVec  # noqa: E402
from lava.proc.sparse.process import DelaySparse, Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402

from s5_to_loihi.fixed_point import wrap  # noqa: E402
from s5_to_loihi.inputs import refuse_floats  # noqa: E402
from s5_to_loihi.lava_runtime import stock, supervisor  # noqa: E402
from s5_to_loihi.lava_runtime.chip_plan import Lowering, message_width  # noqa: E402
from s5_to_loihi.lava_runtime.recording import open_recording, open_states  # noqa: E402
from s5_to_loihi.network import gating  # noqa: E402
from s5_to_loihi.network.block import adds_up, lasts  # noqa: E402
from s5_to_loihi.network.network import INPUT  # noqa: E402
from s5_to_loihi.network.widths import (  # noqa: E402
    MESSAGE_BITS,
    RETURNED_BITS,
    STATE_BITS,
    WEIGHT_BITS,
    WORD_BITS,
)
from s5_to_loihi.process_models.process import (  # noqa: E402
    NEURON_PROCESSES,
    ChipInput,
    ChipOutput,
    DelayLine,
    S5Block,
    S5Network,
    TokenStream,
    WrappingSynapses,
)
from s5_to_loihi.simulators.fast import FastSimulator  # noqa: E402
from s5_to_loihi.simulators.interpreter import Interpreter, period  # noqa: E402
from s5_to_loihi.simulators.sums import (  # noqa: E402
    FromItself,
    matrix_of,
    multiplied,
    wait,
)

IN = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=MESSAGE_BITS)
#: How often progress is reported: a report costs a file opened and closed.
REPORT_SECONDS = 0.02
OUT = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=MESSAGE_BITS)
STOCK_NEURONS = {stock.GRADED: GradedVec, stock.RECTIFIED: GradedReluVec}


def _reported(method):
    """Wrap a model's method so that its exceptions are seen: Lava itself would wait for ever."""

    @functools.wraps(method)
    def wrapped(self, *arguments):
        try:
            method(self, *arguments)
        except Exception:
            # While the model is being made, its parameters are the method's argument.
            parameters = arguments[0] if arguments else self.proc_params
            name, job = parameters["name"], parameters["job"]
            if job is None:
                print(f"Lava process '{name}' failed:", file=sys.stderr)
                traceback.print_exc()
                print("Lava waits for it without end: stop the run (Ctrl-C)", file=sys.stderr)
            else:
                supervisor.report_error(Path(job), name)
            raise

    return wrapped


def _cpu_model(process):
    """Declare a model for the CPU."""

    def decorate(cls):
        cls.__init__ = _reported(cls.__init__)
        cls.run_spk = _reported(cls.run_spk)
        decorated = implements(proc=process, protocol=LoihiProtocol)(cls)
        return tag("fixed_pt")(requires(CPU)(decorated))

    return decorate


def _integers(token, network):
    """Return a token that Lava carried as floats, which it does where no tag is selected."""
    if token.dtype.kind != "f":
        return token
    whole = token.astype(np.int32)
    if (whole != token).any():
        refuse_floats(network, token, "token")
    return whole


class PyNeuronModel(PyLoihiProcessModel):
    """Runs the arithmetic of a group's kind, in the timesteps of its phase."""

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.group = proc_params["group"]
        self.period = proc_params["period"]
        self.plan = proc_params["plan"]
        self.recording = open_recording(proc_params["job"], self.group)
        self.states = open_states(proc_params["job"], self.plan, self.group)
        self.idle = np.zeros(self.group.size, dtype=np.int32)
        self.back = FromItself(self.group, proc_params["back"])
        self.times = proc_params["times"]
        self.first_waiting = proc_params["begun"]
        self.waiting = dict(self.first_waiting)
        zero = np.zeros((1, self.group.size), dtype=np.int64)
        begun = self.first_waiting.get(self.group.name, (zero,) * len(self.group.kind.state))
        self.begun = tuple(register[0] for register in begun)

    def run_spk(self):
        """Receive all accumulators; in phase, update and send; else send zeros."""
        self._run()
        if self.states is not None and self.time_step <= len(self.states):
            registers = [getattr(self, name) for name in self.group.kind.state]
            self.states[self.time_step - 1] = registers

    def _run(self):
        kind = self.group.kind
        accumulators = tuple(getattr(self, port).recv().astype(np.int64) for port in kind.ports)
        arrived = self.time_step - 1 - self.group.phase
        update, offset = divmod(arrived - self.times.start, self.period)
        # Differences are added up from the first on: later ones go on from them.
        early = update < 0 <= arrived and adds_up(self.group)
        if self.plan is not None and self.plan.gated:
            self._run_gated(accumulators)
            return
        if self.plan is None and (update < 0 or offset != 0) and not early:
            for message in kind.messages:
                getattr(self, message).send(self.idle)
            return
        registers = tuple(getattr(self, name).astype(np.int64) for name in kind.state)
        if self._begins(arrived):
            registers, self.waiting = self.begun, dict(self.first_waiting)
        if self._starts_on_chip():
            registers = tuple(np.zeros_like(register) for register in registers)
        accumulators = self._due(accumulators, registers)
        registers, messages, probes = kind.update(accumulators, registers, self.group.constants)
        for name, value in zip(kind.state, registers, strict=True):
            setattr(self, name, value.astype(np.int32))
        for name, value in zip(kind.messages, messages, strict=True):
            getattr(self, name).send(value.astype(np.int32))
        if self.recording is not None and 0 <= update < len(self.recording):
            self.recording[update] = registers + messages + probes

    def _run_gated(self, accumulators):
        """Update the neurons that a marker reaches, from zero where it begins a sequence."""
        kind, marker = self.group.kind, getattr(self, gating.MARKER).recv()
        registers = tuple(getattr(self, name).astype(np.int64) for name in kind.state)
        begun = tuple(np.where(marker == gating.FIRST, 0, register) for register in registers)
        updated, messages, _ = kind.update(accumulators, begun, self.group.constants)
        reached = marker != gating.NOTHING
        for name, before, after in zip(kind.state, registers, updated, strict=True):
            setattr(self, name, np.where(reached, after, before).astype(np.int32))
        for name, value in zip(kind.messages, messages, strict=True):
            getattr(self, name).send(np.where(reached, value, 0).astype(np.int32))

    def _begins(self, arrived):
        """Tell whether a sequence begins, and the registers go back to where they began."""
        if self.plan is not None or self.group.kind.lasting or arrived <= self.times.start:
            return False
        return self.times.begins(arrived, self.period)

    def _due(self, accumulators, registers):
        """Return the sums that are due: those that have waited, with what the group sent itself."""
        if not self.group.waits and not self.back.there:
            return accumulators
        sums = tuple(one[None, None] for one in accumulators)
        sums, self.waiting = wait(self.group, sums, self.waiting)
        sums = self.back.add(sums, tuple(one[None] for one in registers))
        return tuple(one[0, 0] for one in sums)

    def _starts_on_chip(self):
        if self.plan is None:
            return False
        return (self.time_step - 1) % self.plan.reset_interval == self.plan.reset_offset(self.group)


def _neuron_model(process):
    """Return the model of a kind's Process: ports and registers with the names it has."""
    kind = process.kind
    body = {"__module__": __name__, "__doc__": f"{kind.name.upper()} on the CPU."}
    body |= dict.fromkeys((*kind.ports, gating.MARKER), IN) | dict.fromkeys(kind.messages, OUT)
    body |= dict.fromkeys(kind.state, LavaPyType(np.ndarray, np.int32, precision=STATE_BITS))
    return _cpu_model(process)(type(f"Py{process.__name__}", (PyNeuronModel,), body))


# Lava looks for classes by their names in this module.
globals().update(
    {f"Py{process.__name__}": _neuron_model(process) for process in NEURON_PROCESSES.values()}
)


class PyQueue(PyLoihiProcessModel):
    """As many vectors as there are timesteps to wait; none where that takes no time."""

    inp: PyInPort = IN
    out: PyOutPort = OUT

    def __init__(self, proc_params):
        super().__init__(proc_params)
        zeros = np.zeros(proc_params["size"], dtype=np.int32)
        self.waiting = deque([zeros] * proc_params["latency"])

    def run_spk(self):
        """Send what arrived ``latency`` timesteps ago."""
        self.waiting.append(self.inp.recv())
        self.out.send(self._sent(self.waiting.popleft()))

    def _sent(self, values):
        return values


@_cpu_model(DelayLine)
class PyDelayLine(PyQueue):
    """The delay of synapses."""


@_cpu_model(WrappingSynapses)
class PyWrappingSynapses(PyLoihiProcessModel):
    """Synapses with the arithmetic of the interpreter."""

    s_in: PyInPort = IN
    a_out: PyOutPort = OUT

    def __init__(self, proc_params):
        super().__init__(proc_params)
        synapses = proc_params["synapses"]
        self.weights, self.product_bits = matrix_of(synapses.weights), synapses.product_bits
        self.sums = np.zeros(synapses.weights.shape[0], dtype=np.int32)

    def run_spk(self):
        """Send the sums of the timestep before, then make those of this one."""
        self.a_out.send(self.sums)
        messages = self.s_in.recv().astype(np.int64)
        sums = multiplied(self.weights, messages[None, None], self.product_bits)
        self.sums = wrap(sums[0, 0], WORD_BITS).astype(np.int32)


@_cpu_model(ChipInput)
class PyChipInput(PyQueue):
    """Input on the CPU."""


@_cpu_model(ChipOutput)
class PyChipOutput(PyQueue):
    """Output on the CPU: without signs, as the chip's come back."""

    def _sent(self, values):
        return values & ((1 << RETURNED_BITS) - 1)


@_cpu_model(TokenStream)
class PyTokenStream(PyLoihiProcessModel):
    """Sends a token in its timestep, writes outputs to the file, says how far the run is."""

    out: PyOutPort = OUT
    inp: PyInPort = IN

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.tokens = proc_params["tokens"].astype(np.int32)
        self.idle = np.zeros(self.tokens.shape[1], dtype=np.int32)
        self.outputs = np.asarray(np.load(proc_params["file"], mmap_mode="r+"))
        self.reported = 0.0

    def run_spk(self):
        """Send what is due, then receive and write what is due."""
        timestep, latency = self.time_step - 1, self.proc_params["latency"]
        index = self._due(timestep)
        self.out.send(self.idle if index is None else self.tokens[index])
        output, index = self.inp.recv(), self._due(timestep - latency)
        if index is not None:
            self.outputs[index] = output
        job, now = self.proc_params["job"], time.monotonic()
        if job is not None and now > self.reported + REPORT_SECONDS:
            supervisor.report_progress(job, self.time_step)
            self.reported = now

    def _due(self, timestep):
        index, offset = divmod(timestep, self.proc_params["period"])
        return index if offset == 0 and 0 <= index < len(self.tokens) else None


class PyFused(PyLoihiProcessModel):
    """The whole network in one process: evaluates a token when it arrives, sends it when due.

    On the fast simulator; where values are recorded, on the interpreter, which has them all.
    """

    inp: PyInPort = IN
    out: PyOutPort = OUT

    def __init__(self, proc_params):
        super().__init__(proc_params)
        network = proc_params["network"]
        self.network = network
        self.period = period(network, proc_params["mode"])
        self.idle = np.zeros(network.output_size, dtype=np.int32)
        self.waiting = deque([self.idle] * network.latency)
        self.times = proc_params["times"]
        self.recordings = {
            group.name: recording
            for group in network.groups
            if (recording := open_recording(proc_params["job"], group)) is not None
        }
        if self.recordings:
            self.interpreter = Interpreter(network)
            self.state = self.interpreter.initial_state()
        else:
            self.stream = FastSimulator(network).stream()

    def run_spk(self):
        """Send the output that is due; evaluate the token that arrives, if one is due."""
        self.out.send(self.waiting.popleft())
        token = _integers(self.inp.recv(), self.network)
        arrived = self.time_step - 1
        index, offset = divmod(arrived - self.times.start, self.period)
        if index < 0:
            self._add_up(token)
        elif index > 0 and offset == 0 and self.times.begins(arrived, self.period):
            self._begin(lasts)
        if index < 0 or offset != 0:
            self.waiting.append(self.idle)
        elif self.recordings:
            self.waiting.append(self._evaluate_recording(token, index))
        else:
            self.waiting.append(self.stream.step(token))

    def _add_up(self, token):
        """Take what arrives before the first token: sums of differences go on from it."""
        if self.recordings:
            tokens = token.astype(np.int64).reshape(1, 1, -1)
            self.state = self.interpreter.evaluate(tokens, self.state).state
        else:
            self.stream.step(token)
        self._begin(adds_up)

    def _begin(self, keep):
        """Set the state to where it began, but that of some groups."""
        if self.recordings:
            self.state = self.interpreter.begun(self.state, keep)
        else:
            self.stream.begin(keep)

    def _evaluate_recording(self, token, index):
        tokens = token.astype(np.int64).reshape(1, 1, -1)
        result = self.interpreter.evaluate(tokens, self.state, keep=None)
        self.state = result.state
        for name, recording in self.recordings.items():
            if index < len(recording):
                for row, value in enumerate(self.network.group(name).kind.values):
                    recording[index, row] = result.values[f"{name}.{value}"][0, 0]
        return result.outputs[0, 0].astype(np.int32)


class FineGrained(AbstractSubProcessModel):
    """One Lava process for each group, each synapses and each delay, as on the chip."""

    def __init__(self, proc):
        """Build the processes and connect them to each other and to the network's ports."""
        network, job = proc.proc_params["network"], proc.proc_params["job"]
        step, plan = period(network, proc.proc_params["mode"]), proc.proc_params["plan"]
        begun = Interpreter(network).initial_state()
        self.groups, self.stock = {}, {}
        for group in network.groups:
            if plan is not None and plan.lowering is Lowering.STOCK:
                neurons = self._stock_neurons(network, group)
                if neurons is not None:
                    self.stock[group.name] = neurons
                    continue
            self.groups[group.name] = NEURON_PROCESSES[group.kind.name](
                group=group,
                period=step,
                job=job,
                plan=plan,
                program=None if plan is None else gating.program_for(network, group, plan.gated),
                times=proc.proc_params["times"],
                back=tuple(edge for edge in network.incoming(group.name) if edge.recurrent),
                begun=begun,
            )
        self.synapses = {}
        self.delays = {}
        on_chip = plan is not None
        for synapses in network.synapses:
            if synapses.recurrent:
                continue
            if synapses.source.group == INPUT:
                bits, source = MESSAGE_BITS, proc.in_ports.inp
            else:
                bits = message_width(network.message_format(synapses.source).bits)
                source = self._end(synapses.source, "s_out")
            if network.group(synapses.target.group).kind.wraps and not on_chip:
                sparse = WrappingSynapses(synapses=synapses, job=job)
                self.synapses[synapses.name] = sparse
            else:
                sparse = self._sparse(
                    synapses.name,
                    self._with_marker(synapses, plan),
                    bits,
                    synapses.delay if on_chip else 0,
                )
            source.connect(sparse.s_in)
            port = self._end(synapses.target, "a_in")
            sparse.a_out.connect(port if on_chip else self._delayed(synapses, port, job))
        if on_chip and plan.gated:
            self._mark(network, proc.in_ports.inp)
        leaving = plan.leaving(network) if on_chip else network.output
        self._end(leaving, "s_out").connect(proc.out_ports.out)
        if proc.when_built is not None:
            proc.when_built(self.groups)

    def find_sub_procs(self):
        """Return all inner processes by name; Lava itself would only see plain attributes."""
        return {**self.groups, **self.stock, **self.synapses, **self.delays}

    def _stock_neurons(self, network, group):
        """Return Lava's own neurons where they compute a group exactly, else None."""
        chosen = stock.lower_group(network, group).process
        if chosen is None:
            return None
        # Lava's default threshold would keep messages of 1 from being sent.
        return STOCK_NEURONS[chosen](shape=(group.size,), vth=0)

    def _end(self, endpoint, stock_port):
        """Return the port of a group's Process, or ``stock_port`` of one of Lava's own neurons."""
        if endpoint.group in self.stock:
            return getattr(self.stock[endpoint.group], stock_port)
        return getattr(self.groups[endpoint.group], endpoint.name)

    def _mark(self, network, source):
        """Join the marker, the last feature of the input, to every neuron of every group."""
        for name, neurons in self.groups.items():
            size = network.group(name).size
            columns = np.full(size, network.input_size)
            ones = np.ones(size, dtype=np.int8)
            weights = csr_matrix(
                (ones, (np.arange(size), columns)), shape=(size, network.input_size + 1)
            )
            delay = network.group(name).phase - 1
            sparse = self._sparse(f"{name} {gating.MARKER}", weights, MESSAGE_BITS, delay)
            source.connect(sparse.s_in)
            sparse.a_out.connect(getattr(neurons, gating.MARKER))

    @staticmethod
    def _with_marker(synapses, plan):
        """Return weights that leave the marker alone, where the input has one."""
        weights = synapses.weights
        if synapses.source.group != INPUT or plan is None or not plan.gated:
            return weights
        rows, columns = weights.shape
        parts = weights.data, weights.indices, weights.indptr
        return csr_matrix(parts, shape=(rows, columns + 1))

    def _sparse(self, name, weights, bits, delay):
        """Return Lava's Sparse for int8 weights, without losing their least significant bit.

        In the mixed sign mode Lava clears the lowest bit of the weights it is given, and scales
        the sum by ``2**weight_exp`` at the end: doubled weights and an exponent of -1 are exact.
        Where no weight is negative the excitatory mode takes them as they are, and needs no bit
        for the sign.
        """
        mixed = weights.data.min(initial=0) < 0
        options = {
            "weights": weights.astype(np.int32) * (2 if mixed else 1),
            "weight_exp": -1 if mixed else 0,
            "num_weight_bits": WEIGHT_BITS,
            "num_message_bits": bits,  # zero, the default, would make single bits of them
            "sign_mode": SignMode.MIXED if mixed else SignMode.EXCITATORY,
            "name": name,
        }
        if delay == 0:
            sparse = Sparse(**options)
        else:
            delays = weights.astype(np.int64)
            delays.data[:] = delay
            sparse = DelaySparse(delays=delays, **options)
        self.synapses[name] = sparse
        return sparse

    def _delayed(self, synapses, port, job):
        if synapses.delay == 0:
            return port
        name = f"{synapses.name} delay"
        line = DelayLine(size=synapses.weights.shape[0], latency=synapses.delay, job=job, name=name)
        line.out.connect(port)
        self.delays[name] = line
        return line.inp


# Lava wants a model of its own for each Process.


@_cpu_model(S5Network)
class PyS5NetworkFused(PyFused):
    """A network in one process."""


@implements(proc=S5Network, protocol=LoihiProtocol)
@tag("fixed_pt")
class S5NetworkFineGrained(FineGrained):
    """A network as one process for each group, each synapses and each delay."""


@_cpu_model(S5Block)
class PyS5BlockFused(PyFused):
    """A block in one process."""


@implements(proc=S5Block, protocol=LoihiProtocol)
@tag("fixed_pt")
class S5BlockFineGrained(FineGrained):
    """A block as one process for each group, each synapses and each delay."""
