from dataclasses import dataclass


@dataclass
class LavaNcType:
    """What a port or Var of a model is."""

    cls: type
    d_type: type = None
    precision: int = None
