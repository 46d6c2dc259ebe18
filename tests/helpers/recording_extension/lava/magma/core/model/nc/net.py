"""The stand-in's virtual neurocore: writes down every allocation and every connection."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class Nodes:
    """What one call of ``allocate`` allocated."""

    table: str
    arguments: dict
    index: object = None
    whole: object = None
    log: list = field(default=None, repr=False)

    def connect(self, target):
        self.log.append((self, target))

    def __getitem__(self, index):
        return Nodes(self.table, self.arguments, index, self.whole or self, self.log)


class _Table:
    def __init__(self, net, name):
        self._net, self._name = net, name

    def allocate(self, **arguments):
        nodes = Nodes(self._name, arguments, log=self._net.connections)
        self._net.allocated.append(nodes)
        return nodes

    def allocate_ucode(self, **arguments):
        return self.allocate(**arguments)


class NetL2:
    """Has the tables that public process models allocate from."""

    TABLES = (
        "ax_in", "ax_in_cfg", "syn", "syn_cfg", "dend_acc", "dend_acc_cfg",
        "neurons", "neurons_cfg", "ax_out",
    )  # fmt: skip

    def __init__(self):
        self.allocated, self.connections = [], []
        for name in self.TABLES:
            setattr(self, name, _Table(self, name))

    def of(self, table):
        return [nodes for nodes in self.allocated if nodes.table == table]
