"""Deployments without a host: archives, names, job scripts, what is kept, what comes back."""

import gzip
import importlib.util
import io
import json
import os
import posixpath
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s5_to_loihi import bundle
from s5_to_loihi.backends.divergence import Divergence, write_divergence
from s5_to_loihi.backends.measured import MeasuredProfile, write_measured
from s5_to_loihi.compiler import compile_export
from s5_to_loihi.demo import DENOISER
from s5_to_loihi.deployment import commands, flow, job, remote, result, slurm, steps
from s5_to_loihi.deployment.job import Job, Stage, Target
from s5_to_loihi.deployment.remote import Host
from s5_to_loihi.deployment.slurm import HOST_SCRIPTS, Placement, Submission
from s5_to_loihi.deployment.unpacking import UnpackingError, unpack
from s5_to_loihi.errors import (
    CapacityError,
    DeploymentError,
    InputError,
    VerificationError,
    printable,
)
from s5_to_loihi.lava_runtime.chip_plan import Lowering
from s5_to_loihi.simulators.interpreter import Interpreter, Mode

#: What a shell would run, split or expand if it were not quoted.
HOSTILE = "-x 'a' \"b\" $(touch pwned) `touch pwned`; touch pwned\n#&|* ~"


@pytest.fixture(scope="module")
def opened():
    """The shipped export with few recorded tokens."""
    compiled = compile_export(DENOISER)
    return replace(compiled, vectors=compiled.vectors.first(4, 2))


@pytest.fixture
def path(opened, tmp_path):
    bundle.write(opened, tmp_path / "denoiser.bundle")
    return tmp_path / "denoiser.bundle"


@pytest.fixture
def planned(path):
    return Job(
        name="s5-test-0123",
        host=Host("me@vlab"),
        directory="jobs",
        python="python3",
        placement=Placement(partition="oheogulch", board="ncl-ext-og-04", generation="N3C1"),
        target=Target.BOARD,
        mode=Mode.PIPELINED,
        fine_grained=False,
        lowering=Lowering.MICROCODE,
        microcode=None,
        input_latency=0,
        output_latency=0,
        measure=True,
        tokens=3,
        sequences=2,
        bundle_digest=bundle.digest(path),
    )


# --- archives ------------------------------------------------------------------------------------


def test_an_archive_holds_what_a_run_needs_and_nothing_of_this_machine(planned, path, opened):
    (path / "notes.txt").write_text("not a bundle's file")
    packed = flow.pack(planned, path, opened)
    assert packed == flow.pack(planned, path, opened)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members)
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {
        (0, 0, "", "", 0)
    }
    names = {member.name for member in members}
    assert not [name for name in names if name.startswith("/") or ".." in name.split("/")]
    assert {name.split("/")[0] for name in names} == {
        *("s5_to_loihi", "process_models", "deploy"),
        *("bundle", "tokens.npy", "job.sh"),
    }
    assert names >= {"bundle/manifest.json", "deploy/README.md", "s5_to_loihi/loihi2/loihi2.yaml"}
    assert "bundle/notes.txt" not in names
    assert not [name for name in names if name.startswith("s5_to_loihi/data")]


def test_an_archive_runs_where_it_is_unpacked(planned, path, opened, tmp_path):
    program = tmp_path / "host" / "program"
    assert unpack(io.BytesIO(flow.pack(planned, path, opened)), program)
    script = "import sys, s5_to_loihi; print(s5_to_loihi.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(program)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd="/"
    )
    assert ran.stdout.strip() == str(program / "s5_to_loihi" / "__init__.py")
    np.testing.assert_array_equal(np.load(program / "tokens.npy"), opened.vectors.tokens[:3, :2])
    assert bundle.digest(program / "bundle") == planned.bundle_digest
    # What is there is not touched by a second upload.
    assert not unpack(io.BytesIO(b"anything"), program)


def entry(name, kind=tarfile.REGTYPE, target="", size=0):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, target, size
    return made


