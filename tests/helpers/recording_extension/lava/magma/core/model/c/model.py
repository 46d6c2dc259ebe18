from lava.magma.core.model.model import AbstractProcessModel


class CLoihiProcessModel(AbstractProcessModel):
    """A model in C for an embedded processor."""
