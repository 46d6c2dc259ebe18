"""When the first token arrives and when sequences begin, in timesteps of a run on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

from s5_to_loihi.errors import InputError


@dataclass(frozen=True)
class Times:
    """Timesteps of the input, counted from 0.

    Attributes:
        start: in which the first token arrives.
        reset_interval: from one sequence to the next; None: there is one.
        reset_offset: one in which a sequence begins.
    """

    start: int = 0
    reset_interval: int | None = None
    reset_offset: int = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: one is no number of timesteps.
        """
        if self.start < 0 or self.reset_offset < 0:
            raise InputError(
                "start or reset offset",
                f"is {self.start} and {self.reset_offset} (limit 0 or more)",
            )
        if self.reset_interval is not None and self.reset_interval < 1:
            raise InputError("reset interval", f"is {self.reset_interval} (limit 1 or more)")

    def begins(self, timestep: int, period: int = 1) -> bool:
        """Tell whether a sequence begins with the token that arrives in a timestep.

        Args:
            timestep: of the input, counted from 0.
            period: timesteps from one token to the next: a sequence that would begin between two
                begins with the later one.
        """
        if self.reset_interval is None:
            return False
        return (timestep - self.reset_offset) % self.reset_interval < period
