class _Port:
    """A port of a model, made anew for each of its instances."""

    def __init__(self, name, net):
        self.name, self.net = name, net

    def connect(self, target):
        self.net.connections.append((self, target))


class NcInPort(_Port):
    pass


class NcOutPort(_Port):
    pass
