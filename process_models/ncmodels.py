"""Process models for Loihi 2; without Lava's extension for it (lava-loihi) there are none here.

Not yet run on hardware: written after the call shapes of public code (``docs/board.md`` lists what
is assumed). Synapses are Lava's own Sparse and DelaySparse, whose models the extension brings.
"""

from s5_to_loihi.lava_runtime import shim as lava_shim

lava_shim.install()

try:
    from lava.magma.core.model.c.model import CLoihiProcessModel
    from lava.magma.core.model.c.ports import CInPort, COutPort
    from lava.magma.core.model.c.type import LavaCDataType, LavaCType
    from lava.magma.core.model.nc.model import AbstractNcProcessModel
    from lava.magma.core.model.nc.ports import NcInPort, NcOutPort
    from lava.magma.core.model.nc.type import LavaNcType
    from lava.magma.core.model.nc.var import NcVar
    from lava.proc.embedded_io.spike import NxToPyAdapter, PyToNxAdapter

    EXTENSION_IS_THERE = True
except ImportError:
    EXTENSION_IS_THERE = False

if EXTENSION_IS_THERE:
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from lava.magma.core.decorator import implements, requires
    from lava.magma.core.model.sub.model import AbstractSubProcessModel
    from lava.magma.core.resources import LMT, Loihi2NeuroCore
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    from s5_to_loihi.lava_runtime import microcode_files
    from s5_to_loihi.lava_runtime.c_source import identifier
    from s5_to_loihi.lava_runtime.chip_plan import message_width
    from s5_to_loihi.network.gating import MARKER
    from s5_to_loihi.network.widths import MESSAGE_BITS, RETURNED_BITS, STATE_BITS
    from s5_to_loihi.process_models.process import (
        NEURON_PROCESSES,
        ChipInput,
        ChipOutput,
        S5Network,
    )

    class NcNeuronModel(AbstractNcProcessModel):
        """Neurons of one group on neurocores: the program is the user's microcode.

        Shared constants, tables and the reset go into the configuration, registers and constants
        of each neuron into the neurons; output axons are allocated for messages that are sent, in
        the order of the listing. Each port is an accumulator of the neurons, in the kind's order;
        in fall-through that of the markers comes last, which tell when registers count as zero.
        """

        def allocate(self, net):
            """Allocate the group's configuration, neurons and output axons."""
            program, plan = self.proc_params["program"], self.proc_params["plan"]
            (binding,) = program.bindings
            group = binding.group
            shared = {**binding.constants}
            shared |= {name: np.array(table) for name, table in binding.tables.items()}
            if program.registers and not plan.gated:
                shared["reset_interval"] = plan.reset_interval
                shared["reset_offset"] = plan.reset_offset(group)
            configuration = net.neurons_cfg.allocate_ucode(
                shape=(1,),
                ucode=str(
                    microcode_files.require(program.name, group.name, plan.microcode, plan.gated)
                ),
                **shared,
            )
            own = {name: getattr(self, name) for name in program.registers}
            own |= {identifier(name): values for name, values in binding.parameters.items()}
            neurons = net.neurons.allocate_ucode(shape=group.size, **own)
            for port in (*binding.ports, *((MARKER,) if plan.gated else ())):
                getattr(self, port).connect(neurons)
            neurons.connect(configuration)
            for message in program.messages:
                axons = net.ax_out.allocate(
                    shape=group.size,
                    num_message_bits=message_width(group.formats[message].bits),
                )
                neurons.connect(axons)
                axons.connect(getattr(self, message))

    def _neuron_model(process):
        """Return the model of a kind's Process: ports and registers with the names it has."""
        kind = process.kind
        body = {"__module__": __name__, "__doc__": f"{kind.name.upper()} on neurocores."}
        body |= {
            name: LavaNcType(NcInPort, np.int32, precision=MESSAGE_BITS)
            for name in (*kind.ports, MARKER)
        }
        body |= {name: LavaNcType(NcVar, np.int32, precision=STATE_BITS) for name in kind.state}
        body |= {
            name: LavaNcType(NcOutPort, np.int32, precision=MESSAGE_BITS) for name in kind.messages
        }
        model = type(f"Nc{process.__name__}", (NcNeuronModel,), body)
        return requires(Loihi2NeuroCore)(implements(process, LoihiProtocol)(model))

    # Lava looks for classes by their names in this module.
    globals().update(
        {f"Nc{process.__name__}": _neuron_model(process) for process in NEURON_PROCESSES.values()}
    )

    class _Adapter(AbstractSubProcessModel):
        """One of the extension's adapters, which run on an embedded processor."""

        adapter: Callable[..., Any]

        def __init__(self, proc):
            """Put the adapter between the ports of the process."""
            shape = proc.in_ports.inp.shape
            self.door = self.adapter(shape=shape, num_message_bits=RETURNED_BITS)
            proc.in_ports.inp.connect(self.door.inp)
            self.door.out.connect(proc.out_ports.out)

    @implements(proc=ChipInput, protocol=LoihiProtocol)
    @requires(Loihi2NeuroCore)
    class ChipInputAdapter(_Adapter):
        """Tokens from the host become messages."""

        adapter = PyToNxAdapter

    @implements(proc=ChipOutput, protocol=LoihiProtocol)
    @requires(Loihi2NeuroCore)
    class ChipOutputAdapter(_Adapter):
        """Messages become outputs for the host."""

        adapter = NxToPyAdapter

    @implements(proc=S5Network, protocol=LoihiProtocol)
    @requires(LMT)
    class CS5Network(CLoihiProcessModel):
        """The whole network on an embedded processor, in C that ``c_source`` writes."""

        inp: CInPort = LavaCType(cls=CInPort, d_type=LavaCDataType.INT32)
        out: COutPort = LavaCType(cls=COutPort, d_type=LavaCDataType.INT32)

        @property
        def source_file_name(self):
            """The generated file."""
            return self.proc_params["plan"].source
