"""``deploy``: a bundle runs on another host, and the result comes back verified."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from typer import Option

from s5_to_loihi import bundle
from s5_to_loihi.backends.divergence import RUNS
from s5_to_loihi.commands import choices, console
from s5_to_loihi.deployment import commands, flow
from s5_to_loihi.deployment.job import Job, Stage, Target, new_name, save, with_options
from s5_to_loihi.deployment.job import read as read_job
from s5_to_loihi.deployment.remote import Host
from s5_to_loihi.deployment.result import FOLDER, OUTPUTS, PROFILE, Result, require_equal
from s5_to_loihi.deployment.slurm import Placement, Submission
from s5_to_loihi.deployment.steps import LOG_FILE
from s5_to_loihi.errors import InputError, printable
from s5_to_loihi.files.writing import replacing
from s5_to_loihi.lava_runtime.chip_plan import Lowering
from s5_to_loihi.reports.summary import Summary, command
from s5_to_loihi.reports.table import Cell, Mark, Table, of_rows
from s5_to_loihi.reports.terminal import rendered
from s5_to_loihi.simulators.interpreter import Mode

#: Where job folders go on the host, below the home directory.
DIRECTORY = "s5_to_loihi_jobs"


def deploy(
    context: typer.Context,
    path: choices.BundleArgument,
    host: str | None = Option(
        None, metavar="USER@HOST", help="Where to submit from, as ssh calls it."
    ),
    target: Target = Option(
        Target.BOARD,
        help="board: Loihi 2; lava-cpu: Lava's CPU simulator on the host; rehearsal: the board's"
        " run on that.",
    ),
    partition: str | None = Option(
        None, help="SLURM's partition, such as oheogulch. Default: SLURM's own."
    ),
    board: str | None = Option(
        None, help="SLURM's node, such as ncl-ext-og-04. Default: any of the partition."
    ),
    generation: str | None = Option(
        None, help="Of the chip, such as N3C1. Default: lava-loihi's own."
    ),
    lowering: Lowering = Option(
        Lowering.MICROCODE, help="board: what computes the neurons (docs/board.md)."
    ),
    microcode: str | None = Option(
        None, metavar="DIR", help="Folder of your microcode files: absolute, on the host."
    ),
    python: str = Option("python3", help="Python on the host: in its PATH, or an absolute path."),
    directory: str = Option(
        DIRECTORY, help="On the host, absolute or below home: a folder for job folders."
    ),
    submission: Submission = Option(
        Submission.SBATCH,
        "--slurm",
        help="sbatch: submit a job script; extension: start directly, lava-loihi asks SLURM;"
        " none: start directly, without SLURM.",
    ),
    time_limit: str | None = Option(
        None, help="SLURM's, in minutes or [D-]HH:MM:SS. Default: the partition's."
    ),
    port: int | None = Option(None, help="Of ssh."),
    identity: Path | None = Option(
        None, metavar="FILE", help="Private key for ssh. Default: ssh's own choice."
    ),
    ssh_config: Path | None = Option(
        None, metavar="FILE", help="ssh configuration. Default: your own."
    ),
    mode: choices.ModeOption = Mode.PIPELINED,
    fine_grained: bool = Option(
        False, "--fine-grained", help="lava-cpu: a Lava process for each neuron group."
    ),
    measure: bool = Option(True, help="board: also time, power and activity, a run each."),
    input_latency: int = Option(0, min=0, help="board: timesteps to the chip (docs/board.md)."),
    output_latency: int = Option(0, min=0, help="board: timesteps from the chip (docs/board.md)."),
    probes: int = Option(
        RUNS,
        metavar="N",
        min=0,
        help="board, rehearsal: runs at most to find the first group that differs.",
    ),
    tokens: int | None = Option(
        None, metavar="N", min=1, help="Recorded tokens to run. Default: all."
    ),
    sequences: int | None = Option(
        None, metavar="N", min=1, help="Recorded sequences to run. Default: all."
    ),
    output: Path | None = Option(
        None, "--output", "-o", metavar="RESULTS", help="Default: BUNDLE's name.results."
    ),
    resume: bool = Option(
        False,
        "--resume",
        help="Go on with the job of RESULTS. Options given again, such as --python, replace its own"
        " as long as it was not submitted.",
    ),
    cancel: bool = Option(False, "--cancel", help="End the job of RESULTS."),
    dry_run: bool = Option(
        False, "--dry-run", help="Print the commands; touch nothing, here or there."
    ),
    archive_file: Path | None = Option(
        None, "--archive", metavar="FILE.tar.gz", help="Only write the archive."
    ),
    as_json: choices.JsonOption = False,
) -> None:
    """Run a bundle on a board host over ssh and SLURM, and verify what comes back.

    Packs an archive, checks the host, submits once, follows the log, fetches outputs and measured
    profile into RESULTS, and compares the outputs with the bundle's vectors. ssh uses your keys and
    known hosts; no password is asked for. NOT YET RUN ON HARDWARE: see docs/deploy.md. Example:

        s5-to-loihi deploy net.bundle --host me@vlab --partition oheogulch --board ncl-ext-og-04
    """
    results = output or path.with_name(f"{console.network_name(path)}.results")
    opened = bundle.read(path)
    if opened.vectors is None:
        raise InputError(str(path), "has no vectors to run and to verify", "Compile it again")
    digest = bundle.digest(path)
    if resume or cancel:
        job = _earlier_job(results, digest)
        job = with_options(job, _given_again(context, opened, job), opened.network.name)
    else:
        if host is None:
            raise InputError("--host", "is missing", "Say where, as ssh does: --host USER@HOST")
        shown = opened.vectors.first(tokens or len(opened.vectors.tokens), sequences)
        job = Job(
            name=new_name(opened.network.name),
            host=Host(host, port, _absolute(identity), _absolute(ssh_config)),
            directory=directory,
            python=python,
            placement=Placement(submission, partition, board, generation, time_limit),
            target=target,
            mode=mode,
            fine_grained=fine_grained,
            lowering=lowering,
            microcode=microcode,
            input_latency=input_latency,
            output_latency=output_latency,
            measure=measure and lowering is not Lowering.EMBEDDED,
            tokens=shown.tokens.shape[0],
            sequences=shown.tokens.shape[1],
            bundle_digest=digest,
            probes=probes,
        )
    if dry_run:
        _print_commands(job, len(flow.pack(job, path, opened)), as_json)
    elif cancel:
        said = flow.cancel(job, results)
        if as_json:
            console.print_json({"job": job.name, "cancelled": said})
        console.say(said)
    elif archive_file is not None:
        with replacing(archive_file) as temporary:
            temporary.write_bytes(flow.pack(job, path, opened))
        if as_json:
            console.print_json({"job": job.name, "archive": str(archive_file)})
        console.say_wrote(archive_file)
    else:
        with flow.alone(results), _Screen() as screen:
            if not resume:
                flow.begin(job, results)
            elif job.stage is Stage.CREATED:
                save(job, results)
            outcome = flow.go_on(job, results, path, opened, screen.show)
        _print_outcome(path, job, outcome, results, screen, as_json)
        require_equal(outcome, job)


#: Options that say what this command does, not what the job is.
_OF_THIS_CALL = frozenset("path output resume cancel dry_run archive_file as_json".split())


def _given_again(context: typer.Context, opened: bundle.Bundle, job: Job) -> dict[str, Any]:
    """Return the options of a job that the user gave in this call."""
    given = {
        name: value
        for name, value in context.params.items()
        if name not in _OF_THIS_CALL
        and (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    }
    for name in given.keys() & {"identity", "ssh_config"}:
        given[name] = _absolute(given[name])
    if given.keys() & {"tokens", "sequences"}:
        assert opened.vectors is not None
        shown = opened.vectors.first(
            given.get("tokens", job.tokens), given.get("sequences", job.sequences)
        )
        given |= {"tokens": shown.tokens.shape[0], "sequences": shown.tokens.shape[1]}
    return given


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _earlier_job(results: Path, digest: str) -> Job:
    """Return the job of a results folder, if it is of this bundle."""
    job = read_job(results)
    if job is None:
        do = "Give the folder of the job (-o), or deploy without --resume and --cancel"
        raise InputError(str(results), "holds no job", do)
    if job.bundle_digest != digest:
        do = "Give the bundle that was deployed, unchanged"
        raise InputError(str(results), f"job {job.name} is of another bundle", do)
    return job


class _Screen:
    """Shows a deployment on stderr: checks, log, and a progress bar below them."""

    def __init__(self) -> None:
        self._shown = console.working("Starting")
        self.preflight: list[Mapping[str, str]] = []
        self.submitted: str | None = None

    def __enter__(self) -> _Screen:
        self._shown.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__()

    def show(self, event: Mapping) -> None:
        """Show one event, see ``flow.Observer``."""
        if "doing" in event:
            self._update(event["doing"], 0, None)
        if "preflight" in event:
            self.preflight = event["preflight"]
            shown = rendered(_preflight_table(self.preflight), console.width(console.stderr))
            console.stderr.print(shown, soft_wrap=True)
        if "submitted" in event:
            self.submitted = event["submitted"]
            self._print(f"Submitted: {self.submitted}")
        if "log" in event:
            self._print(printable(str(event["log"])).rstrip("\n"))
        if "state" in event:
            reason = f" ({event.get('reason')})" if event.get("reason") not in ("None", "") else ""
            self._print(printable(f"SLURM: {event['state']}{reason}"))
        if "phase" in event:
            self._update(printable(str(event["phase"])), event.get("done"), event.get("total"))

    def _update(self, description: str, done, total) -> None:
        counted = isinstance(done, int) and isinstance(total, int)
        self._shown.call(description)
        self._shown.update(done if counted else 0, total if counted else None)

    def _print(self, text: str) -> None:
        console.stderr.print(text, highlight=False, soft_wrap=True)


def _preflight_table(lines: list[Mapping[str, str]]) -> Table:
    return of_rows(
        "Preflight on the host",
        ("check", "state", "found", "what to do"),
        (
            [
                Cell(line[key], None if line["state"] == "ok" else Mark.BAD)
                for key in ("check", "state", "found", "do")
            ]
            for line in lines
        ),
    )


def _print_commands(job: Job, archive_bytes: int, as_json: bool) -> None:
    """Print what would be run, in order, as one could type it."""
    steps = [
        ("copy the unpacker", commands.copy_unpacker(job), "< unpacking.py"),
        ("copy and unpack", commands.unpack(job), f"< archive.tar.gz  # {archive_bytes:,} bytes"),
        ("check the host", commands.preflight(job), ""),
        ("submit", commands.submit(job), ""),
        ("follow", commands.follow(job), ""),
        ("fetch", commands.fetch(job), "> result.tar"),
        ("to end it early", commands.cancel(job), ""),
    ]
    if as_json:
        console.print_json(
            [{"step": name, "command": job.host.command(line)} for name, line, _ in steps]
        )
        return
    for name, line, redirection in steps:
        print(f"# {name}\n{shlex.join(job.host.command(line))} {redirection}".rstrip())


def _print_outcome(
    path: Path, job: Job, outcome: Result, results: Path, screen: _Screen, as_json: bool
) -> None:
    comparison = outcome.comparison
    if as_json:
        console.print_json(
            {
                "job": job.name,
                "host": job.host.address,
                "submitted": screen.submitted,
                "results": str(results),
                "preflight": screen.preflight,
                "equal": comparison.differing == 0,
                "comparison": comparison,
                "divergence": outcome.divergence,
                "profile": outcome.profile,
            }
        )
        return
    profile = outcome.profile
    equal = comparison.differing == 0
    names = (FOLDER + "/" + OUTPUTS, FOLDER + "/" + PROFILE, LOG_FILE)
    measured = str(results / FOLDER / PROFILE)
    console.summarise(
        Summary(
            f"{comparison.compared - comparison.differing:,} of {comparison.compared:,} outputs"
            " equal",
            (
                ("ran", f"{profile.tokens:,} tokens on {profile.target}"),
                ("time", f"{profile.wall_seconds:.2f} s"),
                *(("wrote", str(results / name)) for name in names),
            ),
            Mark.GOOD if equal else Mark.BAD,
            next=command("profile", path, "--measured", measured) if equal else "",
        )
    )