def packed(*entries, mode="w:gz"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for one in entries:
            archive.addfile(one, io.BytesIO(bytes(one.size)))
    return stream.getvalue()


def raw_header(name, size, kind=tarfile.REGTYPE):
    """A header whose size tarfile itself would not write."""
    header = bytearray(entry(name, kind).tobuf())
    header[124:136] = (size & ((1 << 96) - 1)).to_bytes(12, "big")
    header[124] |= 0x80
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def with_pax(**headers):
    one = entry("a", size=512)
    one.pax_headers = headers
    return packed(one)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (raw_header("a", -512), "damaged"),
        (raw_header("a", 1 << 40), "too large"),
        # tarfile reads a long name at once, however long it says that it is.
        (raw_header("a", 1 << 40, tarfile.XHDTYPE), "damaged"),
        (raw_header("a", 1 << 40, tarfile.GNUTYPE_LONGNAME), "damaged"),
        (raw_header("a", 0, tarfile.GNUTYPE_SPARSE), "sparse"),
        (with_pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), "damaged"),
        (packed(entry("a/" * 200 + "a")), "too deep"),
        (packed(entry("/absolute")), "leads out"),
        (packed(entry("a/../../outside")), "leads out"),
        (packed(entry("..")), "leads out"),
        (packed(entry("link", tarfile.SYMTYPE, "/etc")), "link"),
        (packed(entry("link", tarfile.LNKTYPE, "../outside")), "link"),
        (packed(entry("pipe", tarfile.FIFOTYPE)), "device"),
        (packed(entry("device", tarfile.CHRTYPE)), "device"),
        (packed(entry("a"), entry("./a")), "twice"),
        (packed(entry("a", size=2000)), "too large"),
        (packed(entry("a"), entry("a/b")), "cannot be written"),
        (packed(entry("a", size=900))[:-40], "damaged or cut off"),
        (b"no archive at all" * 100, "damaged or cut off"),
        (gzip.compress(b"no archive at all" * 100), "damaged or cut off"),
    ],
    # gzip writes the time into archives: without names, workers would not agree on the tests.
    ids=[
        *("negative", "huge", "huge-header", "huge-name", "sparse", "sparse-header", "deep"),
        *("absolute", "above", "parent", "symbolic-link", "hard-link", "pipe", "device"),
        *("twice", "too-large", "below-a-file", "cut-off", "no-archive", "no-archive-compressed"),
    ],
)
def test_hostile_archives_leave_nothing(tmp_path, archive, message):
    folder = tmp_path / "inside" / "folder"
    with pytest.raises(UnpackingError, match=message):
        unpack(io.BytesIO(archive), folder, largest=1000)
    assert list(tmp_path.iterdir()) == [tmp_path / "inside"]
    assert list((tmp_path / "inside").iterdir()) == []


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["", "-oProxyCommand=touch pwned", "a b", "a;b", "$(a)", "me@-x", "a\nb", "me@@a", "é", "a\0"],
)
def test_hosts_that_ssh_could_take_for_something_else_are_refused(address):
    with pytest.raises(InputError, match="--host"):
        Host(address)


@pytest.mark.parametrize("address", ["vlab", "me@ncl-edu.host.com", "me.x+y@10.0.0.1", "::1"])
def test_ordinary_hosts_are_taken(address):
    command = Host(address, 2222, "/my key", "/my config").command("echo")
    assert command[-3:] == ["--", address, "echo"]
    assert command[:2] == ["ssh", "-T"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no"} <= set(command)


@pytest.mark.parametrize("option", ["partition", "board", "generation", "time_limit"])
@pytest.mark.parametrize("value", ["", "-x", "a b", "a\n#SBATCH --wrap", "$(a)", "a;b", "a'b"])
def test_names_for_slurm_are_names(option, value):
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')}"):
        Placement(**{option: value})


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"python": "venv/bin/python"}, "--python"),
        ({"python": "~/venv/bin/python"}, "--python"),
        ({"python": ""}, "--python"),
        ({"microcode": "microcode"}, "--microcode"),
        ({"microcode": "~/microcode"}, "--microcode"),
        ({"directory": "a\0b"}, "--directory"),
        ({"directory": ""}, "--directory"),
        ({"directory": "~user/jobs"}, "--directory"),
        ({"name": "a b"}, "job"),
    ],
)
def test_jobs_that_make_no_sense_are_refused(planned, change, option):
    with pytest.raises(InputError, match=option):
        replace(planned, **change)


def test_all_names_reach_the_host_as_one_word(planned, tmp_path):
    folder_of_microcode = f"/{HOSTILE}"
    hostile = replace(
        planned, directory=HOSTILE, python=f"/bin/{HOSTILE}", microcode=folder_of_microcode
    )
    folder = f"./{HOSTILE}/s5-test-0123"
    assert shlex.split(commands.copy_unpacker(hostile)) == [
        *("mkdir", "-p", "--", folder),
        *("&&", "cat", ">", f"{folder}/unpacking.py"),
    ]
    for command in (commands.unpack, commands.preflight, commands.submit, commands.cancel):
        words = shlex.split(command(hostile))
        assert words[0] == hostile.python
        assert words[1].startswith(f"{folder}/")
    assert f"--microcode={folder_of_microcode}" in shlex.split(commands.preflight(hostile))
    assert shlex.split(commands.fetch(hostile))[4] == f"{folder}/result"
    # A real shell agrees with shlex, and runs nothing.
    before = list(tmp_path.iterdir())
    shown = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {commands.follow(hostile)}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split("\0")[:-1] == shlex.split(commands.follow(hostile))
    assert list(tmp_path.iterdir()) == before


