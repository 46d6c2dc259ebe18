class NcVar:
    """A Var of a model; ``var`` is that of the Process."""

    def __init__(self, name, var):
        self.name, self.var = name, var
