"""How many words of a core's memory things take, in the units of Intel's compiler.

Synapses live with their target neuron; the words of their rows are counted by
``kernels.row_words``. What is known is read off printed utilisation tables, see
``loihi2.yaml``; ``tests/test_core_memory.py`` holds the rules against those tables.
"""

from __future__ import annotations

import math

import numpy as np

from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.loihi2.kernels import Rows
from s5_to_loihi.loihi2.resources import Resource
from s5_to_loihi.network.neurons.constants import array_constants
from s5_to_loihi.network.programs import NeuronProgram


def limits_of(chip: Chip) -> np.ndarray:
    """Return a core's limits by ``Resource``, (7,) words, groups of neuron groups."""
    limits = [getattr(chip, resource.name.lower()).value for resource in Resource]
    return np.array(limits, dtype=np.int64)


def rows_of(chip: Chip, dense: bool = True) -> Rows:
    """Return how synapses are stored; rows may be dense if the chip's facts allow it as well."""
    return Rows(
        header_bits=int(chip.axon_header_bits.value),
        index_bits=int(chip.index_bits.value),
        word_bits=int(chip.word_bits.value),
        dense=dense and bool(chip.dense_rows.value),
    )


def neuron_words(fields: list[int], chip: Chip) -> int:
    """Return the words of one neuron: its registers and its own constants, packed.

    ``fields`` are their bits.

    An assumption that agrees with the printed tables (one word for a sigma-delta neuron, two for
    a real-valued diagonal state): each register and each per-neuron constant is a field of 8, 16
    or 24 bits, wider ones are split, no field straddles two words, and a neuron has one word at
    least. What all neurons of a group share is in the program.
    """
    step, largest = int(chip.field_bits.value), int(chip.largest_field_bits.value)
    room = int(chip.word_bits.value)
    sizes: list[int] = []
    for bits in fields:
        while bits > 0:
            piece = min(bits, largest)
            sizes.append(min(largest, -(-piece // step) * step))
            bits -= piece
    words: list[int] = []
    for size in sorted(sizes, reverse=True):
        for index, used in enumerate(words):
            if used + size <= room:
                words[index] += size
                break
        else:
            words.append(size)
    return max(1, len(words))


def field_widths(program: NeuronProgram) -> list[int]:
    """Return the bits of each register and each per-neuron constant of a group's program."""
    (binding,) = program.bindings
    declared = {name: one.bits for name, _, one in array_constants(binding.group.constants)}
    folded = {step.immediate: step.bits for step in program.steps if step.operation == "parameter"}
    registers = [binding.group.formats[name].bits for name in program.registers]
    return registers + [declared.get(name, folded[name]) for name in binding.parameters]


def axon_memory_words(destinations: int, chip: Chip) -> int:
    """Return the AxonMem words of a message: none if it goes to one place, else a list of them."""
    if destinations <= 1:
        return 0
    return math.ceil(destinations * chip.destination_bits.value / chip.word_bits.value)


def list_words(
    sender: np.ndarray, destinations: np.ndarray, neurons: int, chip: Chip
) -> np.ndarray:
    """Return the words of each neuron in AxonMem: (neurons,) int64.

    Args:
        sender: (messages,) the neuron that sends it, -1 for the input.
        destinations: (messages,) where it goes to.
        neurons: how many there are.
        chip: facts.
    """
    words = np.array([axon_memory_words(n, chip) for n in range(destinations.max(initial=0) + 1)])
    sent = sender >= 0
    return np.bincount(sender[sent], words[destinations[sent]], neurons).astype(np.int64)
