from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.c.model import CLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import LMT
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class _Adapter(AbstractProcess):
    def __init__(self, *, shape, num_message_bits=0):
        super().__init__(shape=shape, num_message_bits=num_message_bits)
        self.inp, self.out = InPort(shape=shape), OutPort(shape=shape)


class PyToNxAdapter(_Adapter):
    pass


class NxToPyAdapter(_Adapter):
    pass


@implements(proc=PyToNxAdapter, protocol=LoihiProtocol)
@requires(LMT)
class CPyToNxAdapter(CLoihiProcessModel):
    pass


@implements(proc=NxToPyAdapter, protocol=LoihiProtocol)
@requires(LMT)
class CNxToPyAdapter(CLoihiProcessModel):
    pass
