"""The Lava worker without the verifier, so that a defect can arise inside a process model."""

import sys
from pathlib import Path

from s5_to_loihi.backends.lava_worker import main
from s5_to_loihi.bundle import storage

if __name__ == "__main__":
    storage.verify = lambda network: None
    main(Path(sys.argv[1]))
