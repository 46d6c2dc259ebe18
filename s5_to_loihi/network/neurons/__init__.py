"""The kinds of neurons, one file each; a new kind is registered by adding it to ``KINDS``."""

from s5_to_loihi.network.neurons.dense import DENSE
from s5_to_loihi.network.neurons.gate import FULL_GATE, GATE, RESIDUAL
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.neurons.mean import MEAN
from s5_to_loihi.network.neurons.norm import NORM, SCALED_NORM
from s5_to_loihi.network.neurons.output import OUTPUT
from s5_to_loihi.network.neurons.state import STATE

KINDS: dict[str, NeuronKind] = {
    kind.name: kind
    for kind in (DENSE, NORM, SCALED_NORM, STATE, OUTPUT, GATE, FULL_GATE, RESIDUAL, MEAN)
}
