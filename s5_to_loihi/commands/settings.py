"""What a call asked to be told: set by the options that every command has, read where it prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Settings:
    """How much is printed.

    Attributes:
        quiet: nothing but what was asked for by name, warnings and errors.
        verbose: each step with its time, and where an error came from.
        json: standard output is for JSON, and for nothing else.
    """

    quiet: bool = False
    verbose: bool = False
    json: bool = False


#: Of the call that goes on.
settings = Settings()
