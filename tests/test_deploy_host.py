"""Deployments to a real host: OpenSSH on loopback, SLURM with one node, Lava's CPU simulator.

What runs here for real is everything but the board.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import venv
from contextlib import suppress
from functools import partial
from pathlib import Path

import board_host
import numpy as np
import pytest
from needs import needs_lava

from s5_to_loihi import bundle

pytestmark = [
    needs_lava,
    # One Lava at a time: what it leaves behind is looked for on the whole machine.
    pytest.mark.xdist_group("lava"),
]
#: A run of seconds, to be interrupted, and one as short as possible.
LONG = ("--tokens", "100", "--sequences", "2")
SHORT = ("--tokens", "2", "--sequences", "1")
WAIT_SECONDS = 120


@pytest.fixture(scope="module")
def host():
    reason = board_host.why_not()
    if reason is not None:
        pytest.skip(f"no board host to test with: {reason}")
    with board_host.running() as host:
        yield host


@pytest.fixture
def arguments(host, compiled, tmp_path):
    """The arguments of a deployment whose results go to ``tmp_path / "results"``."""

    def make(*options, path=compiled):
        always = ("--target", "lava-cpu", "--fine-grained", "-o", str(tmp_path / "results"))
        return ["deploy", str(path), *host.options, *always, *options]

    return make


@pytest.fixture
def deploy(arguments, nothing_left, call):
    """Deploy; return (exit code, standard output, standard error with single spaces)."""

    def run(*options, **paths):
        code, out, err = call(*arguments(*options, **paths))
        return code, out, " ".join(err.split())

    return run


@pytest.fixture
def start(arguments, nothing_left):
    """Start a deployment in a process of its own, to be disturbed."""
    started = []

    def run(*options):
        command = [sys.executable, "-m", "s5_to_loihi.cli", *arguments(*options)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A shell that starts the tests in the background may have them ignore interrupts.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        started.append(subprocess.Popen(command, preexec_fn=heard, **streams))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def nothing_left(host):
    """Look for what a deployment left running, there or here."""
    yield
    for number in host.queue():
        host.slurm("scancel", number)
    assert wait_for(lambda: not (host.queue() or host.job_processes() or host.scripts()))


def wait_for(condition):
    """Wait for a condition; the time is a limit for a broken program, not a measure."""
    limit = time.monotonic() + WAIT_SECONDS
    while not (met := condition()) and time.monotonic() < limit:
        time.sleep(0.1)
    return met


def ended(process):
    """Wait for a process; return what ``deploy`` returns."""
    out, err = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, out, re.sub(r"\s+", " ", err)


def job_of(results):
    return json.loads((results / "job.json").read_text())


def following(host):
    """The process on the host that serves a log, once it does (not the ssh that reads it)."""
    for process in host.scripts():
        with suppress(OSError, IndexError):
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            if words[1].endswith("/deploy/follow.py"):
                return process
    return None


def temporary_folders(host):
    """The folders that running jobs have for temporary files."""
    variables = set()
    for process in host.job_processes():
        with suppress(OSError):
            variables |= set(Path(f"/proc/{process}/environ").read_text().split("\0"))
    found = {one.removeprefix("TMPDIR=") for one in variables if one.startswith("TMPDIR=")}
    return {Path(one) for one in found if "s5_to_loihi_" in one}


def is_in_its_run(host):
    files = (host.folder / "jobs").glob("*/status.json")
    return any(json.loads(file.read_text())["phase"] == "run" for file in files)


@pytest.fixture
def waiting(host, tmp_path):
    """A Python on the host whose jobs wait until ``tmp_path / "go"`` is there."""
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"
    return host.python(f"waiting_{tmp_path.name}", f'case "$1" in */run_on_board.py) {wait};; esac')


def connection_of(process):
    """The process of the ssh server that a process on the host talks through."""
    while not Path(f"/proc/{process}/cmdline").read_text().startswith("sshd:"):
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        ("lava-cpu", "pipelined"),
        ("lava-cpu", "fall-through"),
        ("rehearsal", "pipelined"),
        ("rehearsal", "fall-through"),
    ],
)
def test_a_job_runs_under_slurm_and_comes_back_verified(
    host, deploy, compiled, tmp_path, target, mode
):
    options = ("--partition", board_host.PARTITION, "--board", board_host.BOARD, "--json")
    options += ("--target", target, "--mode", mode)
    code, out, err = deploy(*SHORT, *options, "--generation", "N3C1", "--time-limit", "5")
    assert code == 0, err
    report = json.loads(out)
    assert report["equal"] is True
    assert {line["state"] for line in report["preflight"]} == {"ok"}
    # It ran what was packed, not what this Python has installed.
    found = {line["check"]: line["found"] for line in report["preflight"]}
    assert f"{host.folder}/jobs/{report['job']}/program/s5_to_loihi" in found["s5_to_loihi"]
    opened = bundle.read(compiled)
    expected = opened.vectors.expected[str(opened.network.output)][:2, :1]
    outputs = np.load(tmp_path / "results" / "result" / "outputs.npy")
    np.testing.assert_array_equal(outputs, expected)
    profile = json.loads((tmp_path / "results" / "result" / "measured.json").read_text())
    assert (profile["target"], profile["mode"]) == ("lava-cpu", mode)
    assert profile["environment"]["board"] == board_host.BOARD
    assert profile["bundle_digest"] == bundle.digest(compiled)
    assert "running denoiser" in (tmp_path / "results" / "log.txt").read_text()
    # The end of a job that was fetched may be seen again; nothing is submitted for that.
    again = ("--target", target, "--mode", mode)
    code, out, err = deploy("--resume", *again)
    assert code == 0, err
    assert "514 of 514 outputs equal" in out
    assert len(host.jobs()) == len(set(host.jobs()))


def test_a_job_names_the_first_group_that_differs(host, deploy, tmp_path):
    """A rehearsal under SLURM, with a fault in one of the board's processes."""
    helpers = Path(__file__).parent / "helpers"
    worker = 's/^WORKER = .*/WORKER = "faulty_board_worker"/'
    plant = (
        f"sed -i '{worker}' program/s5_to_loihi/backends/board.py;"
        f" export PYTHONPATH={helpers} FAULT=block0.norm.u:3"
    )
    python = host.python("faulty_python", f'case "$1" in */run_on_board.py) {plant};; esac')
    options = ("--target", "rehearsal", "--mode", "fall-through", "--python", str(python))
    code, out, err = deploy("--tokens", "4", "--sequences", "1", *options)
    assert code == 3, err
    assert "outputs equal" in out
    assert "rehearsal on board-host: the first difference is in group block0.norm" in err
    assert "block0.norm.u, at token 0 of sequence 0, neuron 3" in err
    found = json.loads((tmp_path / "results" / "result" / "divergence.json").read_text())
    assert found["value"] == "block0.norm.u"
    assert found["runs"] <= 5
    assert "looking for the first group" in (tmp_path / "results" / "log.txt").read_text()