def test_a_home_directory_is_where_ssh_starts(planned):
    assert replace(planned, directory="~/jobs").folder == "./jobs/s5-test-0123"
    for home in ("~", "~/", "~//", "."):
        assert posixpath.normpath(replace(planned, directory=home).folder) == "s5-test-0123"
    assert replace(planned, directory="/nfs/jobs").folder == "/nfs/jobs/s5-test-0123"


def test_a_job_script_runs_exactly_its_command(tmp_path):
    program = tmp_path / HOSTILE.replace("/", "")
    program.write_text('#!/bin/sh\nprintf \'%s\\0\' "$SLURM" "$BOARD" "$LOIHI_GEN" "$@"\n')
    program.chmod(0o755)
    placement = Placement(Submission.SBATCH, "oheogulch", "ncl-ext-og-04", "N3C1", "1:30:00")
    script = slurm.job_script(placement, "s5-a", [str(program), HOSTILE, "$HOME"], "log.txt")
    assert [line for line in script.splitlines() if line.startswith("#SBATCH")][:5] == [
        "#SBATCH --job-name=s5-a",
        "#SBATCH --partition=oheogulch",
        "#SBATCH --nodelist=ncl-ext-og-04",
        "#SBATCH --time=1:30:00",
        "#SBATCH --output=log.txt",
    ]
    ran = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split("\0")[:-1] == ["1", "ncl-ext-og-04", "N3C1", HOSTILE, "$HOME"]
    assert [file.name for file in tmp_path.iterdir()] == [program.name]


def test_what_is_not_chosen_is_left_to_slurm():
    script = slurm.job_script(Placement(Submission.NONE), "s5-a", ["true"], "log.txt")
    assert "NOSLURM=1" in script
    for word in ("--partition", "--nodelist", "--time", "BOARD", "PARTITION", "LOIHI_GEN"):
        assert word not in script


def test_text_from_a_host_does_not_steer_the_terminal():
    assert printable("a\x1b[2Jb\r\x07c\n\td") == "a�[2Jb��c\n\td"


# --- what is kept --------------------------------------------------------------------------------


def test_a_job_is_read_as_it_was_written(planned, tmp_path):
    written = replace(planned, stage=Stage.SUBMITTED, log_bytes=17)
    job.save(written, tmp_path)
    assert job.read(tmp_path) == written
    assert job.read(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "something else"},
        {"stage": "lost"},
        {"host": {"address": "-oProxyCommand=touch pwned"}},
        {"host": None},
        {"placement": {"submission": "sbatch", "partition": "a\nb"}},
        {"unknown": 1},
        {"name": None},
    ],
)
def test_a_damaged_job_file_is_an_error(planned, tmp_path, change):
    job.save(planned, tmp_path)
    file = tmp_path / job.FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError):
        job.read(tmp_path)


def test_a_results_folder_is_not_taken_from_others(planned, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other files"):
        flow.begin(planned, tmp_path / "mine")
    for stage in (Stage.SUBMITTING, Stage.SUBMITTED):
        results = tmp_path / stage.value
        results.mkdir()
        flow.begin(planned, results)
        job.save(replace(planned, stage=stage), results)
        with pytest.raises(DeploymentError, match=r"is not done with.*--resume.*--cancel"):
            flow.begin(planned, results)


def test_two_deployments_do_not_share_a_results_folder(planned, tmp_path):
    results = tmp_path / "results"
    with flow.alone(results):
        with pytest.raises(DeploymentError, match="another deployment is at work"):
            with flow.alone(results):
                pass
    with flow.alone(results):
        flow.begin(planned, results)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), flow.alone(tmp_path / "file"):
        pass


# --- what a host says ----------------------------------------------------------------------------


@pytest.fixture
def host_says(monkeypatch):
    """Make a host that answers every command with the same text."""

    def make(printed):
        monkeypatch.setattr(remote, "run", lambda *_: printed)
        monkeypatch.setattr(remote, "reading", lambda *_: nullcontext(io.BytesIO(printed)))

    return make


def test_an_earlier_result_stays_until_a_new_job_is_submitted(planned, tmp_path, host_says):
    results = tmp_path / "results"
    results.mkdir()
    job.save(replace(planned, stage=Stage.FETCHED), results)
    (results / "result").mkdir()
    flow.begin(planned, results)
    host_says(b'{"refused": "no"}')
    with pytest.raises(remote.RemoteFailure):
        steps.submit(planned, results)
    assert (results / "result").exists()
    host_says(b'{"slurm": "42"}')
    submitted, number = steps.submit(planned, results)
    assert (submitted.stage, number) == (Stage.SUBMITTED, "SLURM job 42")
    assert [file.name for file in results.iterdir()] == [job.FILE]


