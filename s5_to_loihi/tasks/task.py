"""What processes compute: tasks with a digest of all that goes into them, and their outcomes."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from s5_to_loihi.errors import S5ToLoihiError

#: How often a task is tried again whose worker died.
RETRIES = 2


@dataclass(frozen=True, eq=False)
class Task:
    """One thing to compute: a point of a sweep, a clip of a test set.

    Attributes:
        settings: what sets it apart from the others of its batch, as JSON can say it.
        basis: what else its result depends on: digests of files, versions, settings of all tasks.
        steps: what its first steps compute; tasks with equal beginnings share these steps, if the
            same worker does one after the other.
        payload: what it is computed from; can be pickled.
    """

    settings: Mapping[str, Any]
    basis: Mapping[str, Any]
    steps: tuple[Hashable, ...]
    payload: Any

    @cached_property
    def key(self) -> str:
        """A name that depends on the settings alone."""
        return digest_of(self.settings)[:20]

    @cached_property
    def digest(self) -> str:
        """Of everything that the result depends on."""
        return digest_of({"settings": self.settings, "basis": self.basis})


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        metrics: name -> what was computed, as JSON can say it; None if it failed.
        error: why it failed, for people; None if it did not.
        seconds: that it took, without those of workers that died.
        traceback: of an error that nobody expected; for a report of it.
    """

    metrics: Mapping[str, Any] | None
    error: str | None
    seconds: float
    traceback: str | None = None


def attempt(compute: Callable[[Any], Mapping[str, Any]], payload: Any) -> Outcome:
    """Compute a task; an exception becomes part of the outcome."""
    started = time.perf_counter()
    metrics = error = trace = None
    try:
        metrics = compute(payload)
    except S5ToLoihiError as refused:
        error = str(refused)
    except Exception as unexpected:
        error = f"unexpected {type(unexpected).__name__}: {unexpected}"
        trace = traceback.format_exc()
    return Outcome(metrics, error, time.perf_counter() - started, trace)


def died(how: str) -> Outcome:
    """Return the outcome of a task whose workers died, each time it was tried."""
    return Outcome(None, f"its worker {how}", 0.0)


def too_long(limit: float) -> Outcome:
    """Return the outcome of a task that was ended after so many seconds."""
    return Outcome(None, f"did not end within {limit:,g} s and was ended (--timeout)", limit)


def digest_of(content: Any) -> str:
    """Return the SHA-256 of what JSON can say, independent of the order of entries."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
