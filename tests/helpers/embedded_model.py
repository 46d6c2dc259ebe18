"""Prints what the model for an embedded processor tells Lava: its source and its ports."""

from s5_to_loihi.lava_runtime.chip_plan import ChipPlan, Lowering
from s5_to_loihi.process_models.ncmodels import CS5Network

plan = ChipPlan(4, lowering=Lowering.EMBEDDED, source="/job/network.c")
print(CS5Network({"plan": plan}).source_file_name)
print(
    CS5Network.implements_process.__name__, *(one.__name__ for one in CS5Network.required_resources)
)
print(CS5Network.inp.cls.__name__, CS5Network.out.cls.__name__)
