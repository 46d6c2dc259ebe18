"""Prints what process models allocate: ``python record_allocation.py BUNDLE MICROCODE MODE``.

To be run with ``recording_extension`` on the path. Lava selects the models as for a board; then
each allocates in a recording stand-in of a neurocore.
"""

import json
import sys

import numpy as np

from s5_to_loihi import bundle
from s5_to_loihi.lava_runtime.chip_plan import ChipPlan
from s5_to_loihi.process_models.process import ChipInput, ChipOutput, S5Network
from s5_to_loihi.simulators.interpreter import Mode

from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs  # isort: skip
from lava.magma.core.model.nc.model import AbstractNcProcessModel  # isort: skip
from lava.magma.core.model.nc.net import NetL2, Nodes  # isort: skip
from lava.magma.core.model.nc.type import LavaNcType  # isort: skip
from lava.magma.core.model.nc.var import NcVar  # isort: skip
from lava.magma.core.run_configs import Loihi2HwCfg  # isort: skip


def plain(value):
    if isinstance(value, NcVar):
        return {"register": value.name, "initial": plain(np.asarray(value.var.init))}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def allocate(process, model_class) -> dict:
    """Give a model its ports and Vars, as the extension's compiler would, and let it allocate."""
    net, model = NetL2(), model_class(process.proc_params)
    model.process = process
    precisions = {}
    for cls in model_class.__mro__:
        for name, kind in vars(cls).items():
            if isinstance(kind, LavaNcType):
                of = getattr(process, name) if kind.cls is NcVar else net
                setattr(model, name, kind.cls(name, of))
                precisions[name] = kind.precision
    model.allocate(net)

    def end(one):
        if not isinstance(one, Nodes):
            return {"port": one.name}
        return {"nodes": net.allocated.index(one.whole or one), "index": plain(one.index)}

    return {
        "precisions": precisions,
        "allocated": [
            {"table": nodes.table} | {name: plain(value) for name, value in nodes.arguments.items()}
            for nodes in net.allocated
        ],
        "connections": [[end(source), end(target)] for source, target in net.connections],
    }


def destinations(process) -> dict:
    """Out port -> the in ports of other leaf processes that it reaches, as ``process.port``."""
    return {
        port.name: sorted(
            f"{one.process.name}.{one.name}"
            for one in port.get_dst_ports()
            if one.process.name != "network"
        )
        for port in process.out_ports
    }


INTERVAL = 256


def main(path: str, microcode: str, mode: str) -> None:
    network = bundle.read(path).network
    plan = ChipPlan(INTERVAL, microcode=microcode, mode=Mode(mode))
    process = S5Network(network=network, plan=plan)
    doors = ChipInput(size=plan.input_size(network)), ChipOutput(size=network.output_size)
    doors[0].out.connect(process.inp)
    process.out.connect(doors[1].inp)
    configuration = Loihi2HwCfg(select_sub_proc_model=True)
    chosen = ProcGroupDiGraphs._map_proc_to_model([doors[0], process, doors[1]], configuration, [])
    recorded = {}
    for one, model in chosen.items():
        assert one.name not in recorded
        recorded[one.name] = {
            "process": type(one).__name__,
            "model": model.__name__,
            "shape": plain(one.proc_params.get("shape") or ()),
            "message_bits": one.proc_params.get("num_message_bits"),
            "destinations": destinations(one),
        }
        if issubclass(model, AbstractNcProcessModel):
            recorded[one.name] |= allocate(one, model)
    print(json.dumps(recorded))


if __name__ == "__main__":
    main(*sys.argv[1:])
