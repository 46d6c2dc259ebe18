"""Every width of the chip and of a network's parts, in bits unless said otherwise: data, no rules.

Loihi 2's are those of Intel's public record (technology brief; lava-nc's Loihi 2 models).
"""

#: Widest message between neurons here; Loihi 2 carries graded spikes of 24 bits (up to 32).
MESSAGE_BITS = 24
#: Signed messages that public code sends on Loihi 2, the narrower first.
MESSAGE_WIDTHS = (16, MESSAGE_BITS, 32)
#: What an embedded processor hands to the host, without its sign.
RETURNED_BITS = 24
#: What Lava's own neurons on Loihi 2 receive and send.
STOCK_BITS = 24
#: Widest neuron state register of Loihi 2.
STATE_BITS = 24
#: A port's sum stays below 2**30 in magnitude: Lava adds up doubled int8 weights in int32.
ACCUMULATOR_BITS = 31
#: Every backend computes in 64-bit integers between the registers.
ARITHMETIC_BITS = 64
#: What shortening a program may not widen its intermediate results to; see docs/board.md.
NARROW_BITS = 32
#: What a product may have before its shift in the same instruction (two state registers' worth).
PRODUCT_BITS = 48
#: A synaptic weight.
WEIGHT_BITS = 8
#: Widest format of anything inside a neuron.
WIDEST = 24
#: Sums, registers and messages of kinds whose words wrap: those of Lava's own neurons.
WORD_BITS = 32
#: Factors between accumulators and values.
MULTIPLIER_BITS = 16
#: Widest digit of a weight: an int8 synapse carries it.
WIDEST_DIGIT = WEIGHT_BITS
#: Most digits of a weight, each in a port of its own.
MOST_DIGITS = 4
#: Exponents beyond this are a mistake: operands are brought to common ones by shifting.
LARGEST_EXPONENT = 64
#: Right shifts beyond this are a mistake, not arithmetic: products have at most 48 bits.
LARGEST_SHIFT = 47
#: Longest synaptic delay of Loihi 2 in timesteps beyond the first (6 bits, 62 usable).
LONGEST_DELAY = 62
#: Most updates before the first token: one for each layer before it.
MOST_EARLY = 1024
#: Entries of a table that all neurons of a group share; more would crowd a neurocore.
LONGEST_TABLE = 4097
#: A square travels as two digits, the lower one of so many bits. Values of up to 20 bits then have
#: squares whose digits fit a message, and 1,023 of either digit add up within an accumulator.
SQUARE_DIGIT_BITS = 18
#: Neurons of a group: a whole chip has about as many.
LARGEST_GROUP = 1 << 20
