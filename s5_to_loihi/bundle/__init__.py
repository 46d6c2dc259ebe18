"""The on-disk artifact: a network, what it was made from, and the vectors that prove it."""

from s5_to_loihi.bundle.storage import (
    MANIFEST,
    MAPPING,
    VECTORS,
    WEIGHTS,
    Bundle,
    digest,
    network_of,
    opened,
    read,
    write,
)

__all__ = [
    "MANIFEST",
    "MAPPING",
    "VECTORS",
    "WEIGHTS",
    "Bundle",
    "digest",
    "network_of",
    "opened",
    "read",
    "write",
]
