"""The kinds of neurons, one file each; a new kind is registered by adding it to ``KINDS``.

Those of the modules ``scaled_...`` are what our own quantizer uses, the others what an export of
Intel's needs to come out bit for bit; MEAN serves both.
"""

from s5_to_loihi.network.neurons.dense import DENSE
from s5_to_loihi.network.neurons.gate import FULL_GATE, GATE, RESIDUAL
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.neurons.mean import MEAN
from s5_to_loihi.network.neurons.norm import NORM, SCALED_NORM
from s5_to_loihi.network.neurons.output import OUTPUT
from s5_to_loihi.network.neurons.scaled_dense import SCALED_DENSE
from s5_to_loihi.network.neurons.scaled_gate import (
    SCALED_FULL_GATE,
    SCALED_GATE,
    SCALED_RESIDUAL,
)
from s5_to_loihi.network.neurons.scaled_output import SCALED_OUTPUT, TABLE_OUTPUT
from s5_to_loihi.network.neurons.scaled_state import SCALED_STATE
from s5_to_loihi.network.neurons.state import STATE

KINDS: dict[str, NeuronKind] = {
    kind.name: kind
    for kind in (
        *(DENSE, NORM, SCALED_NORM, STATE, OUTPUT, GATE, FULL_GATE, RESIDUAL, MEAN),
        *(SCALED_DENSE, SCALED_STATE, SCALED_OUTPUT, TABLE_OUTPUT),
        *(SCALED_GATE, SCALED_FULL_GATE, SCALED_RESIDUAL),
    )
}