@pytest.mark.parametrize(
    "printed",
    [b"", b"7", b"[]", b"{}", b"welcome", b"[" * 100_000, b"\xff\x1b[2J"],
    ids=["nothing", "number", "list", "empty", "text", "nested", "not-text"],
)
def test_an_answer_that_is_none_is_an_error(planned, tmp_path, host_says, printed):
    host_says(printed)
    with pytest.raises(remote.RemoteFailure, match="no answer that can be read"):
        steps.submit(planned, tmp_path)
    assert job.read(tmp_path).stage is Stage.SUBMITTING
    with pytest.raises(DeploymentError):
        steps.check(planned)


def test_what_a_host_says_besides_is_passed_over(planned, tmp_path, host_says):
    said = [
        *(b"welcome", b"[1]", b"[" * 100_000, b'{"log": "x"}', b'{"log": 1, "next": 2}'),
        *(b'{"log": "x", "next": "2"}', b'{"doing": "\\u001b[2J"}', b'{"preflight": [{}]}'),
        *(b'{"submitted": "7"}', b'{"phase": ["x"]}', b'{"ended": 3}'),
        *(b'{"log": "one\\u001b", "next": 4}', b'{"phase": "run", "done": 1, "total": "2"}'),
        b'{"ended": {"exit_code": 0}}',
    ]
    host_says(b"\n".join(said))
    events = []
    followed = steps.follow(planned, tmp_path, events.append)
    assert (followed.stage, followed.log_bytes) == (planned.stage, 4)
    assert (tmp_path / "log.txt").read_text() == "one�"
    known = {"log", "next", "phase", "done", "ended"}
    assert {key for event in events for key in event} == known
    host_says(b'{"log": "cut", "next": 9}')
    with pytest.raises(remote.ConnectionLost):
        steps.follow(followed, tmp_path, events.append)
    assert (tmp_path / "log.txt").read_text() == "one�cut"


# --- what comes back -----------------------------------------------------------------------------


def result_archive(folder, planned, outputs, **changes):
    """A result as a host packs it."""
    folder.mkdir()
    np.save(folder / "outputs.npy", outputs)
    profile = MeasuredProfile(
        target="board",
        network="denoiser",
        bundle_digest=planned.bundle_digest,
        mode="pipelined",
        tokens=6,
        timesteps=8,
        wall_seconds=1.0,
        environment={},
    )
    write_measured(replace(profile, **changes), folder / "measured.json")
    return subprocess.run(
        ["tar", "-cf", "-", "-C", folder, "--", "."], capture_output=True, check=True
    ).stdout


def came_back(planned, opened, tmp_path, outputs, **changes):
    vectors = opened.vectors.first(planned.tokens, planned.sequences)
    archive = result_archive(tmp_path / "host", planned, outputs, **changes)
    result.unpack_result(io.BytesIO(archive), tmp_path, vectors, opened.network)
    return result.read_result(tmp_path, planned, vectors, opened.network)


def expected(opened):
    return opened.vectors.expected[str(opened.network.output)][:3, :2].astype(np.int64)


def test_equal_outputs_are_verified(planned, opened, tmp_path):
    outcome = came_back(planned, opened, tmp_path, expected(opened))
    assert (outcome.comparison.compared, outcome.comparison.differing) == (3 * 2 * 257, 0)
    result.require_equal(outcome, planned)


def test_outputs_that_were_not_recorded_are_evaluated(planned, opened, tmp_path):
    vectors = replace(opened.vectors, expected={})
    tokens = vectors.tokens[:3]
    outputs = Interpreter(opened.network).evaluate(tokens).outputs
    outcome = came_back(planned, replace(opened, vectors=vectors), tmp_path, outputs)
    assert outcome.comparison.differing == 0


def test_one_wrong_integer_is_found(planned, opened, tmp_path):
    outputs = expected(opened)
    outputs[1, 1, 7] += 1
    outcome = came_back(planned, opened, tmp_path, outputs)
    with pytest.raises(VerificationError, match="token 1 of sequence 1, neuron 7") as raised:
        result.require_equal(outcome, planned)
    assert raised.value.exit_code == 3


def test_the_first_group_that_differs_is_named(planned, opened, tmp_path):
    outputs = expected(opened)
    outputs[1, 1, 7] += 1
    outcome = came_back(planned, opened, tmp_path, outputs)
    found = Divergence("block0.gate.hidden", 1, 1, 3, -4, 5, 6, (), ())
    write_divergence(found, tmp_path / "result" / "divergence.json")
    vectors = opened.vectors.first(planned.tokens, planned.sequences)
    outcome = result.read_result(tmp_path, planned, vectors, opened.network)
    assert outcome.divergence == found
    with pytest.raises(
        VerificationError, match=r"group block0\.gate.*neuron 3: got -4, expected 5"
    ):
        result.require_equal(outcome, planned)
    (tmp_path / "result" / "divergence.json").write_text("[]")
    with pytest.raises(DeploymentError, match="divergence"):
        result.read_result(tmp_path, planned, vectors, opened.network)


