"""Stand-ins for the models of synapses, after the shape of public connection models."""

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.nc.model import AbstractNcProcessModel
from lava.magma.core.model.nc.ports import NcInPort, NcOutPort
from lava.magma.core.model.nc.type import LavaNcType
from lava.magma.core.resources import Loihi2NeuroCore
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import (
    SignMode,
    clip_weights,
    optimize_weight_bits,
    truncate_weights,
)


class _Synapses(AbstractNcProcessModel):
    s_in: NcInPort = LavaNcType(NcInPort, np.int32, precision=24)
    a_out: NcOutPort = LavaNcType(NcOutPort, np.int32, precision=24)

    def allocate(self, net):
        parameters, weights = self.proc_params, self.process.weights.init
        mode, bits = parameters["sign_mode"], parameters["num_weight_bits"]
        rows, columns = weights.shape
        values = truncate_weights(clip_weights(weights.copy(), mode, num_bits=8), mode, bits)
        stored = values.tocoo()
        best = optimize_weight_bits(stored.data[None, :], mode, loihi2=True)
        order = np.argsort(stored.col, kind="stable")
        delays = self.delays(stored)
        ax_in = net.ax_in.allocate(shape=columns)
        ax_in_cfg = net.ax_in_cfg.allocate(
            shape=1, num_message_bits=int(self.process.num_message_bits.init)
        )
        syn = net.syn.allocate(
            shape=len(order), weights=np.asarray(best.weights)[0][order], delays=delays
        )
        syn_cfg = net.syn_cfg.allocate(
            shape=1,
            is_signed=mode is SignMode.MIXED,
            num_weight_bits=best.num_weight_bits,
            num_delay_bits=6 if delays else 0,
            weights_exp=best.weight_exp + parameters["weight_exp"],
        )
        dend_acc_cfg = net.dend_acc_cfg.allocate(shape=1, num_delay_bits=6 if delays else 0)
        dend_acc = net.dend_acc.allocate(shape=(rows,))
        self.s_in.connect(ax_in)
        ax_in.connect(ax_in_cfg)
        ax_in[stored.col[order]].connect(syn)
        syn.connect(syn_cfg)
        syn.connect(dend_acc[stored.row[order]])
        dend_acc.connect(dend_acc_cfg)
        dend_acc.connect(self.a_out)

    def delays(self, stored):
        return 0


@implements(proc=Sparse, protocol=LoihiProtocol)
@requires(Loihi2NeuroCore)
class NcModelSparse(_Synapses):
    pass


@implements(proc=DelaySparse, protocol=LoihiProtocol)
@requires(Loihi2NeuroCore)
class NcModelDelaySparse(_Synapses):
    def delays(self, stored):
        (delay,) = set(self.process.delays.init.data)
        return int(delay)