def test_a_job_that_is_cancelled_in_its_run_leaves_nothing(host, start, deploy, tmp_path):
    process = start(*LONG)
    assert wait_for(lambda: is_in_its_run(host))
    folders = temporary_folders(host)
    assert folders
    code, out, err = deploy("--cancel")
    assert code == 0, err
    assert "is cancelled" in out
    assert not host.queue()
    assert wait_for(lambda: not host.job_processes())
    assert not [folder for folder in folders if folder.exists()]
    # Who was following it is told as of a job that SLURM has ended.
    code, _, err = ended(process)
    assert code == 1
    assert "the job failed: it was cancelled" in err
    assert "log.txt" in err
    assert job_of(tmp_path / "results")["stage"] == "failed"


def test_a_job_goes_on_when_nobody_watches_it(host, start, deploy, waiting, tmp_path):
    process = start(*SHORT, "--python", str(waiting))
    assert wait_for(lambda: host.job_processes() and following(host))
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert "you stopped watching" in err
    assert "goes on on board-host" in err
    assert "--resume" in err
    assert "--cancel" in err
    # What served the log ends by itself.
    assert wait_for(lambda: not following(host))

    process = start("--resume")
    assert wait_for(lambda: following(host))
    os.kill(connection_of(following(host)), signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 1
    assert "connection" in err
    assert "goes on on board-host" in err
    assert "--resume" in err
    assert wait_for(lambda: not following(host))
    assert len(host.queue()) == 1

    (tmp_path / "go").touch()
    code, _, err = deploy("--resume")
    assert code == 0, err
    assert host.jobs().count(job_of(tmp_path / "results")["name"]) == 1


def cutting_python(host, folder, script, before):
    """A Python on the host that once, called for a script, cuts the connection after a command."""
    flag = folder / "cut"
    cut = (
        f"{before}; process=$PPID; until grep -q ^sshd: /proc/$process/cmdline; do"
        " process=$(cut -d ' ' -f 4 /proc/$process/stat); done;"
        f" touch {flag}; kill -9 $process; exit"
    )
    once = f'case "$1" in */{script}) [ -e {flag} ] || {{ {cut}; }};; esac'
    return host.python(f"cutting_{script}", once)


def test_a_connection_cut_while_copying_leaves_no_part(host, deploy, tmp_path):
    python = cutting_python(host, tmp_path, "unpacking.py", "head -c 1000 > /dev/null")
    code, _, err = deploy(*SHORT, "--python", str(python))
    assert code == 1
    assert (tmp_path / "cut").exists()
    assert "Nothing was submitted" in err
    name = job_of(tmp_path / "results")["name"]
    assert host.shell(f"ls -A {host.folder}/jobs/{name}").split() == ["unpacking.py"]


def test_a_connection_cut_before_the_answer_does_not_submit_twice(host, deploy, tmp_path):
    submit = f'{sys.executable} "$@" > /dev/null'
    python = cutting_python(host, tmp_path, "submit.py", submit)
    code, _, err = deploy(*SHORT, "--python", str(python))
    assert code == 1
    assert (tmp_path / "cut").exists()
    assert "may go on" in err
    assert job_of(tmp_path / "results")["stage"] == "submitting"
    code, _, err = deploy("--resume")
    assert code == 0, err
    assert host.jobs().count(job_of(tmp_path / "results")["name"]) == 1


def test_a_disk_that_is_full_before_the_job(host, deploy, tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = host.folder / "disk_256k"
    code, _, err = deploy(*SHORT, "--directory", str(disk))
    assert code == 1
    assert "No space left on device" in err
    assert "Nothing was submitted" in err
    # The part that had been unpacked is gone again.
    assert host.shell(f"find {disk} -type f").split() == [
        f"{disk}/{job_of(tmp_path / 'results')['name']}/unpacking.py"
    ]


def test_a_disk_that_becomes_full_in_the_job(host, deploy):
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = host.folder / "disk_80m"
    python = host.python(
        "filling_python",
        f'case "$1" in */run_on_board.py) cat /dev/zero > {disk}/zeros 2> /dev/null;; esac',
    )
    code, _, err = deploy(*SHORT, "--directory", str(disk), "--python", str(python))
    assert code == 1
    assert "is full" in err


def test_a_host_where_nothing_fits_is_refused_before_submission(host, deploy, tmp_path):
    # A Python without any package, a partition and a board that are not there.
    venv.create(tmp_path / "empty", symlinks=True)
    python = tmp_path / "empty" / "bin" / "python"
    before = host.jobs()
    options = ("--python", str(python), "--partition", "no_such", "--board", "no-such")
    code, _, err = deploy(*SHORT, *options)
    assert code == 1
    assert "nothing was submitted" in err
    assert "there is no partition no_such; there are oheogulch" in err
    assert "there is no board no-such" in err
    assert "numpy: not installed" in err
    assert "s5_to_loihi: ModuleNotFoundError: No module named" in err
    assert "lava-nc: not tried after that" in err
    assert host.jobs() == before


def test_a_job_that_slurm_refuses(host, deploy, tmp_path):
    # The partition's limit is ten minutes.
    code, _, err = deploy(*SHORT, "--time-limit", "1000")
    assert code == 1
    assert "sbatch failed" in err
    assert "time limit" in err
    assert "Nothing was submitted" in err
    assert job_of(tmp_path / "results")["name"] not in host.jobs()


def test_a_python_that_is_not_there(host, deploy):
    code, _, err = deploy(*SHORT, "--python", "/no/such/python")
    assert code == 1
    assert "/no/such/python" in err
    assert "--python" in err
    assert "Nothing was submitted" in err
    # Going on in the same way fails in the same way; with the right one it does not.
    assert "/no/such/python" in deploy("--resume", "--python", "/no/such/python")[2]
    code, out, err = deploy("--resume")  # the host's own is among the options
    assert code == 0, err
    assert "514 of 514 outputs equal" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("host_key.pub other_key.pub", "its host key is not the one that is known"),
        ("[127.0.0.1] [127.0.0.2]", "its host key is not known"),
        ("user_key other_key", "it accepts none of your keys"),
        ("Port 1", "nothing answers there"),
    ],
)
def test_a_host_that_cannot_be_trusted_or_reached(host, deploy, tmp_path, change, message):
    known = (host.folder / "known_hosts").read_text()
    configuration = (host.folder / "ssh_config").read_text()
    if change.startswith("host_key"):
        keys = ((host.folder / name).read_text() for name in change.split())
        known = known.replace(*keys)
    elif change.startswith("Port"):
        configuration = re.sub(r"Port \d+", change, configuration)
    elif change.startswith("user_key"):
        configuration = configuration.replace(*change.split())
    else:
        known = known.replace(*change.split())
    (tmp_path / "known_hosts").write_text(known)
    configuration = configuration.replace(f"{host.folder}/known_hosts", f"{tmp_path}/known_hosts")
    (tmp_path / "ssh_config").write_text(configuration)
    code, _, err = deploy(*SHORT, "--ssh-config", str(tmp_path / "ssh_config"))
    assert code == 1
    assert message in err
    assert "Nothing was submitted" in err


def test_names_that_a_shell_would_read_do_no_harm(host, deploy, compiled, tmp_path):
    # Also: started without SLURM.
    name = '-x it\'s "a" $(touch pwned) `touch pwned`; touch pwned\n#&|* ~'
    hostile = tmp_path / f"{name}.bundle"
    hostile.symlink_to(compiled)
    directory = host.folder / name
    options = ("--slurm", "none", "--directory", str(directory))
    before = host.jobs()
    code, out, err = deploy(*SHORT, *options, path=hostile)
    assert code == 0, err
    assert "514 of 514 outputs equal" in out
    assert [path.name for path in directory.iterdir()] == [job_of(tmp_path / "results")["name"]]
    for folder in (host.folder, host.folder / "jobs", Path.home(), Path.cwd(), tmp_path):
        assert not list(folder.glob("pwned*"))
    assert host.jobs() == before
