from dataclasses import dataclass
from enum import Enum


class LavaCDataType(Enum):
    INT32 = 1


@dataclass
class LavaCType:
    """What a port of a model in C is."""

    cls: type
    d_type: LavaCDataType = None
