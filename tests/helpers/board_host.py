"""A host with a real OpenSSH server and a real SLURM, on loopback, for tests of deployments.

Everything lies in one folder: keys, configurations, spools. Nothing of the machine's own is read
or written. All processes live in a process namespace, which ends with the context.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sshd")
PROGRAMS = ("ssh", "ssh-keygen", "sbatch", "squeue", "scancel", "unshare")
START_SECONDS = 60
PARTITION, BOARD = "oheogulch", "board-01"
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

SLURM_CONFIGURATION = """
ClusterName=test
SlurmctldHost={name}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=15
SchedulerParameters=sched_interval=1
EnforcePartLimits=ALL
NodeName={board} NodeHostname={name} NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName={partition} Nodes=ALL Default=YES MaxTime=10 State=UP
"""
SERVER_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment no
SetEnv SLURM_CONF={folder}/slurm.conf PATH={path}
"""
CLIENT_CONFIGURATION = """
Host board-host
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True)
class BoardHost:
    """A host that runs.

    Attributes:
        folder: of its files.
        port: of its ssh server.
    """

    folder: Path
    port: int

    @property
    def options(self) -> list[str]:
        """What 's5-to-loihi deploy' needs to reach it."""
        jobs = self.folder / "jobs"
        configuration = self.folder / "ssh_config"
        return [
            *("--host", "board-host", "--ssh-config", str(configuration)),
            *("--directory", str(jobs), "--python", sys.executable),
        ]

    def slurm(self, *command: str) -> str:
        """Run a program of SLURM."""
        environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def queue(self) -> list[str]:
        """Return the numbers of the jobs that wait, run or are about to end."""
        return self.slurm("squeue", "--noheader", "--format=%A").split()

    def jobs(self) -> list[str]:
        """Return the names of all jobs there were."""
        lines = self.slurm("scontrol", "--oneliner", "show", "job").splitlines()
        words = [word for line in lines for word in line.split()]
        return [word.partition("=")[2] for word in words if word.startswith("JobName=")]

    def shell(self, command: str) -> str:
        """Run a command line on the host through ssh."""
        ssh = ["ssh", "-F", str(self.folder / "ssh_config"), "board-host", command]
        return subprocess.run(ssh, capture_output=True, text=True, check=True).stdout

    def scripts(self) -> list[int]:
        """Return the processes that run from an unpacked archive: jobs, and what serves ssh."""
        return processes("cmdline", "/program/deploy/")

    def job_processes(self) -> list[int]:
        """Return the processes of jobs: a job's script says what lava-loihi reads."""
        return processes("environ", "\0SLURM=1\0") + processes("environ", "\0NOSLURM=1\0")

    def python(self, name: str, before: str) -> Path:
        """Make a Python that first runs shell commands, with the script to run as ``$1``."""
        program = self.folder / name
        python = shlex.quote(sys.executable)
        program.write_text(f'#!/bin/sh\n{before}\nexec {python} "$@"\n')
        program.chmod(0o755)
        return program


def processes(file: str, sign: str) -> list[int]:
    """Return the processes that have a text in a file of theirs in /proc."""
    found = []
    for entry in Path("/proc").glob(f"[0-9]*/{file}"):
        with contextlib.suppress(OSError):
            if sign.encode() in b"\0" + entry.read_bytes() + b"\0":
                found.append(int(entry.parent.name))
    return found


def why_not() -> str | None:
    """Return why no such host can be had here; None if it can."""
    if sys.platform != "linux":
        return "needs Linux"
    missing = [name for name in DAEMONS + PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (openssh-server, slurm-wlm, munge)"
    if subprocess.run([*_namespace(), "true"], capture_output=True).returncode:
        return "this user may not make a process namespace (unshare --pid --mount-proc)"
    return None


@contextlib.contextmanager
def running() -> Iterator[BoardHost]:
    """Start a host; nothing of it is left afterwards."""
    # Paths of sockets are short, hence none of pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="s5-host-"))
    process = None
    try:
        # sshd and munge look at the rights of all folders above their files.
        folder.chmod(0o755)
        ports = _free_ports(3)
        _configure(folder, *ports)
        script = Path(__file__).with_suffix(".sh")
        environment = {
            **os.environ,
            "PATH": SYSTEM_PATH,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "SSHD": shutil.which("sshd", path=SYSTEM_PATH),
        }
        with open(folder / "host.log", "wb") as log:
            process = subprocess.Popen(
                [*_namespace(), "sh", str(script)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        host = BoardHost(folder, ports[0])
        _wait_for(host, process)
        yield host
    finally:
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _namespace() -> list[str]:
    options = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    if os.getuid() != 0:
        options += ["--user", "--map-current-user"]
    return ["unshare", *options]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _configure(folder: Path, port: int, controller_port: int, node_port: int) -> None:
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir()
    (folder / "munge").chmod(0o711)
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    (folder / "plugstack.conf").touch()
    for name in ("host_key", "user_key", "other_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    values = {
        "folder": folder,
        "port": port,
        "controller_port": controller_port,
        "node_port": node_port,
        "name": socket.gethostname(),
        "user": getpass.getuser(),
        "board": BOARD,
        "partition": PARTITION,
        "path": os.environ["PATH"],
    }
    for name, text in (
        ("slurm.conf", SLURM_CONFIGURATION),
        ("sshd_config", SERVER_CONFIGURATION),
        ("ssh_config", CLIENT_CONFIGURATION),
    ):
        (folder / name).write_text(text.format(**values))


def _wait_for(host: BoardHost, process: subprocess.Popen) -> None:
    """Wait until SLURM's node takes jobs and the ssh server answers."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            socket.create_connection(("127.0.0.1", host.port), 1).close()
            if "idle" in host.slurm("sinfo", "--noheader", "--format=%T"):
                return
        time.sleep(0.1)
    logs = [f"{log.name}: {log.read_text()[-500:]}" for log in host.folder.glob("*.log")]
    raise RuntimeError("the host did not start\n" + "\n".join(logs))