@pytest.mark.parametrize(
    ("outputs", "changes", "message"),
    [
        (np.zeros((3, 2, 1), np.int64), {}, "shape"),
        (np.zeros((3, 2, 257)), {}, "float64"),
        (np.array([{}], dtype=object), {}, "cannot be read"),
        (np.zeros((3, 2, 257), np.int64), {"bundle_digest": "0" * 64}, "another run"),
        (np.zeros((3, 2, 257), np.int64), {"target": "lava-cpu"}, "another run"),
        (np.zeros((3, 2, 257), np.int64), {"tokens": -1}, "measured profile"),
    ],
)
def test_a_result_that_is_none_is_an_error(planned, opened, tmp_path, outputs, changes, message):
    with pytest.raises(DeploymentError, match=message):
        came_back(planned, opened, tmp_path, outputs, **changes)


def header_of(shape):
    """A file of numpy's that ends where its numbers should begin."""
    stream = io.BytesIO()
    described = {"descr": "<i8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        b"\x93NUMPY\x01\x00\x03\x00(((",
        header_of((10**12,)),
    ],
)
def test_outputs_that_are_no_array_are_an_error(planned, opened, tmp_path, content):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "outputs.npy").write_bytes(content)
    with pytest.raises(DeploymentError, match="cannot be read"):
        result.read_result(tmp_path, planned, opened.vectors, opened.network)


def test_a_result_with_links_is_refused(opened, tmp_path):
    archive = packed(entry("outputs.npy", tarfile.SYMTYPE, "/etc/passwd"), mode="w")
    with pytest.raises(DeploymentError, match="link"):
        result.unpack_result(io.BytesIO(archive), tmp_path, opened.vectors, opened.network)
    assert not (tmp_path / "result").exists()


# --- the host's scripts --------------------------------------------------------------------------


@pytest.fixture
def host_folder(planned, path, opened, tmp_path):
    """A job folder as it is on the host."""
    folder = tmp_path / "job"
    unpack(io.BytesIO(flow.pack(planned, path, opened)), folder / "program")
    return folder


def run_on_board(folder, *options):
    command = [sys.executable, "program/deploy/run_on_board.py", "program/bundle"]
    command += ["program/tokens.npy", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_phase_that_hangs_is_ended(host_folder):
    package = host_folder / "program" / "s5_to_loihi" / "__init__.py"
    package.write_text("import time; time.sleep(1000)")
    ran = run_on_board(host_folder, "--target=lava-cpu", "--prepare-seconds=0.5")
    assert ran.returncode == 1
    ended = json.loads((host_folder / "ended.json").read_text())
    assert ended["phase"] == "prepare"
    assert "not done after 0.5 s (--prepare-seconds)" in ended["error"]
    assert not (host_folder / "result").exists()
    # No job runs twice.
    again = run_on_board(host_folder, "--target=lava-cpu")
    assert again.returncode == 1
    assert "has been started before" in again.stderr


def test_a_board_without_the_extension_is_an_error_in_the_last_word(host_folder):
    ran = run_on_board(host_folder)
    assert ran.returncode == 1
    ended = json.loads((host_folder / "ended.json").read_text())
    assert (ended["exit_code"], ended["phase"]) == (1, "run")
    assert "lava-loihi" in ended["error"]
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not (host_folder / "result").exists()


def test_a_run_ends_with_the_process_that_watches_it(host_folder):
    package = host_folder / "program" / "s5_to_loihi" / "__init__.py"
    package.write_text(
        "import os, pathlib, time; pathlib.Path('worker').write_text(str(os.getpid()));"
        " time.sleep(1000)"
    )
    script = [sys.executable, "program/deploy/run_on_board.py", "program/bundle"]
    # Killed, it cannot remove its temporary folder.
    environment = {**os.environ, "TMPDIR": str(host_folder)}
    with subprocess.Popen(
        [*script, "program/tokens.npy"], cwd=host_folder, env=environment
    ) as supervisor:
        worker = host_folder / "worker"
        assert wait_for(lambda: worker.exists() and worker.read_text())
        supervisor.kill()
    worker = int(worker.read_text())
    assert wait_for(lambda: not is_running(worker))


def wait_for(condition):
    """Wait for a condition; the time is a limit for a broken program, not a measure."""
    limit = time.monotonic() + 30
    while not (met := condition()) and time.monotonic() < limit:
        time.sleep(0.05)
    return met


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("mode", Mode)
def test_a_job_on_a_board_gives_outputs_and_profile(
    host_folder, opened, planned, monkeypatch, mode
):
    """The board is a stand-in: what is shown is how it is called and what is done with it."""
    stand_in = Path(__file__).parent / "helpers" / "stand_in_board.py"
    backends = host_folder / "program" / "s5_to_loihi" / "backends"
    (backends / "board.py").write_text(stand_in.read_text())
    options = ("--microcode=/my/microcode", "--lowering=stock", "--output-latency=2",
               f"--mode={mode.value}")  # fmt: skip
    monkeypatch.setenv("BOARD", "ncl-ext-og-04")
    monkeypatch.setenv("LOIHI_GEN", "N3C1")
    ran = run_on_board(host_folder, *options)
    assert ran.returncode == 0, ran.stderr
    outputs = np.load(host_folder / "result" / "outputs.npy")
    np.testing.assert_array_equal(outputs, expected(opened))
    profile = json.loads((host_folder / "result" / "measured.json").read_text())
    assert (profile["bundle_digest"], profile["mode"]) == (planned.bundle_digest, mode.value)
    assert profile["environment"].items() >= {
        ("board", "ncl-ext-og-04"),
        ("generation", "N3C1"),
        ("microcode", "/my/microcode"),
        ("measure", "time power activity"),
        ("lowering", "stock"),
        ("latencies", "0 2"),
    }
    assert json.loads((host_folder / "ended.json").read_text()) == {
        "exit_code": 0,
        "phase": "write",
        "error": None,
    }


def host_script(name):
    """A script of the host, as a module."""
    sys.path.insert(0, str(HOST_SCRIPTS))
    try:
        specification = importlib.util.spec_from_file_location(name, HOST_SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(HOST_SCRIPTS))


def test_a_process_that_has_ended_does_not_run():
    job_files = host_script("job_files")
    own = job_files.start_time(os.getpid())
    assert job_files.is_running({"process": os.getpid(), "start_time": own})
    assert not job_files.is_running({"process": os.getpid(), "start_time": "1"})
    with subprocess.Popen(["true"]) as ended:
        pass
    assert not job_files.is_running({"process": ended.pid, "start_time": own})
    # It had ended before its start could be noted down.
    assert not job_files.is_running({"process": ended.pid, "start_time": None})


def slurm_programs(folder, monkeypatch, **lines):
    """Make stand-ins for programs of SLURM, each a line of shell."""
    for name, line in lines.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_job_whose_number_was_lost_is_found_and_not_submitted_again(tmp_path, monkeypatch):
    submit = host_script("submit")
    queue = 'case "$*" in *--name=s5-a*) echo 42;; esac'
    slurm_programs(tmp_path, monkeypatch, squeue=queue, sbatch="echo 43")
    (job_folder := tmp_path / "job").mkdir()
    assert submit.submit(job_folder, "s5-a", direct=False) == {"slurm": "42"}
    # The marker file is enough from then on.
    slurm_programs(tmp_path, monkeypatch, squeue="exit 1", sbatch="exit 1")
    assert submit.submit(job_folder, "s5-a", direct=False) == {"slurm": "42"}
    # A job that has left the queue says itself that it was started.
    for name, started in (
        ("by_slurm", {"slurm": "41", "process": 7, "start_time": "1"}),
        ("directly", {"slurm": None, "process": 7, "start_time": "1"}),
    ):
        (folder := tmp_path / name).mkdir()
        (folder / "started.json").write_text(json.dumps(started))
        found = submit.submit(folder, "s5-b", direct=started["slurm"] is None)
        assert found == ({"slurm": "41"} if started["slurm"] else started)
    # A new one is submitted.
    (new := tmp_path / "new").mkdir()
    slurm_programs(tmp_path, monkeypatch, squeue=queue, sbatch="echo '43;cluster'")
    assert submit.submit(new, "s5-c", direct=False) == {"slurm": "43"}
    assert json.loads((new / "submitted.json").read_text()) == {"slurm": "43"}


@pytest.fixture
def sinfo(tmp_path, monkeypatch):
    """Make a stand-in for SLURM's sinfo that prints some lines."""

    def make(*lines):
        program = tmp_path / "sinfo"
        program.write_text("#!/bin/sh\n" + "".join(f"echo {shlex.quote(x)}\n" for x in lines))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return make


def test_boards_and_partitions_that_take_no_jobs_are_problems(sinfo, tmp_path, monkeypatch):
    preflight = host_script("preflight")
    sinfo("oheogulch|up", "kp|down")
    assert preflight.check_partition("oheogulch").state == "ok"
    assert preflight.check_partition("kp").found == "kp is down"
    assert preflight.check_partition("vpx").found == (
        "there is no partition vpx; there are kp, oheogulch"
    )
    sinfo("og-01|idle", "og-02|down*", "og-03|allocated")
    assert preflight.check_board("og-01", None).state == "ok"
    assert preflight.check_board("og-03", None).state == "ok"
    assert preflight.check_board("og-02", None).state == "problem"
    assert "og-01 (idle), og-02 (down*), og-03 (allocated)" in (
        preflight.check_board("og-02", None).found
    )
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "sinfo is not on this host" in preflight.check_partition("oheogulch").found


def test_a_host_without_the_extension_is_told_what_is_missing(path):
    # Of this checkout, where the mapper's kernels are compiled once for all tests.
    script = [sys.executable, str(HOST_SCRIPTS / "preflight.py"), "--partition=oheogulch"]
    ran = subprocess.run([*script, "--json", str(path)], capture_output=True, text=True)
    lines = {line["check"]: line for line in json.loads(ran.stdout)}
    assert ran.returncode == 1
    assert lines["lava-loihi"]["state"] == "problem"
    assert "there is no lava.magma.core.model.nc.model" in lines["lava-loihi"]["found"]
    assert "INRC" in lines["lava-loihi"]["do"]
    assert lines["microcode"]["state"] == "problem"
    assert lines["numpy"]["state"] == "ok"
    assert lines["capacity (a model)"]["state"] == "ok", lines["capacity (a model)"]["found"]
    assert "of Oheo Gulch, 120 are there" in lines["capacity (a model)"]["found"]


def test_a_network_that_does_not_fit_is_told_from_a_host_that_is_not_ready(planned):
    line = {"check": "capacity (a model)", "state": "does not fit", "found": "x", "do": "prune"}
    with pytest.raises(CapacityError, match="prune") as raised:
        steps.require_fit(planned, [line])
    assert raised.value.exit_code == 2
    with pytest.raises(DeploymentError, match="nothing was submitted"):
        steps.require_fit(planned, [line, {**line, "check": "disk", "state": "problem"}])
    steps.require_fit(planned, [{**line, "state": "ok"}])


@pytest.mark.parametrize(
    ("exit_code", "state"), [(0, "ok"), (1, "problem"), (2, "does not fit"), (-9, "problem")]
)
def test_what_the_mapper_says_decides_whether_a_network_fits(monkeypatch, exit_code, state):
    preflight = host_script("preflight")
    monkeypatch.setattr(preflight, "_python", lambda *_: (exit_code, ["full", "by 3"]))
    line = preflight.check_capacity(Path("bundle"), "oheogulch")
    assert line.state == state
    assert "by 3" in line.found


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def call(call):
    """Call 's5-to-loihi deploy'; return (exit code, standard output, standard error)."""

    def run(*arguments):
        code, out, err = call("deploy", *arguments)
        return code, out, " ".join(err.split())

    return run


def test_a_dry_run_prints_commands_and_touches_nothing(call, path, planned, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    options = ("--host", "me@vlab", "--directory", HOSTILE, "--dry-run")
    code, out, err = call(path, *options)
    assert code == 0, err
    words = shlex.split(out, comments=True)
    assert words.count("ssh") == 7
    results = tmp_path / "earlier"
    results.mkdir()
    job.save(replace(planned, stage=Stage.SUBMITTED), results)
    kept = (results / job.FILE).read_bytes()
    code, out_of_cancel, err = call(path, "--cancel", "--dry-run", "-o", results)
    assert code == 0, err
    assert "cancel.py" in out_of_cancel
    assert (results / job.FILE).read_bytes() == kept
    shutil.rmtree(results)
    assert words.count("BatchMode=yes") == 7
    code, out, err = call(path, *options, "--json")
    calls = [step["command"] for step in json.loads(out)]
    assert [one[0] for one in calls] == ["ssh"] * 7
    assert all(one[-3:-1] == ["--", "me@vlab"] for one in calls)
    assert sorted(tmp_path.rglob("*")) == before


def test_calls_that_cannot_work_say_why(call, path, opened, planned, tmp_path):
    assert "--host" in call(path)[2]
    assert "--host USER@HOST" in call(path)[2]
    assert "holds no job" in call(path, "--resume")[2]
    assert "holds no job" in call(path, "--cancel", "-o", tmp_path / "elsewhere")[2]
    bundle.write(replace(opened, vectors=None), tmp_path / "bare.bundle")
    assert "no vectors" in call(tmp_path / "bare.bundle", "--host", "me@vlab")[2]
    job.save(replace(planned, bundle_digest="0" * 64), tmp_path)
    assert "is of another bundle" in call(path, "--resume", "-o", tmp_path)[2]
    assert call(path)[0] == 1


def test_options_given_again_replace_those_of_a_job_that_was_not_submitted(
    call, path, planned, tmp_path
):
    """A wrong Python is a dead end otherwise: going on would fail in the same way for ever."""
    results = tmp_path / "results"
    results.mkdir()
    job.save(replace(planned, python="/no/such", stage=Stage.COPIED), results)
    again = (path, "--resume", "-o", results, "--dry-run")
    unchanged = call(*again)[1]
    assert "/no/such" in unchanged
    assert planned.name in unchanged
    code, out, err = call(*again, "--python", "/right/python", "--board", "ncl-ext-og-05")
    assert code == 0, err
    assert "/no/such" not in out
    assert "/right/python" in out
    assert "--board=ncl-ext-og-05" in out
    assert "--partition=oheogulch" in out
    # Two that make sense only together.
    code, out, err = call(*again, "--target", "lava-cpu", "--mode", "fall-through")
    assert code == 0, err
    assert "--target=lava-cpu" in out
    # The folder of the old job holds what was made for the old options.
    assert planned.name not in out
    for stage, do in ((Stage.SUBMITTED, "--cancel"), (Stage.FAILED, "Deploy anew")):
        job.save(replace(planned, stage=stage), results)
        same = ("--partition", "oheogulch", "--host", "me@vlab")
        code, _, err = call(*again, *same, "--board", "ncl-ext-og-05", "--port", "2222")
        assert code == 1
        assert "error: --board: cannot change any more: job s5-test-0123 was submitted" in err
        assert do in err
        # How to reach the host, and what runs its scripts, is no part of what was submitted.
        code, out, err = call(*again, *same, "--port", "2222", "--python", "/right/python")
        assert code == 0, err
        assert "-p 2222" in out
        assert "/right/python" in out
        assert planned.name in out


def test_a_job_that_goes_on_with_other_options_is_kept(call, path, planned, tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "go_on", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    job.save(replace(planned, stage=Stage.COPIED), tmp_path)
    call(path, "--resume", "-o", tmp_path, "--python", "/right/python", "--tokens", "999")
    kept = job.read(tmp_path)
    assert (kept.python, kept.tokens, kept.stage) == ("/right/python", 4, Stage.CREATED)
    assert kept.name != planned.name
    assert replace(kept, python=planned.python, tokens=3, name=planned.name) == planned


@pytest.mark.parametrize(
    ("found", "do"),
    [
        ("ModuleNotFoundError: No module named 'matplotlib'", "-m pip install matplotlib,"),
        ("ModuleNotFoundError: No module named 'yaml.nodes'", "-m pip install pyyaml,"),
        ("No module named 'lava.magma'", "--ignore-requires-python lava-nc==0.10.0. It needs"),
        ("No module named 's5_to_loihi.x'", "else"),
        ("ImportError: libfoo.so: cannot open shared object file", "else"),
    ],
)
def test_the_remedy_for_a_missing_package_is_that_package(found, do):
    preflight = host_script("preflight")
    assert do in preflight.remedy(found, "something else")


def test_outputs_that_differ_end_with_exit_code_3(
    call, path, planned, opened, tmp_path, monkeypatch
):
    outputs = expected(opened)
    outputs[2, 0, 5] -= 1
    outcome = came_back(planned, opened, tmp_path, outputs)
    monkeypatch.setattr(flow, "go_on", lambda *_: outcome)
    code, out, err = call(path, "--host", "me@vlab", "-o", tmp_path / "results")
    assert code == 3
    assert "1,541 of 1,542 outputs equal" in out
    assert "token 2 of sequence 0, neuron 5" in err


def test_an_archive_can_be_written_for_going_on_by_hand(call, path, tmp_path):
    code, _, err = call(path, "--host", "me@vlab", "--archive", tmp_path / "job.tar.gz")
    assert code == 0, err
    with tarfile.open(tmp_path / "job.tar.gz") as archive:
        assert "deploy/README.md" in archive.getnames()


def files_under(folder: Path) -> set[str]:
    """Names below a folder, but for what Python or an editor leaves there."""
    return {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }


def test_a_wheel_holds_every_file(tmp_path):
    """Users install with pip: every package, its data and the host's scripts must come along."""
    pytest.importorskip("setuptools")
    root = Path(slurm.HOST_SCRIPTS).parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("the package under test is installed, not a checkout")
    names = ("pyproject.toml", "README.md", "deploy", "process_models", "s5_to_loihi")
    source = tmp_path / "source"
    source.mkdir()
    for name in names:
        (source / name).symlink_to(root / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, env={**os.environ, "PIP_NO_INDEX": "1"})
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    expected = files_under(root / "s5_to_loihi")
    for folder in ("deploy", "process_models"):
        expected |= {f"{folder}/{name}" for name in files_under(root / folder)}
    assert files_under(site / "s5_to_loihi") == expected
    assert [entry.name for entry in site.iterdir() if entry.suffix != ".dist-info"] == [
        "s5_to_loihi"
    ]
