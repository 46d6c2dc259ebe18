"""Commands on another host, with the system's OpenSSH: keys only, host keys checked.

Nothing here asks for a password or handles a key; ``ssh`` does, as the user has set it up.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from s5_to_loihi.errors import DeploymentError, InputError, printable

#: ``user@name``, ``name`` or an address, as ssh takes it; a name from the user's ssh
#: configuration is one too.
ADDRESS = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.+-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:%-]*", re.ASCII)
#: A dead connection is noticed after 15 s while connecting, after 45 s later.
OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
)
#: The host's scripts say less at a time; more would be an attack on this machine's memory.
LONGEST_LINE = 1 << 20
#: What ssh ends with when it could not do its own part.
SSH_FAILED = 255
COMMAND_NOT_FOUND = 127
#: What ssh says, what it means, and what to do; the first that fits.
_PROBLEMS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known (a new host, or someone in between)",
        "Ask its administrator; if the key is right, 'ssh-keygen -R HOST' and connect once by hand",
    ),
    (
        "Host key verification failed",
        "its host key is not known",
        "Connect once by hand ('ssh HOST') and compare the fingerprint",
    ),
    (
        "Permission denied",
        "it accepts none of your keys (passwords are not asked for)",
        "Load a key ('ssh-add') or give one (--identity); try 'ssh HOST' by hand",
    ),
    (
        "Could not resolve",
        "no host of this name is known",
        "Check --host",
    ),
    ("Connection refused", "nothing answers there", "Check --host and --port"),
    ("timed out", "it did not answer in time", "Check the network or VPN, and --host"),
)


class RemoteError(DeploymentError):
    """Something on another host did not work; keeps what and what to do for those who add to it."""

    def __init__(self, where: str, what: str, do: str = ""):
        super().__init__(where, what, do)
        self.where, self.what, self.do = where, what, do


class ConnectionLost(RemoteError):
    """ssh could not connect, or the connection broke."""


class RemoteFailure(RemoteError):
    """A command ran on the host and failed."""


@dataclass(frozen=True)
class Host:
    """How to reach a host.

    Attributes:
        address: ``user@name`` or a name of the ssh configuration.
        port: None is ssh's choice.
        identity: file of a private key; None is ssh's choice.
        configuration: an ssh configuration file; None is the user's own.
    """

    address: str
    port: int | None = None
    identity: str | None = None
    configuration: str | None = None

    def __post_init__(self):
        if not ADDRESS.fullmatch(self.address):
            raise InputError("--host", f"is {self.address!r}", "Give USER@NAME or a name")
        if self.port is not None and not 0 < self.port < 65536:
            raise InputError("--port", f"is {self.port} (limit 1 to 65535)")

    def command(self, remote: str) -> list[str]:
        """Return the argument list that runs a command line in the host's shell."""
        arguments = ["ssh", "-T"]
        for option in OPTIONS:
            arguments += ["-o", option]
        if self.configuration is not None:
            arguments += ["-F", self.configuration]
        if self.port is not None:
            arguments += ["-p", str(self.port)]
        if self.identity is not None:
            arguments += ["-i", self.identity, "-o", "IdentitiesOnly=yes"]
        return [*arguments, "--", self.address, remote]


def run(host: Host, remote: str, stdin: bytes = b"") -> bytes:
    """Run a command line on a host and return what it prints.

    Args:
        host: where.
        remote: for the host's shell; whatever comes from a user is quoted in it.
        stdin: what the command reads.

    Raises:
        ConnectionLost: ssh failed.
        RemoteFailure: the command did.
    """
    process = _start(host, remote, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with _ended(process):
        printed, said = process.communicate(stdin)
    _check(host, process.returncode, said)
    return printed


@contextmanager
def reading(host: Host, remote: str) -> Iterator[IO[bytes]]:
    """Run a command line and yield its output as a stream; it is ended with the block.

    Raises:
        ConnectionLost: ssh failed, at the end of the block.
        RemoteFailure: the command did.
    """
    # A file: a pipe that nobody reads could fill up.
    with tempfile.TemporaryFile() as said:
        process = _start(host, remote, stdin=subprocess.DEVNULL, stderr=said)
        with _ended(process):
            assert process.stdout is not None
            yield process.stdout
            while process.stdout.read(LONGEST_LINE):
                pass
            process.wait()
            said.seek(0)
            _check(host, process.returncode, said.read())


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; one that is too long comes in pieces."""
    return iter(lambda: stream.readline(LONGEST_LINE), b"")


def _start(host: Host, remote: str, stdin, stderr) -> subprocess.Popen:
    try:
        return subprocess.Popen(
            host.command(remote), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr
        )
    except FileNotFoundError:
        raise DeploymentError("ssh", "is not installed", "Install the OpenSSH client") from None


@contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """Leave no ssh behind, however the block ends."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _check(host: Host, exit_code: int, said: bytes) -> None:
    if exit_code == 0:
        return
    text = printable(said.decode(errors="replace")).strip()
    last = text.splitlines()[-1] if text else f"exit code {exit_code}"
    if exit_code != SSH_FAILED and exit_code > 0:
        do = ""
        if exit_code == COMMAND_NOT_FOUND:
            do = "Give the program on the host (--python), or put it into PATH there"
        raise RemoteFailure(host.address, last, do)
    for sign, what, do in _PROBLEMS:
        if sign in text:
            raise ConnectionLost(host.address, what, do.replace("HOST", host.address))
    raise ConnectionLost(host.address, f"the connection broke ({last})", "Check the network")
