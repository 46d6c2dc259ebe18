"""A board worker whose way to the chip takes a timestep more than the plan says."""

import sys
from pathlib import Path

from s5_to_loihi.backends import board_worker
from s5_to_loihi.process_models import process

if __name__ == "__main__":
    original = process.ChipInput.__init__

    def late(self, *, size, latency=0, job=None):
        original(self, size=size, latency=latency + 1, job=job)

    process.ChipInput.__init__ = late
    board_worker.main(Path(sys.argv[1]))
