"""The result of a job: fetched as a whole, checked, compared with the bundle's vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from s5_to_loihi.backends.divergence import Divergence, read_divergence
from s5_to_loihi.backends.measured import LARGEST_FILE, MeasuredProfile, read_measured
from s5_to_loihi.bundle.vectors import Vectors
from s5_to_loihi.deployment.job import Job
from s5_to_loihi.deployment.unpacking import UnpackingError, unpack
from s5_to_loihi.errors import DeploymentError, InputError, VerificationError, printable
from s5_to_loihi.network.network import Network
from s5_to_loihi.simulators.interpreter import Interpreter
from s5_to_loihi.verification import TensorResult, compare

FOLDER, OUTPUTS, PROFILE = "result", "outputs.npy", "measured.json"
DIVERGENCE = "divergence.json"


@dataclass(frozen=True, eq=False)
class Result:
    """What a job brought back.

    Attributes:
        outputs: (tokens, batch, outputs) int64.
        profile: what was measured.
        comparison: of the outputs with what is expected.
        divergence: where the board's integers begin to differ, if the job looked for it.
    """

    outputs: np.ndarray
    profile: MeasuredProfile
    comparison: TensorResult
    divergence: Divergence | None = None


def unpack_result(packed: IO[bytes], results: Path, vectors: Vectors, network: Network) -> None:
    """Put a tar archive, as it comes, into ``results/result``, whole or not at all.

    Raises:
        DeploymentError: it is not what a job writes.
        InputError: it cannot be written.
    """
    tokens, batch, _ = vectors.tokens.shape
    largest = LARGEST_FILE + 2 * 8 * tokens * batch * network.output_size
    try:
        unpack(packed, results / FOLDER, largest)
    except UnpackingError as error:
        raise DeploymentError("the result", str(error), "Fetch it again (--resume)") from None


def read_result(results: Path, job: Job, vectors: Vectors, network: Network) -> Result:
    """Read a fetched result and compare its outputs.

    Args:
        results: where ``unpack_result`` put it.
        job: that it is of.
        vectors: as many as the job ran; what they do not record is evaluated by the interpreter.
        network: of the bundle.

    Raises:
        DeploymentError: it is damaged, or of another run.
    """
    file = results / FOLDER / OUTPUTS
    try:
        # Mapped: what the header promises is not reserved before it is known to be there.
        outputs = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError, EOFError, TokenError) as error:
        raise DeploymentError(str(file), f"cannot be read ({error})", "Deploy again") from None
    expected_shape = (*vectors.tokens.shape[:2], network.output_size)
    if outputs.shape != expected_shape or outputs.dtype.kind != "i":
        what = f"holds {outputs.dtype} of shape {outputs.shape}, not integers of {expected_shape}"
        raise DeploymentError(str(file), what, "Deploy again")
    try:
        profile = read_measured(results / FOLDER / PROFILE)
    except InputError as error:
        raise DeploymentError("the measured profile", str(error), "Deploy again") from None
    if (profile.target, profile.bundle_digest) != (job.target.measured, job.bundle_digest):
        raise DeploymentError(
            str(results / FOLDER / PROFILE),
            f"is of another run ({profile.target}, bundle {profile.bundle_digest[:12]})",
            "Deploy again",
        )
    name = str(network.output)
    expected = vectors.expected.get(name)
    if expected is None:
        expected = Interpreter(network).evaluate(vectors.tokens).outputs
    (comparison,) = compare(network, {name: outputs}, {name: expected}, vectors.recorded_as)
    found = results / FOLDER / DIVERGENCE
    try:
        divergence = read_divergence(found) if found.exists() else None
    except InputError as error:
        raise DeploymentError("the divergence", str(error), "Deploy again") from None
    return Result(np.array(outputs), profile, comparison, divergence)


def require_equal(result: Result, job: Job) -> None:
    """Raise the error with exit code 3 if any output differs.

    Raises:
        VerificationError: naming the first that does.
    """
    first = result.comparison.first
    if first is None:
        return
    if result.divergence is not None:
        raise VerificationError(
            f"{job.target.value} on {job.host.address}",
            printable(str(result.divergence)),
            f"Look at the microcode of {printable(result.divergence.group)}: its listing has test"
            " vectors",
        )
    raise VerificationError(
        f"{job.target.value} on {job.host.address}",
        f"{result.comparison.differing:,} of {result.comparison.compared:,} outputs differ, the"
        f" first at token {first.token} of sequence {first.sequence}, neuron {first.neuron}: got"
        f" {first.got}, expected {first.expected}",
        "Verify the bundle here ('s5-to-loihi verify'); on a board, verify its microcode neuron by"
        " neuron",
    )
