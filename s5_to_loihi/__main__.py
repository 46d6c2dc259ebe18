"""Where ``s5-to-loihi`` and ``python -m s5_to_loihi`` begin: before anything large is imported."""

import sys

from s5_to_loihi.commands import streams


def main() -> None:
    """Run the command line; an interrupt ends it with a word from its first moment on."""
    try:
        streams.prepare()
        from s5_to_loihi import cli

        cli.main()
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        sys.exit(streams.INTERRUPTED)


if __name__ == "__main__":
    main()
