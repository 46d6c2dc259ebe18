"""What computes: a result of another version is computed again."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy
import scipy

from s5_to_loihi import version


@functools.cache
def tool() -> tuple[tuple[str, str], ...]:
    """Return what computes tasks: versions, and a digest of this package's code and facts."""
    package = Path(version.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.yaml")]):
        content = hashlib.sha256(path.read_bytes()).digest()
        digest.update(str(path.relative_to(package)).encode() + content)
    return (
        ("s5_to_loihi", version.VERSION),
        ("source", digest.hexdigest()),
        ("numpy", numpy.__version__),
        ("scipy", scipy.__version__),
    )
