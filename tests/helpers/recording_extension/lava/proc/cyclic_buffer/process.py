from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.c.model import CLoihiProcessModel
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import LMT
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class CyclicBuffer(AbstractProcess):
    def __init__(self, *, first_frame, replay_frames, spike_exp=0):
        super().__init__(first_frame=first_frame, replay_frames=replay_frames, spike_exp=spike_exp)
        self.s_out = OutPort(shape=first_frame.shape)


@implements(proc=CyclicBuffer, protocol=LoihiProtocol)
@requires(LMT)
class CCyclicBuffer(CLoihiProcessModel):
    pass
