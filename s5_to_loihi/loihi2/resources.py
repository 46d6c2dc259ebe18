"""What a core has room for, and what a timestep may have to wait for: names and columns of arrays.

Members are integers, so that they index arrays in Python and in compiled loops alike.
"""

from __future__ import annotations

from enum import IntEnum


class _Column(IntEnum):
    """A column with what people call it."""

    label: str

    def __new__(cls, column: int, label: str = ""):
        member = int.__new__(cls, column)
        member._value_ = column
        member.label = label
        return member


class Resource(_Column):
    """Memory of a core, as Intel's compiler prints it: its columns, in its order."""

    AXON_IN = 0, "AxonIn"
    NEURON_GROUPS = 1, "NeuronGr"
    NEURONS = 2, "Neurons"
    SYNAPSES = 3, "Synapses"
    AXON_MAP = 4, "AxonMap"
    AXON_MEMORY = 5, "AxonMem"
    TOTAL = 6, "Total"


class Term(_Column):
    """What takes time in a timestep: on a core, on a link, and for all."""

    UPDATES = 0, "neuron updates"
    SYNOPS = 1, "synops"
    WORDS = 2, "memory words"
    CORE_LINK = 3, "core link"
    MESH_LINK = 4, "mesh link"
    CHIP_LINK = 5, "chip link"
    BARRIER = 6, "barrier"


#: What a core spends time on, as far as it is known before placement: the columns of its times.
CORE_TERMS = (Term.UPDATES, Term.SYNOPS, Term.WORDS, Term.CORE_LINK)
