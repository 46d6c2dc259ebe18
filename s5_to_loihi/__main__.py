"""``python -m s5_to_loihi`` is ``s5-to-loihi``."""

from s5_to_loihi.cli import main

main()
