from lava.magma.core.model.model import AbstractProcessModel


class AbstractNcProcessModel(AbstractProcessModel):
    """A model that allocates resources of neurocores."""

    def allocate(self, net):
        raise NotImplementedError
