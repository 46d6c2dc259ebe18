"""The errors of the package: one family, each with the exit code of the command line.

A message says where, what (got, limit) and what to do: it can be shown to the user as it is.
"""


def printable(text: str) -> str:
    """Return text that others wrote without characters that steer a terminal."""
    if text.isprintable():
        return text
    unknown = "\N{REPLACEMENT CHARACTER}"
    return "".join(char if char.isprintable() or char in "\n\t" else unknown for char in text)


class S5ToLoihiError(Exception):
    """Base of every error that the package raises on purpose.

    The command line prints its message without a traceback and ends with ``exit_code``.

    Examples:
        >>> try:
        ...     s5.read("nowhere.bundle")
        ... except s5.S5ToLoihiError as error:
        ...     print(error.exit_code, str(error).split(".")[0])
        1 nowhere
    """

    exit_code = 1

    def __init__(self, where: str, what: str, do: str = ""):
        """Join the three parts of a message.

        Args:
            where: the file, tensor, group or option concerned.
            what: what is wrong, with the value found and the limit.
            do: what the user can do about it; empty if nothing can be said.
        """
        super().__init__(printable(f"{where}: {what.rstrip('.')}." + (f" {do}." if do else "")))


class CheckpointError(S5ToLoihiError):
    """A checkpoint cannot be read, or holds something that cannot be compiled."""


class BundleError(S5ToLoihiError):
    """A bundle cannot be read or written."""


class NetworkError(S5ToLoihiError):
    """A network breaks a rule of the intermediate representation."""


class InputError(S5ToLoihiError):
    """Data given to a network (tokens, audio, options) does not suit it."""


class LavaError(S5ToLoihiError):
    """Lava is missing, failed, or did not answer in time."""


class DeploymentError(S5ToLoihiError):
    """A board host cannot be reached, refuses, or a job there failed."""


class InterruptedDeployment(DeploymentError):
    """The user stopped watching a job; the message says what goes on."""

    exit_code = 130


class CapacityError(S5ToLoihiError):
    """A network does not fit a limit of the chip."""

    exit_code = 2


class VerificationError(S5ToLoihiError):
    """Integers that must be equal differ."""

    exit_code = 3
