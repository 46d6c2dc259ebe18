"""The kinds of neurons, one file each; a new one is added to ``KINDS``, or registered.

Those of the modules ``scaled_...`` and ``lean_...`` are what our own quantizer uses, the others
what an export of Intel's needs to come out bit for bit; MEAN serves both. Kinds whose words wrap
are those of netx:
``sigma_delta``, ``leaky``, ``relay``, on ``words``.

A kind of someone else's is registered with ``register``. What opens bundles in another process (a
worker of Lava's, the command line) finds it as an entry point of the group ``s5_to_loihi.kinds``,
or as ``module:NAME`` in the environment variable ``S5_TO_LOIHI_KINDS``, separated by commas.
"""

import functools
import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from s5_to_loihi.errors import InputError
from s5_to_loihi.network.neurons.constants import declared_fields
from s5_to_loihi.network.neurons.dense import DENSE
from s5_to_loihi.network.neurons.feed_forward import (
    GELU_GATE,
    RESIDUAL_DENSE,
    RESIDUAL_OUTPUT,
)
from s5_to_loihi.network.neurons.gate import FULL_GATE, GATE, RESIDUAL
from s5_to_loihi.network.neurons.kind import NeuronKind
from s5_to_loihi.network.neurons.layer_norm import LAYER_NORM, STATISTICS
from s5_to_loihi.network.neurons.leaky import (
    LEAKY,
    RECURRENT_LEAKY,
    RESETTING_LEAKY,
    RESETTING_RECURRENT_LEAKY,
)
from s5_to_loihi.network.neurons.lean_state import LEAN_STATE
from s5_to_loihi.network.neurons.mean import MEAN
from s5_to_loihi.network.neurons.norm import NORM, SCALED_NORM
from s5_to_loihi.network.neurons.output import OUTPUT
from s5_to_loihi.network.neurons.relay import RELAY
from s5_to_loihi.network.neurons.scaled_dense import SCALED_DENSE
from s5_to_loihi.network.neurons.scaled_gate import (
    SCALED_FULL_GATE,
    SCALED_GATE,
    SCALED_RESIDUAL,
)
from s5_to_loihi.network.neurons.scaled_output import LEAKY_OUTPUT, SCALED_OUTPUT, TABLE_OUTPUT
from s5_to_loihi.network.neurons.scaled_state import SCALED_STATE
from s5_to_loihi.network.neurons.sigma_delta import DELTA, SIGMA, SIGMA_DELTA, TOKENS
from s5_to_loihi.network.neurons.squares import squared
from s5_to_loihi.network.neurons.state import STATE

#: The kinds whose messages a layer norm may read, by name: the same with the squares of these.
SQUARED: dict[str, NeuronKind] = {
    kind.name: squared(kind)
    for kind in (
        *(SCALED_DENSE, SCALED_GATE, SCALED_FULL_GATE, SCALED_RESIDUAL),
        *(RESIDUAL_OUTPUT, RESIDUAL_DENSE, LAYER_NORM),
    )
}

KINDS: dict[str, NeuronKind] = {
    kind.name: kind
    for kind in (
        *(DENSE, NORM, SCALED_NORM, STATE, OUTPUT, GATE, FULL_GATE, RESIDUAL, MEAN),
        *(SCALED_DENSE, SCALED_STATE, LEAN_STATE),
        *(SCALED_OUTPUT, TABLE_OUTPUT, LEAKY_OUTPUT),
        *(SCALED_GATE, SCALED_FULL_GATE, SCALED_RESIDUAL),
        *(DELTA, SIGMA_DELTA, SIGMA, TOKENS, RELAY),
        *(LEAKY, RESETTING_LEAKY, RECURRENT_LEAKY, RESETTING_RECURRENT_LEAKY),
        *(GELU_GATE, RESIDUAL_DENSE),
        *(STATISTICS, LAYER_NORM, *SQUARED.values()),
    )
}

#: Where the kinds of others are named.
VARIABLE, ENTRY_POINTS = "S5_TO_LOIHI_KINDS", "s5_to_loihi.kinds"

__all__ = ["KINDS", "SQUARED", "VARIABLE", "NeuronKind", "known_kinds", "register"]


def register(kind: NeuronKind) -> None:
    """Add a kind to ``KINDS``; before Processes of Lava's are made of it.

    Raises:
        InputError: there is another kind of that name.
        TypeError: what its constants declare is no constant, or it has a state but no recurrence.
    """
    declared_fields(kind.constants)
    if kind.state and kind.recurrence is None:
        raise TypeError(f"neuron kind {kind.name} has a state, but its update is no Recurrence")
    if KINDS.setdefault(kind.name, kind) is not kind:
        raise InputError(f"neuron kind {kind.name}", "is the name of another kind", "Rename it")


def known_kinds() -> Mapping[str, NeuronKind]:
    """Return all kinds by name, those of plug-ins and of ``S5_TO_LOIHI_KINDS`` among them.

    Raises:
        InputError: one of these cannot be loaded.
    """
    _register_plug_ins()
    return KINDS


@functools.cache
def _register_plug_ins() -> None:
    named = filter(None, os.environ.get(VARIABLE, "").split(","))
    points = (EntryPoint(name, name, ENTRY_POINTS) for name in named)
    for point in (*points, *entry_points(group=ENTRY_POINTS)):
        try:
            kind = point.load()
        except (ImportError, AttributeError) as error:
            where = f"neuron kind {point.value}"
            raise InputError(where, f"cannot be loaded ({error})", "Install its module") from None
        register(kind)
