"""A caller of the supervisor, to be interrupted or killed: ``python -m fake_parent JOB``."""

import sys
from pathlib import Path

from s5_to_loihi.lava_runtime import supervisor

if __name__ == "__main__":
    try:
        supervisor.run_worker(
            "fake_worker", Path(sys.argv[1]), name="test", total_timeout=300, stall_timeout=300
        )
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
