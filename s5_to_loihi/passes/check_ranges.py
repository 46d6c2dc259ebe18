"""check_ranges: nothing can leave the width that it is computed in, whatever the input."""

from __future__ import annotations

from dataclasses import dataclass

from s5_to_loihi.errors import CapacityError
from s5_to_loihi.network.network import Endpoint, Network
from s5_to_loihi.network.ranges import program, worst_case
from s5_to_loihi.network.widths import ACCUMULATOR_BITS, ARITHMETIC_BITS


@dataclass(frozen=True)
class CheckRanges:
    """Refuse a network in which a sum or an intermediate could overflow; change nothing.

    Attributes:
        accumulator_bits: width that every sum must fit in.
    """

    accumulator_bits: int = ACCUMULATOR_BITS
    name = "check_ranges"

    def __call__(self, network: Network) -> Network:
        """Return the network unchanged. Sums of kinds that wrap may overflow.

        Raises:
            CapacityError: naming the port or group, its worst case and the limit.
        """
        limit = 1 << (self.accumulator_bits - 1)
        for group in network.groups:
            for name in () if group.kind.wraps else group.kind.ports:
                largest = worst_case(network, Endpoint(group.name, name))
                if largest >= limit:
                    raise CapacityError(
                        f"{group.name}.{name}",
                        f"can accumulate {largest} (limit {limit - 1}, {self.accumulator_bits}"
                        " bits)",
                        "Use smaller weights, fewer inputs or a narrower message",
                    )
            for step in program(network, group).steps:
                if step.bits > ARITHMETIC_BITS:
                    raise CapacityError(
                        group.name,
                        f"an intermediate result needs {step.bits} bits (limit {ARITHMETIC_BITS})",
                        "Bring the exponents of its operands closer together",
                    )
        return network
