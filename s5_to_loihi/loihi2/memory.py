"""How many words of a core's memory things take, in the units of Intel's compiler.

Synapses live with their target neuron. What is known is read off printed utilisation tables, see
``loihi2.yaml``; ``tests/test_core_memory.py`` holds the rules against those tables.
"""

from __future__ import annotations

import math

from s5_to_loihi.loihi2.facts import Chip
from s5_to_loihi.network.network import NeuronGroup
from s5_to_loihi.network.neurons.constants import array_constants


def weight_bits(lowest: int, highest: int) -> int:
    """Return the bits a weight between two integers needs; a sign bit only if one is negative."""
    if lowest < 0:
        return 1 + max(int(max(highest, 0)).bit_length(), (-int(lowest) - 1).bit_length())
    return max(1, int(highest).bit_length())


def row_words(count: int, bits: int, targets: int, chip: Chip) -> int:
    """Return the synapse words of one input axon on one core: the cheapest encoding.

    An indexed row stores a header, and each synapse with its index:
    ``ceil((header + count * (bits + index)) / word)``. A dense row, where the chip's facts allow
    it, stores a weight for every neuron of the group on the core, without indices.

    Args:
        count: synapses of the axon on the core.
        bits: of a weight.
        targets: neurons of the group on the core.
        chip: facts.
    """
    if count == 0:
        return 0
    header, word = chip.axon_header_bits.value, chip.word_bits.value
    words = math.ceil((header + count * (bits + chip.index_bits.value)) / word)
    if chip.dense_rows.value:
        words = min(words, math.ceil((header + targets * bits) / word))
    return words


def neuron_words(group: NeuronGroup, chip: Chip) -> int:
    """Return the words of one neuron: its state registers and its own constants, packed.

    An assumption that agrees with the printed tables (one word for a sigma-delta neuron, two for
    a real-valued diagonal state): each register and each per-neuron constant is a field of 8, 16
    or 24 bits, wider ones are split, no field straddles two words, and a neuron has one word at
    least. What all neurons of a group share is in the program.
    """
    step, largest = int(chip.field_bits.value), int(chip.largest_field_bits.value)
    room = int(chip.word_bits.value)
    sizes: list[int] = []
    for bits in field_widths(group):
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


def field_widths(group: NeuronGroup) -> list[int]:
    """Return the bits of each state register and of each per-neuron constant of a group."""
    registers = [group.formats[name].bits for name in group.kind.state]
    return registers + [its_format.bits for _, _, its_format in array_constants(group.constants)]


def axon_memory_words(destinations: int, chip: Chip) -> int:
    """Return the AxonMem words of a message: none if it goes to one place, else a list of them."""
    if destinations <= 1:
        return 0
    return math.ceil(destinations * chip.destination_bits.value / chip.word_bits.value)
